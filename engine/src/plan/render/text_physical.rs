use super::facts::{about_bytes, facts, format_flop, store_line};
use super::lanes::draw;
use super::layout::{COLUMNS, cell, cell_right, column, heading, push_line, push_notes, row, wrap};
use crate::operator::units::{counted, format_bytes, format_duration};
use crate::operator::{Executor, ParamValue};
use crate::plan::{Plan, Stage};

pub(super) fn render(plan: &Plan) -> String {
    let mut out = String::new();
    heading(&mut out, &plan.name, "physical view");
    let nodes = plan.order.len();
    let all: usize = plan.stages().map(Stage::stands_for).sum();
    let count = match all > nodes {
        true => format!("{} in {}", counted(all, "stage"), counted(nodes, "node")),
        false => counted(nodes, "stage"),
    };
    push_line(&mut out, &count);
    out.push('\n');
    for (name, value) in totals(plan) {
        push_line(&mut out, &format!("  {} {value}", cell(name, 16)));
    }
    out.push('\n');
    stages(&mut out, plan);
    resources(&mut out, plan);
    out
}

/// What the run as a whole uses, by name.
pub(super) fn totals(plan: &Plan) -> Vec<(&'static str, String)> {
    let mut totals = bounds(plan);
    for shared in plan.shared() {
        let work = format!(
            "{}, {}, saves {} % of the model work",
            counted(shared.parts, shared.part),
            counted(shared.passes, shared.pass),
            shared.saved_percent()
        );
        totals.push(("done once", work));
        let weights = about_bytes(shared.weight_bytes);
        let weights = match shared.weight_bytes_alone > shared.weight_bytes {
            true => format!(
                "{weights} in a process instead of {}",
                about_bytes(shared.weight_bytes_alone)
            ),
            false => format!("{weights} in a process"),
        };
        totals.push(("weights", weights));
    }
    if plan.equal_stages() > 0 {
        totals.push((
            "equal stages",
            format!("{} done by others", counted(plan.equal_stages(), "stage")),
        ));
    }
    totals
}

fn bounds(plan: &Plan) -> Vec<(&'static str, String)> {
    let (limits, threads) = (&plan.limits, &plan.threads);
    let workers = plan.processes * plan.workers;
    let all_bytes = limits.memory_bytes.saturating_mul(plan.processes as u64);
    let mut bounds = vec![
        (
            "processes",
            match plan.processes {
                1 => format!("1 with {}", counted(plan.workers, "worker")),
                many => format!(
                    "{many} with {} each, {workers} in all",
                    counted(plan.workers, "worker")
                ),
            },
        ),
        (
            "threads",
            format!("{} cpu, {} io in each process", threads.cpu, threads.io),
        ),
        (
            "items in flight",
            format!(
                "{} a worker, {} in all",
                limits.items,
                limits.items.saturating_mul(workers)
            ),
        ),
        (
            "bytes in flight",
            format!(
                "{} a process, {} in all",
                format_bytes(limits.memory_bytes),
                format_bytes(all_bytes)
            ),
        ),
        (
            "disk",
            format!(
                "{} a process for downloaded files",
                format_bytes(limits.disk_bytes)
            ),
        ),
        (
            "epochs",
            format!(
                "{} each, at most {} open",
                counted(limits.epoch_rows, "row"),
                limits.open_epochs
            ),
        ),
        ("item timeout", format_duration(limits.item_timeout)),
    ];
    let weights = plan.weight_bytes_on_cpu();
    if weights > 0 {
        let behind = |(name, _): &(&str, String)| *name == "bytes in flight";
        let place = bounds.iter().position(behind).map_or(0, |place| place + 1);
        bounds.insert(
            place,
            (
                "of them",
                format!("{} of weights on the CPU", about_bytes(weights)),
            ),
        );
    }
    bounds
}

const WIDTHS: [usize; 5] = [7, 5, 7, 8, 8];

