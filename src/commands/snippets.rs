//! Diagnostics with the lines they are about.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use clipsieve_engine::pipeline::{Code, Diagnostic, Severity};

use super::pipeline::Loaded;
use crate::words::{self, counted};

/// All diagnostics of a pipeline, each with its line, and a count at the end. Empty if there are none. On a terminal with
/// colours, and in lines of 80 columns; elsewhere each message is one line, to be searched.
pub fn render(loaded: &Loaded, is_terminal: bool) -> String {
    let renderer = if is_terminal {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut text = String::new();
    for found in &loaded.compiled.diagnostics {
        text.push_str(&renderer.render(&[report(found, loaded, is_terminal)]));
        text.push_str("\n\n");
    }
    if let Some(count) = count(&loaded.compiled.diagnostics) {
        text.push_str(&format!("{}: {count}\n", loaded.name));
    }
    text
}

fn report<'a>(found: &'a Diagnostic, loaded: &'a Loaded, is_terminal: bool) -> Group<'a> {
    let in_lines = |text: &str| match is_terminal {
        true => in_lines(text),
        false => text.to_string(),
    };
    let level = match found.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let message = if found.path.is_empty() {
        found.message.clone()
    } else {
        format!("{}: {}", found.path, found.message)
    };
    let mut group = Group::with_title(
        level
            .primary_title(in_lines(&message))
            .id(found.code.as_str()),
    );
    if let Some(range) = found
        .location
        .filter(|at| !holds_a_secret(at.line, loaded))
        .and_then(|at| bytes_of(&loaded.text, at.line, at.column, at.length))
    {
        group = group.element(
            Snippet::source(&loaded.text)
                .path(&loaded.name)
                .annotation(AnnotationKind::Primary.span(range)),
        );
    }
    if let Some(help) = &found.help {
        group = group.element(Level::HELP.message(in_lines(help)));
    }
    group
}

/// What stands behind `warning[C000]: ` or `   = help: `, in lines.
fn in_lines(text: &str) -> String {
    const MARGIN: usize = 15;
    let lines = text.lines();
    let lines = lines.map(|line| words::wrapped(line, words::COLUMNS - MARGIN, "", 0));
    lines.collect::<String>().trim_end().to_string()
}

/// Whether this line of the file must not be shown: a diagnostic says that a secret stands there.
fn holds_a_secret(line: usize, loaded: &Loaded) -> bool {
    loaded.compiled.diagnostics.iter().any(|found| {
        found.code == Code::SecretInFile && found.location.is_some_and(|at| at.line == line)
    })
}

/// `3 errors, 1 warning`
fn count(found: &[Diagnostic]) -> Option<String> {
    let errors = found.iter().filter(|found| found.is_error()).count();
    match (errors, found.len() - errors) {
        (0, 0) => None,
        (errors, 0) => Some(counted(errors, "error")),
        (0, warnings) => Some(counted(warnings, "warning")),
        (errors, warnings) => Some(format!(
            "{}, {}",
            counted(errors, "error"),
            counted(warnings, "warning")
        )),
    }
}

/// The bytes of a place given in lines and characters from 1; `None` if the text has no such place.
fn bytes_of(
    text: &str,
    line: usize,
    column: usize,
    length: Option<usize>,
) -> Option<std::ops::Range<usize>> {
    let start_of_line = text
        .split_inclusive('\n')
        .take(line.checked_sub(1)?)
        .map(str::len)
        .sum::<usize>();
    let rest = text.get(start_of_line..)?;
    let rest = rest.split('\n').next().unwrap_or(rest);
    let offset = |characters: usize| {
        rest.char_indices()
            .nth(characters)
            .map_or(rest.len(), |(at, _)| at)
    };
    let start = offset(column.checked_sub(1)?);
    let end = offset(column - 1 + length.unwrap_or(1));
    Some(start_of_line + start..start_of_line + end.max(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Pipeline;
    use crate::commands::pipeline::load;

    #[test]
    #[allow(clippy::unwrap_used)]
    fn long_messages_and_helps_are_wrapped_on_a_terminal_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.yaml");
        let stages = "name: p\nstages:\n  My-Stage: { op: read_table, with: { uri: x } }\n  \
                      s: { op: sample, from: d, with: { fit: whole, size: 64, frames: 4 } }\n  \
                      m: { op: measure, from: s, with: { signals: [blockiness] } }\n";
        std::fs::write(&file, stages).unwrap();
        let arguments = Pipeline {
            file,
            sets: Vec::new(),
            processes: 1,
            workers: 1,
        };
        let mut loaded = load(&arguments, &clipsieve_operators::registry(), 0).unwrap();
        loaded.name = "p.yaml".to_string();
        let message = "expected a lowercase letter, then lowercase letters, digits and underscores";
        assert!(render(&loaded, false).contains(message));
        let styled = render(&loaded, true);
        let mut shown = String::new();
        let mut is_style = false;
        for letter in styled.chars() {
            match letter {
                '\u{1b}' => is_style = true,
                'm' if is_style => is_style = false,
                _ if is_style => {}
                letter => shown.push(letter),
            }
        }
        assert!(shown.contains("C009"), "{shown}");
        for line in shown.lines() {
            assert!(line.chars().count() <= 80, "too wide: {line}");
        }
    }

    #[test]
    fn places_are_found_behind_wide_characters() {
        let text = "a: 1\nname: \"é\" # ü\nb: 2\n";
        let range = bytes_of(text, 2, 7, Some(3));
        assert_eq!(range.and_then(|range| text.get(range)), Some("\"é\""));
        assert_eq!(
            bytes_of(text, 3, 1, Some(1)).and_then(|range| text.get(range)),
            Some("b")
        );
        assert_eq!(bytes_of(text, 0, 1, None), None);
    }

    #[test]
    fn a_place_past_the_end_is_an_empty_one() {
        assert_eq!(bytes_of("ab", 1, 9, Some(4)), Some(2..2));
        assert_eq!(bytes_of("ab\n", 2, 1, None), Some(3..3));
    }
}
