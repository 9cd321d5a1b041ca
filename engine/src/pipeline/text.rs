use std::borrow::Cow;

/// Longest piece of a value that a message quotes, in characters.
const QUOTED_CHARACTERS: usize = 48;

/// A text between backticks, shortened: fit for a message.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("`");
    out.extend(text.chars().take(QUOTED_CHARACTERS));
    if text.chars().nth(QUOTED_CHARACTERS).is_some() {
        out.push('…');
    }
    out.push('`');
    one_line(&out).into_owned()
}

/// A text with its control characters escaped: it keeps to its line and plays no tricks on a terminal.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}