fn stages(out: &mut String, plan: &Plan) {
    let consumers: Vec<Vec<usize>> = plan
        .order
        .iter()
        .map(|index| {
            plan.graph
                .neighbors(*index)
                .filter_map(|to| plan.rank(to))
                .collect()
        })
        .collect();
    let rows = draw(&consumers, &vec!['●'; plan.order.len()]);
    let stages: Vec<&Stage> = plan.stages().collect();
    let lane_width = rows.first().map_or(2, |row| row.node.chars().count());
    let numbers = WIDTHS.iter().sum::<usize>() + WIDTHS.len() - 1;
    let width = COLUMNS.saturating_sub(lane_width + 1);
    let op_width = column(stages.iter().map(|stage| stage.spec.name), 8, 32);
    let id_width = column(stages.iter().map(|stage| &*stage.id), 5, 32);
    // Where the lanes and the numbers leave too little for the names, the numbers go below.
    let is_below = id_width + 2 + op_width + 2 + numbers > width;
    let lines = |names: [&str; 2], values: [&str; 5]| {
        let mut numbers = String::new();
        if !is_below {
            let [runs_on, rest @ ..] = values;
            numbers = cell(runs_on, WIDTHS[0]);
            for (value, width) in rest.into_iter().zip(&WIDTHS[1..]) {
                numbers.push(' ');
                numbers.push_str(&cell_right(value, *width));
            }
        }
        let names = [(names[0], id_width), (names[1], op_width)];
        row(&[names[0], names[1], (&numbers, width)], width)
    };
    let heads = ["runs on", "width", "threads", "attempts", "timeout"];
    for line in lines(["stage", "operator"], heads) {
        push_line(out, &format!("{} {line}", " ".repeat(lane_width)));
    }
    for (stage, lanes) in stages.iter().zip(&rows) {
        let values = columns(stage);
        let values = values.each_ref().map(String::as_str);
        let mut drawn = &lanes.node;
        for line in lines([&stage.id, stage.spec.name], values) {
            push_line(out, &format!("{drawn} {line}"));
            drawn = &lanes.rest;
        }
        let below = is_below.then(|| placed(stage));
        push_notes(out, drawn, below.into_iter().chain(notes(plan, stage)));
    }
}

/// Where a stage runs, how wide and how often, in a sentence.
fn placed(stage: &Stage) -> String {
    let runs_on = runs_on(stage);
    if stage.spec.is_source() || stage.spec.is_sink() {
        return runs_on;
    }
    format!(
        "{runs_on}, width {}, {}, {}, timeout {}",
        stage.placement.concurrency,
        counted(stage.placement.threads, "thread"),
        counted(stage.retry.attempts as usize, "attempt"),
        format_duration(stage.timeout)
    )
}

/// Where a stage runs, in a word.
pub(super) fn runs_on(stage: &Stage) -> String {
    match (stage.placement.executor, &stage.placement.device) {
        _ if stage.spec.is_source() => "source".to_string(),
        _ if stage.spec.is_sink() => "sink".to_string(),
        (Executor::Io, _) => "io".to_string(),
        (Executor::Cpu, _) => "cpu".to_string(),
        (Executor::Device, device) => device.clone().unwrap_or_else(|| "device".to_string()),
    }
}

fn columns(stage: &Stage) -> [String; 5] {
    if stage.spec.is_source() || stage.spec.is_sink() {
        return [runs_on(stage), "1".into(), "1".into(), "".into(), "".into()];
    }
    [
        runs_on(stage),
        stage.placement.concurrency.to_string(),
        stage.placement.threads.to_string(),
        stage.retry.attempts.to_string(),
        format_duration(stage.timeout),
    ]
}

