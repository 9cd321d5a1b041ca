//! Words for a terminal: numbers with their nouns, and paragraphs in lines.

use std::io::{self, IsTerminal};

/// Columns of what is written if neither a terminal nor `COLUMNS` says more of it.
pub const COLUMNS: usize = 80;

/// `1 row`, `2 rows`.
pub fn counted(count: impl TryInto<u64>, thing: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// A paragraph in lines of at most `width` characters. The first line begins with `first`, the others with as many spaces
/// as `hanging` says; a longer word stands alone on its line.
pub fn wrapped(paragraph: &str, width: usize, first: &str, hanging: usize) -> String {
    let mut lines = vec![first.to_string()];
    let mut is_fresh = true;
    for word in paragraph.split_whitespace() {
        let mut line = lines.pop().unwrap_or_default();
        if !is_fresh && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(line);
            line = " ".repeat(hanging);
            is_fresh = true;
        }
        if !is_fresh {
            line.push(' ');
        }
        line.push_str(word);
        is_fresh = false;
        lines.push(line);
    }
    lines.join("\n") + "\n"
}

/// Columns of stdout where it is no terminal: `COLUMNS`, or 80. `None` if it is one, which knows its own width.
pub fn piped_columns() -> Option<u16> {
    if io::stdout().is_terminal() {
        return None;
    }
    let said = std::env::var("COLUMNS").ok();
    let said = said.and_then(|columns| columns.parse().ok());
    Some(
        said.filter(|columns| *columns > 0)
            .unwrap_or(COLUMNS as u16),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!(counted(1_usize, "row"), "1 row");
        assert_eq!(counted(0_u64, "label"), "0 labels");
    }

    #[test]
    fn a_paragraph_hangs_below_its_first_line() {
        assert_eq!(
            wrapped("one two three", 12, "op  ", 4),
            "op  one two\n    three\n"
        );
        assert_eq!(
            wrapped("a verylongword b", 6, "", 2),
            "a\n  verylongword\n  b\n"
        );
        assert_eq!(wrapped("", 6, "op", 2), "op\n");
    }
}
