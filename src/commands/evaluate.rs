//! `clipsieve evaluate`: result rows held against labels.

use std::fmt::Write;
use std::io;
use std::path::Path;

use clipsieve_operators::tables::{FORMATS, Format};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent};

use super::results::Results;
use super::{Exit, output};
use crate::cli::{Evaluate, TextOrJson};
use crate::evaluation::binary::Threshold;
use crate::evaluation::boxes::{Tally, share};
use crate::evaluation::labels::{self, Label};
use crate::evaluation::report::{Filter, LeftOut, Regions, Report, Wishes, report};
use crate::evaluation::rows::Rows;
use crate::words::{self, counted};

/// Names of a list that are told; the rest is counted (`--format json` has all).
const NAMES_TOLD: usize = 5;

/// Runs the command.
///
/// # Errors
/// Trouble with stdout.
pub fn run(arguments: &Evaluate) -> io::Result<Exit> {
    let loaded = || {
        let rows = Results::open(&arguments.results)?.collect::<Result<Vec<_>, _>>()?;
        Ok::<_, String>((Rows::new(rows), read_labels(&arguments.labels)?))
    };
    let (rows, labels) = match loaded() {
        Ok(loaded) => loaded,
        Err(error) => {
            output::tell(&format!("error: {error}"));
            return Ok(Exit::Usage);
        }
    };
    let wishes = Wishes {
        precision: arguments.precision,
        recall: arguments.recall,
        readings: arguments.scores.clone(),
    };
    let report = report(&rows, &labels, &wishes);
    let text = match arguments.format {
        TextOrJson::Json => format!("{:#}\n", report.to_json(&wishes)),
        TextOrJson::Text => page(&report, &wishes),
    };
    output::print(&text)?;
    Ok(Exit::Done)
}

