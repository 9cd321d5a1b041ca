//! Diagnostics with the lines they are about.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use clipsieve_engine::pipeline::{Code, Diagnostic, Severity};

use super::pipeline::Loaded;

/// All diagnostics of a pipeline, each with its line, and a count at the end. Empty if there are none.
pub fn render(loaded: &Loaded, colour: bool) -> String {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut text = String::new();
    for found in &loaded.compiled.diagnostics {
        text.push_str(&renderer.render(&[report(found, loaded)]));
        text.push_str("\n\n");
    }
    if let Some(count) = count(&loaded.compiled.diagnostics) {
        text.push_str(&format!("{}: {count}\n", loaded.name));
    }
    text
}

fn report<'a>(found: &'a Diagnostic, loaded: &'a Loaded) -> Group<'a> {
    let level = match found.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let message = if found.path.is_empty() {
        found.message.clone()
    } else {
        format!("{}: {}", found.path, found.message)
    };
    let mut group = Group::with_title(level.primary_title(message).id(found.code.as_str()));
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
        group = group.element(Level::HELP.message(help));
    }
    group
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
    let plural =
        |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match (errors, found.len() - errors) {
        (0, 0) => None,
        (errors, 0) => Some(plural(errors, "error")),
        (0, warnings) => Some(plural(warnings, "warning")),
        (errors, warnings) => Some(format!(
            "{}, {}",
            plural(errors, "error"),
            plural(warnings, "warning")
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
