use crate::pipeline::one_line;

/// Columns of the terminal that text is made for.
pub(super) const COLUMNS: usize = 80;

/// A text in a column of this width: shortened or filled up with spaces.
pub(super) fn cell(text: &str, width: usize) -> String {
    let text = shortened(text, width);
    format!("{text:width$}")
}

/// The same with the text at the right.
pub(super) fn cell_right(text: &str, width: usize) -> String {
    let text = shortened(text, width);
    format!("{text:>width$}")
}

fn shortened(text: &str, width: usize) -> String {
    let text = one_line(text);
    if text.chars().count() <= width {
        return text.into_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Longest name of a stage, model or store; a longer one is a mistake and is shortened.
const NAME: usize = 64;

/// A row of names in columns of these widths, two apart. A name is never cut: one that is wider than its column goes on
/// to the end of the line and pushes what follows to another line, still in its column. `width` is that of all lines.
pub(super) fn row(cells: &[(&str, usize)], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut start = 0;
    for (text, column) in cells {
        let text = shortened(text, NAME.max(*column));
        let is_wide = text.chars().count() > *column;
        if is_wide && start + text.chars().count() > width {
            let mut pieces = wrap(&text, width.saturating_sub(start)).into_iter();
            let last = pieces.next_back().unwrap_or_default();
            for piece in pieces {
                lines.push(format!("{line:start$}{piece}"));
                line.clear();
            }
            line = format!("{line:start$}{last}");
        } else {
            line = format!("{line:start$}{text}");
        }
        if is_wide {
            lines.push(std::mem::take(&mut line));
        }
        start += column + 2;
    }
    if lines.is_empty() || !line.trim().is_empty() {
        lines.push(line);
    }
    lines
}

/// The width of a column that holds these texts, between a least and a most.
pub(super) fn column<'a>(
    texts: impl IntoIterator<Item = &'a str>,
    least: usize,
    most: usize,
) -> usize {
    let widest = texts.into_iter().map(|text| text.chars().count()).max();
    widest.unwrap_or(0).clamp(least, most)
}

/// Breaks a text at spaces into lines of at most this width. A word that is longer is broken where the line ends.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let text = one_line(text);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut word: Vec<char> = word.chars().collect();
        if length > 0 && length + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        while word.len() > width {
            lines.push(word.drain(..width).collect());
        }
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        length += word.len();
        line.extend(word);
    }
    if length > 0 || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// Writes a line without the spaces at its end.
pub(super) fn push_line(out: &mut String, line: &str) {
    out.push_str(line.trim_end());
    out.push('\n');
}

/// Writes notes beside a drawing, set in.
pub(super) fn push_notes(out: &mut String, drawn: &str, notes: impl IntoIterator<Item = String>) {
    let width = COLUMNS.saturating_sub(drawn.chars().count() + 5);
    for note in notes {
        for (index, text) in wrap(&note, width).into_iter().enumerate() {
            let indent = if index == 0 { "  " } else { "    " };
            push_line(out, &format!("{drawn} {indent}{text}"));
        }
    }
}

/// A heading: what it is on the left, which view on the right.
pub(super) fn heading(out: &mut String, left: &str, right: &str) {
    let right_width = right.chars().count();
    let line = format!("{} {right}", cell(left, COLUMNS - right_width - 1));
    push_line(out, &line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_to_their_width() {
        let lines = wrap("one two three fourteenletters five", 10);
        assert_eq!(lines, ["one two", "three", "fourteenle", "tters five"]);
        assert_eq!(wrap("", 10), [""]);
        assert_eq!(wrap("a\nb", 10), ["a\\nb"]);
    }

    #[test]
    fn names_are_never_cut() {
        assert_eq!(row(&[("ab", 3), ("c", 2), ("d", 1)], 20), ["ab   c   d"]);
        assert_eq!(
            row(&[("abcdef", 3), ("c", 2), ("d", 1)], 20),
            ["abcdef", "     c   d"]
        );
        assert_eq!(row(&[("a", 3), ("cde", 2), ("", 1)], 20), ["a    cde"]);
        assert_eq!(
            row(&[("a", 3), ("cdefghijkl", 2), ("d", 1)], 13),
            ["a    cdefghij", "     kl", "         d"]
        );
    }

    #[test]
    fn cells_have_their_width() {
        assert_eq!(cell("abc", 5), "abc  ");
        assert_eq!(cell("abcdef", 4), "abc…");
        assert_eq!(cell_right("7", 3), "  7");
    }
}