fn read_labels(path: &Path) -> Result<Vec<Label>, String> {
    let name = path.display();
    if let Some(format) = Format::of(path).filter(|format| format.name != FORMATS[0].name) {
        return Err(format!(
            "labels are JSON lines (`clipsieve evaluate --help` shows some), and {name} is {}",
            format.name
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("labels are JSON lines, and {name} is no text in UTF-8"))?;
    let labels = labels::read(&text).map_err(|(line, error)| format!("{name}:{line}: {error}"))?;
    match labels.is_empty() {
        true => Err(format!("{name} has no labels")),
        false => Ok(labels),
    }
}

fn page(report: &Report, wishes: &Wishes) -> String {
    let mut page = String::new();
    if !report.filters.is_empty() {
        filters(&mut page, &report.filters, wishes);
    }
    if let Some(found) = &report.regions {
        regions(&mut page, found);
    }
    left_out(&mut page, report);
    page
}

/// A number of a share: `0.987`, or `-` where there is none.
fn number(value: Option<f64>) -> String {
    value.map_or("-".to_string(), |value| format!("{value:.3}"))
}

fn table<const N: usize>(header: [&str; N], words: usize) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    if let Some(columns) = words::piped_columns() {
        table.set_width(columns);
    }
    table
        .remove_style(TableComponent::HorizontalLines)
        .remove_style(TableComponent::MiddleIntersections);
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn filters(page: &mut String, filters: &[Filter], wishes: &Wishes) {
    let header = ["filter", "n", "pos", "AUC", "AP", "at 0.5", "best", "at"];
    let mut table = table(header, 1);
    for filter in filters {
        let best = filter.scored.best();
        table.add_row([
            name(filter, "\n"),
            filter.scored.len().to_string(),
            filter.scored.positives().to_string(),
            number(filter.scored.auc()),
            number(filter.average_precision()),
            number(filter.as_judged.map(|judged| judged.accuracy)),
            number(best.map(|best| best.accuracy)),
            best.map_or("-".to_string(), |best| at(best.at)),
        ]);
    }
    let _ = writeln!(page, "{table}");
    let legend = "at 0.5, best: accuracy with that threshold, and with the best one (a score from it on is positive; \
                  never: nothing is). Of windows, the largest score counts.";
    page.push_str(&words::wrapped(legend, words::COLUMNS, "", 0));
    for filter in filters {
        let _ = match (filter.scored.missing(), filter.scored.is_empty()) {
            (Some(missing), true) => writeln!(page, "\n{}: {missing}", name(filter, " ")),
            (missing, _) => writeln!(
                page,
                "\n{}: positive is `{}`{}",
                name(filter, " "),
                filter.positive,
                missing.map_or(String::new(), |missing| format!("; {missing}"))
            ),
        };
        let mut wish = |what: &str, wanted: Option<f64>, found: Option<Threshold>| {
            let Some(wanted) = wanted else { return };
            let _ = match found {
                Some(found) => writeln!(
                    page,
                    "  {what} of {wanted}: from {:.4} on (precision {:.3}, recall {:.3})",
                    found.at, found.precision, found.recall
                ),
                None if filter.scored.missing().is_some() => {
                    writeln!(page, "  {what} of {wanted}: -")
                }
                None => writeln!(page, "  {what} of {wanted}: no threshold reaches it"),
            };
        };
        wish(
            "precision",
            wishes.precision,
            wishes
                .precision
                .and_then(|wanted| filter.for_precision(wanted)),
        );
        wish(
            "recall",
            wishes.recall,
            wishes.recall.and_then(|wanted| filter.for_recall(wanted)),
        );
        for (kind, count, auc) in &filter.kinds {
            let _ = writeln!(page, "  {kind} ({count}): AUC {}", number(*auc));
        }
        reasons(page, "  without a score", &filter.unscored);
    }
}

/// A threshold: `0.5000`, or `never` where it is best to call nothing positive.
fn at(threshold: f64) -> String {
    match threshold.is_finite() {
        true => format!("{threshold:.4}"),
        false => "never".to_string(),
    }
}

/// What a line of the table is called: the entry, with the task where it is not plain from it, and `between` before that.
fn name(filter: &Filter, between: &str) -> String {
    if filter.key.contains(&filter.task) {
        filter.key.clone()
    } else {
        format!("{}{between}({})", filter.key, filter.task)
    }
}

fn regions(page: &mut String, found: &Regions) {
    if !page.is_empty() {
        page.push('\n');
    }
    let header = [
        "regions",
        "labelled",
        "found",
        "right",
        "recall",
        "precision",
        "AP",
    ];
    let mut table = table(header, 1);
    let mut line = |name: &str, tally: &Tally| {
        table.add_row([
            name.to_string(),
            tally.labelled.to_string(),
            tally.found.to_string(),
            tally.matched.to_string(),
            number(tally.recall()),
            number(tally.precision()),
            number(tally.average_precision()),
        ]);
    };
    for (class, tally) in &found.classes {
        line(class, tally);
    }
    line("all", &found.all);
    line("whatever class", &found.any_class);
    let _ = writeln!(page, "{table}");
    let _ = writeln!(
        page,
        "{}; right: IoU of at least 0.5 with a labelled box of the class",
        counted(found.videos, "video")
    );
    let percent = |part: usize, of: usize| {
        let share = share(part, of).map_or(String::new(), |s| format!(" ({:.1} %)", s * 100.0));
        format!("{part} of {of}{share}")
    };
    let _ = writeln!(page, "\ncrops, against the largest clean rectangle");
    let _ = writeln!(
        page,
        "  mean IoU               {}",
        number(found.crop_iou())
    );
    let _ = writeln!(
        page,
        "  still hold a region    {}",
        percent(found.holding.len(), found.crops)
    );
    names(page, "   ", &found.holding);
    let _ = writeln!(
        page,
        "  missed                 {}",
        percent(found.missed.len(), found.crops + found.missed.len())
    );
    names(page, "   ", &found.missed);
    if found.covered > 0 {
        let _ = writeln!(page, "  no room for a crop     {}", found.covered);
    }
    let _ = writeln!(
        page,
        "  clean, but cropped     {}",
        percent(found.clean_cropped.len(), found.clean)
    );
    names(page, "   ", &found.clean_cropped);
    if found.uncropped > 0 {
        let _ = writeln!(page, "  rows without a crop    {}", found.uncropped);
    }
    reasons(page, "without regions", &found.unscored);
}

fn left_out(page: &mut String, report: &Report) {
    let LeftOut {
        without_row,
        ambiguous,
        repeated,
        without_label,
        failed,
    } = &report.left_out;
    let _ = writeln!(
        page,
        "\n{}, {}",
        counted(report.counts.0, "label"),
        counted(report.counts.1, "row")
    );
    let mut list = |what: &str, which: &[String]| {
        if !which.is_empty() {
            let _ = writeln!(page, "{}: {}", what, which.len());
            names(page, " ", which);
        }
    };
    list("labels without a row, not judged", without_row);
    list("labels that fit several rows, not judged", ambiguous);
    list("labels given again, the first counts", repeated);
    list("tasks that no entry of any row answers", &report.unanswered);
    list("rows without a label", without_label);
    reasons(page, "rows that failed", failed);
}

fn names(page: &mut String, indent: &str, names: &[String]) {
    for name in names.iter().take(NAMES_TOLD) {
        let _ = writeln!(page, "{indent} {name}");
    }
    if names.len() > NAMES_TOLD {
        let more = names.len() - NAMES_TOLD;
        let _ = writeln!(page, "{indent} and {more} more (--format json tells all)");
    }
}

fn reasons(page: &mut String, what: &str, reasons: &[(String, String)]) {
    if reasons.is_empty() {
        return;
    }
    let _ = writeln!(page, "{what}: {}", reasons.len());
    let told: Vec<String> = reasons
        .iter()
        .map(|(file, why)| format!("{file}: {why}"))
        .collect();
    let indent = " ".repeat(1 + what.len() - what.trim_start().len());
    names(page, &indent, &told);
}