/// What else there is to say of a stage.
pub(super) fn notes(plan: &Plan, stage: &Stage) -> Vec<String> {
    let mut notes = Vec::new();
    if stage.spec.is_sink() {
        notes.push("⇢ exchange: result rows from all workers to one, committed in parts".into());
    }
    notes.extend(stands_for(stage));
    let is_of_all = |name: &str, value: &ParamValue| {
        let mut parts = stage.parts.iter();
        parts.all(|part| part.params.get(name) == Some(value))
    };
    let params = stage.params.iter();
    let params = shown(params.filter(|(name, value)| is_of_all(name, value)));
    if !params.is_empty() {
        notes.push(params);
    }
    for part in &stage.parts {
        let params = part.params.iter();
        let params = shown(params.filter(|(name, value)| !is_of_all(name, value)));
        let aliases = equal_to(&part.id, &part.aliases);
        let aliases = aliases.map_or(String::new(), |aliases| format!(" ({aliases})"));
        notes.push(format!("{}: {params}{aliases}", part.id));
    }
    if stage.placement.executor == Executor::Device {
        let with = plan.in_common_with(stage);
        let with = match with.as_slice() {
            [] => String::new(),
            with => format!(", in common with {}", with.join(", ")),
        };
        notes.push(format!(
            "{} on {}{with}; an item waits {} at most for one",
            counted(stage.placement.concurrency, "model instance"),
            runs_on(stage),
            format_duration(stage.placement.acquire_timeout)
        ));
    }
    notes.extend(costs(stage));
    if stage.retry.attempts > 1 {
        notes.push(format!(
            "pause before another attempt: {}, doubling",
            format_duration(stage.retry.backoff)
        ));
    }
    if let Some(demand) = &stage.demand {
        notes.push(format!("asks its inputs for {}", facts(demand)));
    }
    if stage.spec.is_source() {
        notes.push("⇢ exchange: each row to the worker with free credits".into());
    }
    notes
}

fn shown<'a>(params: impl Iterator<Item = (&'static str, &'a ParamValue)>) -> String {
    let params = params.map(|(name, value)| format!("{name} {value}"));
    params.collect::<Vec<_>>().join(", ")
}

/// Which other stages of the file it does the work of.
fn stands_for(stage: &Stage) -> Option<String> {
    if stage.parts.is_empty() {
        return equal_to(&stage.id, &stage.aliases);
    }
    let common = stage.spec.planner.common?;
    let ids: Vec<&str> = stage.parts.iter().map(|part| part.id.as_str()).collect();
    Some(format!(
        "does the work of {}: {}, 1 {}",
        ids.join(", "),
        counted(ids.len(), common.part),
        common.pass
    ))
}

fn equal_to(id: &str, aliases: &[String]) -> Option<String> {
    let verb = if aliases.len() == 1 { "is" } else { "are" };
    (!aliases.is_empty()).then(|| format!("{} {verb} equal to {id}", aliases.join(", ")))
}

/// What a stage's work is estimated to cost.
fn costs(stage: &Stage) -> Option<String> {
    let cost = stage.cost?;
    let (alone, _) = stage.cost_alone();
    let instead = match alone > cost.flop {
        true => format!(" instead of {}", format_flop(alone)),
        false => String::new(),
    };
    Some(format!(
        "{} a {}{instead}, {} of input; weights {}",
        format_flop(cost.flop),
        cost.unit,
        about_bytes(cost.input_bytes),
        about_bytes(cost.weight_bytes)
    ))
}

fn resources(out: &mut String, plan: &Plan) {
    let names = plan.models.keys().chain(plan.stores.keys());
    let name_width = column(names.map(String::as_str), 5, 32);
    let mut list = |title: &str, entries: Vec<(&String, Vec<String>)>| {
        if entries.is_empty() {
            return;
        }
        push_line(out, &format!("\n{title}"));
        for (name, texts) in entries {
            let width = COLUMNS - name_width - 4;
            let lines = texts.iter().flat_map(|text| wrap(text, width));
            for (index, line) in lines.enumerate() {
                let name = if index == 0 { name.as_str() } else { "" };
                push_line(out, &format!("  {}  {line}", cell(name, name_width)));
            }
        }
    };
    let models = plan.models.iter();
    let models = models.map(|(name, model)| {
        let facts = facts(&model.facts);
        let texts = vec![model.path.display().to_string(), facts];
        (
            name,
            texts.into_iter().filter(|text| !text.is_empty()).collect(),
        )
    });
    list("models", models.collect());
    let stores = plan.stores.iter();
    let stores = stores.map(|(name, store)| (name, vec![store_line(&store.settings)]));
    list("stores", stores.collect());
}

/// The models and stores, a line each.
pub(super) fn resource_lines(plan: &Plan) -> Vec<String> {
    let models = plan.models.iter().map(|(name, model)| {
        format!(
            "model {name}: {}, {}",
            model.path.display(),
            facts(&model.facts)
        )
    });
    let stores = plan.stores.iter();
    let stores =
        stores.map(|(name, store)| format!("store {name}: {}", store_line(&store.settings)));
    models.chain(stores).collect()
}
