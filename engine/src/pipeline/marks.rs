use std::borrow::Cow;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

use super::{Code, Diagnostic, Location};

/// Deepest nesting of lists and mappings. A pipeline needs six; both readers use the call stack or time for more.
const DEPTH_LIMIT: usize = 32;
/// Most events (keys, values, brackets) in a file. The largest stock pipeline has some five hundred.
const EVENT_LIMIT: usize = 50_000;

/// Where a value stands, and its text.
pub(super) struct Mark {
    pub location: Location,
    pub content: MarkContent,
}

pub(super) enum MarkContent {
    Scalar(String),
    List(Vec<Mark>),
    Map(Vec<(Mark, Mark)>),
}

/// The places of all keys and values of a text; `None` if it holds no document.
///
/// # Errors
/// What makes the text unfit to be read any further.
pub(super) fn marks(text: &str) -> Result<Option<Mark>, Vec<Diagnostic>> {
    let mut builder = Builder::default();
    for (count, event) in Parser::new_from_str(text).enumerate() {
        if count == EVENT_LIMIT {
            builder.report(
                Code::TooDeep,
                None,
                format!("more than {EVENT_LIMIT} keys and values"),
            );
            break;
        }
        match event {
            Ok((event, span)) => {
                if builder.take(event, span).is_break() {
                    break;
                }
            }
            Err(error) => {
                let at = location(error.marker(), None);
                let help = builder.unquoted(text, at.line);
                let help = help.or_else(|| builder.open_bracket());
                builder.problems.push(
                    Diagnostic::error(Code::Syntax, "", at, error.info().replace('"', "`"))
                        .with_help(help),
                );
                break;
            }
        }
    }
    if builder.problems.is_empty() {
        Ok(builder.root)
    } else {
        Err(builder.problems)
    }
}

/// A list or mapping that is still open.
struct Open {
    location: Location,
    /// `[` or `{` if it is written with brackets.
    bracket: Option<char>,
    /// A mapping's keys and values in turn, or a list's items.
    items: Vec<Mark>,
    is_map: bool,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Open>,
    root: Option<Mark>,
    documents: usize,
    problems: Vec<Diagnostic>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.report(
                        Code::WrongShape,
                        Some(location(&span.start, None)),
                        "a second document begins; a file holds one pipeline".to_string(),
                    );
                    return Break(());
                }
            }
            Event::Alias(_) => {
                self.unsupported(&span, "an alias (`*name`)");
                self.put(Mark {
                    location: location(&span.start, None),
                    content: MarkContent::Scalar(String::new()),
                });
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_properties(anchor, tag.as_ref(), &span);
                if text == "<<" && style == ScalarStyle::Plain && self.expects_key() {
                    self.unsupported(&span, "a merge key (`<<`)");
                }
                self.put(Mark {
                    location: location(&span.start, Some(&span)),
                    content: MarkContent::Scalar(text.into_owned()),
                });
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_properties(anchor, tag.as_ref(), &span);
                return self.open(&span, '[', false);
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_properties(anchor, tag.as_ref(), &span);
                return self.open(&span, '{', true);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Continue(())
    }

    fn open(&mut self, span: &Span, bracket: char, is_map: bool) -> std::ops::ControlFlow<()> {
        let location = location(&span.start, None);
        if self.stack.len() == DEPTH_LIMIT {
            let message = format!("lists and mappings nested more than {DEPTH_LIMIT} deep");
            self.report(Code::TooDeep, Some(location), message);
            return std::ops::ControlFlow::Break(());
        }
        self.stack.push(Open {
            location,
            bracket: (!span.is_empty()).then_some(bracket),
            items: Vec::new(),
            is_map,
        });
        std::ops::ControlFlow::Continue(())
    }

    fn close(&mut self) {
        let Some(open) = self.stack.pop() else { return };
        let content = if open.is_map {
            let mut pairs = Vec::with_capacity(open.items.len() / 2);
            let mut items = open.items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                pairs.push((key, value));
            }
            MarkContent::Map(pairs)
        } else {
            MarkContent::List(open.items)
        };
        self.put(Mark {
            location: open.location,
            content,
        });
    }

    fn put(&mut self, mark: Mark) {
        match self.stack.last_mut() {
            Some(open) => open.items.push(mark),
            None => self.root = Some(mark),
        }
    }

    fn expects_key(&self) -> bool {
        self.stack
            .last()
            .is_some_and(|open| open.is_map && open.items.len() % 2 == 0)
    }

    fn refuse_properties(&mut self, anchor: usize, tag: Option<&Cow<'_, Tag>>, span: &Span) {
        if anchor != 0 {
            self.unsupported(span, "an anchor (`&name`)");
        }
        if tag.is_some() {
            self.unsupported(span, "a tag (`!name`)");
        }
    }

    fn unsupported(&mut self, span: &Span, what: &str) {
        let found = Diagnostic::error(
            Code::UnsupportedYaml,
            "",
            location(&span.start, None),
            format!("{what} is not read in a pipeline"),
        );
        self.problems
            .push(found.with_help("write the value out, or make it a param".to_string()));
    }

    fn report(&mut self, code: Code, at: Option<Location>, message: String) {
        self.problems.push(Diagnostic::error(code, "", at, message));
    }

    /// A `${name}` inside brackets needs quotes. It stands where the error is or where the innermost bracket is.
    fn unquoted(&self, text: &str, line: usize) -> Option<String> {
        let open = self.stack.last().filter(|open| open.bracket.is_some());
        let lines = [Some(line), open.map(|open| open.location.line)];
        let mut lines = lines.into_iter().flatten();
        let found =
            lines.find_map(|line| unquoted_variable(text.lines().nth(line.checked_sub(1)?)?))?;
        Some(format!("put quotes around it: `\"{found}\"`"))
    }

    /// Where an error lies inside brackets, the place of the innermost is what the author needs.
    fn open_bracket(&self) -> Option<String> {
        let open = self.stack.last()?;
        let bracket = open.bracket?;
        Some(format!(
            "the `{bracket}` at {} is still open",
            open.location
        ))
    }
}

