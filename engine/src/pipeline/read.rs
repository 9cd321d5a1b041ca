use super::marks::{Mark, MarkContent, marks};
use super::text::quoted;
use super::values::Raw;
use super::{Code, Content, Diagnostic, Entry, Key, Location, Node, Scalar, ScalarValue};

/// Largest file that is read. The stock pipelines have a few kilobytes.
const FILE_LIMIT_BYTES: usize = 1 << 20;

/// Reads a file into a tree of values with their places, and reports what is wrong with its YAML. `None` if nothing can
/// be made of it; a key that stands twice is reported and left out.
pub fn read(bytes: &[u8]) -> (Option<Node>, Vec<Diagnostic>) {
    match read_marked(bytes) {
        Ok((raw, mark)) => {
            let mut joiner = Joiner::default();
            let node = joiner.node(raw, mark, "");
            (Some(node), joiner.problems)
        }
        Err(problems) => (None, problems),
    }
}

fn read_marked(bytes: &[u8]) -> Result<(Raw, Mark), Vec<Diagnostic>> {
    let text = text(bytes)?;
    // The marks come first: they bound depth and size, and refuse aliases, before serde_yaml builds anything.
    let mark = marks(text)?.ok_or_else(|| vec![empty()])?;
    let raw = serde_yaml::from_str(text).map_err(|error| {
        let at = error.location();
        let at = at.map(|at| Location::at(at.line(), at.column()));
        vec![Diagnostic::error(Code::Syntax, "", at, error.to_string())]
    })?;
    Ok((raw, mark))
}

fn empty() -> Diagnostic {
    let found = Diagnostic::error(Code::WrongShape, "", None, "the file is empty");
    found.with_help("a pipeline needs a `name` and `stages`".to_string())
}

/// The bytes as text that both readers understand alike.
fn text(bytes: &[u8]) -> Result<&str, Vec<Diagnostic>> {
    let refuse = |at, message: String| vec![Diagnostic::error(Code::Unreadable, "", at, message)];
    if bytes.len() > FILE_LIMIT_BYTES {
        let message = format!(
            "the file has {} bytes, more than the {FILE_LIMIT_BYTES} that are read",
            bytes.len()
        );
        return Err(refuse(None, message));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        refuse(Some(end_of(&before)), "not UTF-8 text".to_string())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.char_indices().find(|(_, c)| is_forbidden(*c)) {
        None => Ok(text),
        Some((index, character)) => Err(refuse(
            Some(end_of(&text[..index])),
            format!("control character U+{:04X}", u32::from(character)),
        )),
    }
}

/// Characters that YAML forbids, and those it takes for line ends on which readers disagree.
fn is_forbidden(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => false,
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => true,
        other => other.is_control(),
    }
}

/// The place right behind a text.
fn end_of(text: &str) -> Location {
    let last_line = text.rsplit('\n').next().unwrap_or(text);
    Location::at(
        text.matches('\n').count() + 1,
        last_line.chars().count() + 1,
    )
}

/// Joins values and places.
#[derive(Default)]
struct Joiner {
    problems: Vec<Diagnostic>,
}

impl Joiner {
    fn node(&mut self, raw: Raw, mark: Mark, path: &str) -> Node {
        let location = mark.location;
        let content = match (raw, mark.content) {
            (Raw::Scalar(value, text), MarkContent::Scalar(written)) => {
                Content::Scalar(Scalar::new(text.unwrap_or(written), value))
            }
            (Raw::List(items), MarkContent::List(marks)) if items.len() == marks.len() => {
                let pairs = items.into_iter().zip(marks).enumerate();
                Content::List(
                    pairs
                        .map(|(index, (item, mark))| {
                            self.node(item, mark, &format!("{path}[{index}]"))
                        })
                        .collect(),
                )
            }
            (Raw::Map(entries), MarkContent::Map(marks)) if entries.len() == marks.len() => {
                let mut map: Vec<Entry> = Vec::with_capacity(entries.len());
                for ((key, value), (key_mark, value_mark)) in entries.into_iter().zip(marks) {
                    self.entry(&mut map, (key, key_mark), (value, value_mark), path);
                }
                Content::Map(map)
            }
            _ => {
                let found =
                    Diagnostic::error(Code::Syntax, path, location, "this can be read in two ways");
                self.problems
                    .push(found.with_help("put quotes around the text".to_string()));
                Content::Broken
            }
        };
        Node { location, content }
    }

    fn entry(&mut self, map: &mut Vec<Entry>, key: (Raw, Mark), value: (Raw, Mark), path: &str) {
        let location = key.1.location;
        let text = match (key.0, key.1.content) {
            (Raw::Scalar(ScalarValue::Null, _), _) => None,
            (Raw::Scalar(_, Some(text)), _) => Some(text),
            (Raw::Scalar(_, None), MarkContent::Scalar(written)) => Some(written),
            _ => None,
        };
        let Some(text) = text else {
            let message = "a key has to be a name";
            self.problems
                .push(Diagnostic::error(Code::WrongShape, path, location, message));
            return;
        };
        let path = join(path, &text);
        if let Some(first) = map.iter().find(|entry| entry.key.text == text) {
            let message = format!(
                "key {} already stands at {}",
                quoted(&text),
                first.key.location
            );
            self.problems.push(Diagnostic::error(
                Code::DuplicateKey,
                path,
                location,
                message,
            ));
            return;
        }
        let value = self.node(value.0, value.1, &path);
        map.push(Entry {
            key: Key { text, location },
            value,
        });
    }
}

/// The path of a key in what stands at another path.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_string()
    } else {
        format!("{path}.{key}")
    }
}