/// The first value of a line that has a `${` and no quotes.
fn unquoted_variable(line: &str) -> Option<&str> {
    let mut quote = None;
    let mut start = 0;
    let mut before = ' ';
    for (index, character) in line.char_indices() {
        let begins = matches!(before, ' ' | '\t' | ',' | '[' | '{' | ':');
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if begins => quote = Some(character),
            (None, '#') if before.is_whitespace() => return None,
            (None, '$') if line[index..].starts_with("${") => {
                let end = index + line[index..].find('}')? + 1;
                let rest = line[end..].find([' ', '\t', ',', ']', '}']);
                return Some(&line[start..rest.map_or(line.len(), |rest| end + rest)]);
            }
            (None, ' ' | '\t' | ',' | '[' | '{') => start = index + 1,
            (None, _) => {}
        }
        before = character;
    }
    None
}

/// A place, with its extent if that is one line.
fn location(start: &Marker, span: Option<&Span>) -> Location {
    let on_one_line = span.filter(|span| span.end.line() == span.start.line() && !span.is_empty());
    Location {
        line: start.line(),
        column: start.col() + 1,
        length: on_one_line.map(Span::len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_without_quotes_are_found() {
        let found = unquoted_variable;
        assert_eq!(found("a: { uri: ${input} }"), Some("${input}"));
        assert_eq!(
            found("a: { b: \"${x}\", uri: s3://c/${d}/e}"),
            Some("s3://c/${d}/e")
        );
        assert_eq!(found("a: [${b},c]"), Some("${b}"));
        assert_eq!(found("a: { don't: ${b} }"), Some("${b}"));
        for sound in [
            "a: { uri: \"${input}\" }",
            "a: '${b}'",
            "a: { # ${b}",
            "a: { ${b",
        ] {
            assert_eq!(found(sound), None, "{sound}");
        }
    }
}
