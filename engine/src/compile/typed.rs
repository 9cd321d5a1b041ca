//! Reading values as the type that their place asks for.

use crate::operator::units::{meant_bytes, meant_duration, parse_bytes, parse_duration};
use crate::operator::{Fallback, ParamSpec, ParamType, ParamValue, Params};
use crate::pipeline::{
    Code, Content, Diagnostic, Entry, Location, Node, Scalar, ScalarValue, join, quoted, read,
};

use super::draft::Draft;
use super::nearest::{MANY, SOME, nearest};

/// Reads a value. The problems are empty if it is broken and that was reported already.
pub(super) fn read_value(
    ty: &ParamType,
    node: &Node,
    path: &str,
) -> Result<ParamValue, Vec<Diagnostic>> {
    let mut has_near = false;
    let (code, help) = match (&node.content, ty) {
        (Content::Broken, _) => return Err(Vec::new()),
        (Content::List(nodes), ParamType::List(inner)) => return read_list(inner, nodes, path),
        (Content::Scalar(scalar), _) => match read_scalar(ty, scalar) {
            Ok(value) => return Ok(value),
            Err((code, help)) => {
                has_near = help.is_some();
                let meant = || Some(format!("did you mean `{}`?", meant(ty, scalar)?));
                (code, help.or_else(meant))
            }
        },
        (Content::List(_) | Content::Map(_), _) => (Code::WrongType, None),
    };
    let message = format!("expected {}, got {}", allowed(ty, has_near), node.shown());
    let found = Diagnostic::error(code, path, node.location, message);
    Err(vec![found.with_help(help)])
}

/// What is allowed, as messages say it: of many words not all, and none if a near one is told beside it.
fn allowed(ty: &ParamType, has_near: bool) -> String {
    match ty {
        ParamType::Choice(words) => one_of(words, has_near),
        ParamType::List(inner) => format!("a list, each item {}", allowed(inner, has_near)),
        ty => ty.to_string(),
    }
}

/// `one of a, b`; of many words only the first, or only their count.
pub(super) fn one_of(words: &[&str], has_near: bool) -> String {
    match words.len() {
        ..=MANY => format!("one of {}", words.join(", ")),
        count if has_near => format!("one of {count} words"),
        count => format!(
            "one of {} and {} more",
            words[..SOME].join(", "),
            count - SOME
        ),
    }
}

/// Whether messages leave out some of the words that are allowed.
fn has_many_words(ty: &ParamType) -> bool {
    match ty {
        ParamType::Choice(words) => words.len() > MANY,
        ParamType::List(inner) => has_many_words(inner),
        _ => false,
    }
}

/// How a value would be written that is right but for its unit or its word.
fn meant(ty: &ParamType, scalar: &Scalar) -> Option<String> {
    let text = scalar.text.trim();
    let meant = match *ty {
        _ if scalar.secret => None,
        ParamType::Bool => match text.to_lowercase().as_str() {
            "true" | "yes" | "y" | "on" | "1" => Some("true".to_string()),
            "false" | "no" | "n" | "off" | "0" => Some("false".to_string()),
            _ => None,
        },
        ParamType::Float { min, max } if max <= 1.0 => {
            let percent: f64 = text.strip_suffix('%')?.trim_end().parse().ok()?;
            let share = percent / 100.0;
            (min..=max).contains(&share).then(|| share.to_string())
        }
        ParamType::Duration => meant_duration(text),
        ParamType::Bytes => meant_bytes(text),
        _ => None,
    };
    meant.filter(|meant| meant != text)
}

fn read_list(inner: &ParamType, nodes: &[Node], path: &str) -> Result<ParamValue, Vec<Diagnostic>> {
    let mut values = Vec::new();
    let mut problems = Vec::new();
    let mut is_broken = false;
    for (index, node) in nodes.iter().enumerate() {
        match read_value(inner, node, &format!("{path}[{index}]")) {
            Ok(value) => values.push(value),
            Err(found) => {
                is_broken = true;
                problems.extend(found);
            }
        }
    }
    if is_broken {
        Err(problems)
    } else {
        Ok(ParamValue::List(values))
    }
}

/// Why a single value does not fit, and how to mend it.
type Misfit = (Code, Option<String>);

fn read_scalar(ty: &ParamType, scalar: &Scalar) -> Result<ParamValue, Misfit> {
    const WRONG_TYPE: Misfit = (Code::WrongType, None);
    const OUT_OF_RANGE: Misfit = (Code::OutOfRange, None);
    let text = scalar.text.as_str();
    let is_text = scalar.value == ScalarValue::Text;
    // Text that stands in the file as it is, and would be right if YAML did not take it for text.
    let quoted = |is_right: bool| -> Misfit {
        let is_quoted = is_right && is_text && scalar.written.is_none() && !scalar.secret;
        let help = is_quoted.then(|| "remove the quotes".to_string());
        (Code::WrongType, help)
    };
    match *ty {
        ParamType::Bool => match (scalar.value, scalar.loose, text) {
            (ScalarValue::Bool(value), ..) => Ok(ParamValue::Bool(value)),
            (_, true, "true") => Ok(ParamValue::Bool(true)),
            (_, true, "false") => Ok(ParamValue::Bool(false)),
            _ => Err(quoted(matches!(text, "true" | "false"))),
        },
        ParamType::Int { min, max } => {
            let value = match scalar.value {
                ScalarValue::Int(value) => value,
                _ if scalar.loose => text.parse().map_err(|_| WRONG_TYPE)?,
                _ => return Err(quoted(text.parse::<i64>().is_ok())),
            };
            let is_in_range = (min..=max).contains(&value);
            is_in_range
                .then_some(ParamValue::Int(value))
                .ok_or(OUT_OF_RANGE)
        }
        ParamType::Float { min, max } => {
            let value = match scalar.value {
                ScalarValue::Int(value) => value as f64,
                ScalarValue::Float(value) => value,
                _ if scalar.loose => text.parse().map_err(|_| WRONG_TYPE)?,
                _ => return Err(quoted(text.parse().is_ok_and(f64::is_finite))),
            };
            let is_in_range = (min..=max).contains(&value);
            is_in_range
                .then_some(ParamValue::Float(value))
                .ok_or(OUT_OF_RANGE)
        }
        ParamType::Text | ParamType::Uri | ParamType::Model | ParamType::Store => {
            match scalar.value {
                ScalarValue::Text if text.is_empty() && *ty != ParamType::Text => Err(OUT_OF_RANGE),
                ScalarValue::Text | ScalarValue::Int(_) | ScalarValue::Float(_) => {
                    Ok(ParamValue::Text(text.to_string()))
                }
                ScalarValue::Bool(_) => {
                    let help = "put quotes around it if it is meant as text".to_string();
                    Err((Code::WrongType, Some(help)))
                }
                ScalarValue::Null => Err(WRONG_TYPE),
            }
        }
        ParamType::Choice(words) => {
            if words.contains(&text) {
                return Ok(ParamValue::Text(text.to_string()));
            }
            let near = nearest(text, words.iter().copied()).filter(|_| !scalar.secret);
            let help = near.map(|word| format!("did you mean `{word}`?"));
            Err((
                if is_text {
                    Code::OutOfRange
                } else {
                    Code::WrongType
                },
                help,
            ))
        }
        ParamType::Duration => match parse_duration(text) {
            Some(value) => Ok(ParamValue::Duration(value)),
            None if parse_duration(&format!("{text}s")).is_some() && !scalar.secret => {
                Err((Code::WrongType, Some(format!("add a unit: {text}s"))))
            }
            None => Err(WRONG_TYPE),
        },
        ParamType::Bytes => {
            let bytes = parse_bytes(text).map(ParamValue::Bytes);
            bytes.ok_or(WRONG_TYPE)
        }
        ParamType::List(_) => {
            let is_something = scalar.value != ScalarValue::Null && !scalar.secret;
            let help = is_something.then(|| format!("write it as a list: [{text}]"));
            Err((Code::WrongType, help))
        }
    }
}

/// Values that a pass can go on with, whatever is wrong with them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Values {
    /// What is not sound has its default.
    pub params: Params,
    /// Whether all of them are.
    pub are_sound: bool,
}

/// Reads keys and values as these parameters and fills in defaults, also for what is wrong, which is reported.
pub(super) fn read_params(
    draft: &mut Draft<'_>,
    path: &str,
    at: Location,
    owner: &str,
    specs: &'static [ParamSpec],
    entries: &[Entry],
) -> Values {
    let (mut params, are_sound) = read_sound_params(draft, path, at, owner, specs, entries);
    for spec in specs.iter().filter(|_| !are_sound) {
        if params.get(spec.name).is_none()
            && let Some(value) = default_of(spec)
        {
            params.insert(spec.name, value);
        }
    }
    Values { params, are_sound }
}

/// Reads keys and values as these parameters and fills in defaults. Gives those that are sound even if others are not, and
/// whether all are; what is wrong is reported. `owner` is what messages call the thing that has the parameters.
pub(super) fn read_sound_params(
    draft: &mut Draft<'_>,
    path: &str,
    at: Location,
    owner: &str,
    specs: &'static [ParamSpec],
    entries: &[Entry],
) -> (Params, bool) {
    let mut params = Params::default();
    let mut is_sound = true;
    let names = || specs.iter().map(|spec| spec.name);
    let mut meant = Vec::new();
    for Entry { key, value } in entries {
        let path = join(path, &key.text);
        let Some(spec) = specs.iter().find(|spec| spec.name == key.text) else {
            meant.extend(nearest(&key.text, names()));
            let message = match specs.len() {
                0 => format!("{owner} has no parameters, got {}", quoted(&key.text)),
                _ => format!("{owner} has no parameter {}", quoted(&key.text)),
            };
            let help = draft.suggestion(&key.text, names());
            let found = Diagnostic::error(Code::UnknownParameter, path, key.location, message);
            draft.report(found.with_help(help));
            is_sound = false;
            continue;
        };
        match read_value(&spec.ty, value, &path) {
            Ok(value) => params.insert(spec.name, value),
            Err(problems) => {
                let problems = problems.into_iter().map(|problem| {
                    let help = problem
                        .help
                        .iter()
                        .cloned()
                        .chain(all_words(owner, &spec.ty));
                    let help: Vec<String> = help.collect();
                    problem.with_help((!help.is_empty()).then(|| help.join(" ")))
                });
                draft.diagnostics.extend(problems);
                is_sound = false;
            }
        }
    }
    for spec in specs {
        let is_given = entries.iter().any(|entry| entry.key.text == spec.name);
        if is_given {
            continue;
        }
        let path = join(path, spec.name);
        match spec.fallback {
            Fallback::Absent => {}
            Fallback::Is(text) => match read_default(&spec.ty, text) {
                Some(value) => params.insert(spec.name, value),
                None => {
                    let message =
                        format!("the default {} of {owner} is not {}", quoted(text), spec.ty);
                    let found = Diagnostic::error(Code::BadDefault, path, at, message);
                    draft.report(found.with_help("this is a bug in the operator".to_string()));
                    is_sound = false;
                }
            },
            // A required parameter that is only misspelt was reported as that.
            Fallback::Required if meant.contains(&spec.name) => is_sound = false,
            Fallback::Required => {
                let allowed = allowed(&spec.ty, false);
                let message = format!("{owner} needs {}, {allowed}", quoted(spec.name));
                let found = Diagnostic::error(Code::MissingParameter, path, at, message);
                draft.report(found.with_help(all_words(owner, &spec.ty)));
                is_sound = false;
            }
        }
    }
    (params, is_sound)
}

/// Where all words are told that a parameter may be, if messages leave some out.
fn all_words(owner: &str, ty: &ParamType) -> Option<String> {
    // Settings of the format itself have few: the owner is an operator.
    has_many_words(ty).then(|| {
        format!(
            "`clipsieve operators {}` lists them",
            owner.trim_matches('`')
        )
    })
}

/// The value that a parameter has if the file does not give it, if it has one then.
pub(crate) fn default_of(spec: &ParamSpec) -> Option<ParamValue> {
    match spec.fallback {
        Fallback::Is(text) => read_default(&spec.ty, text),
        Fallback::Absent | Fallback::Required => None,
    }
}

/// A default as its operator writes it: as in the file, but without the need for quotes.
fn read_default(ty: &ParamType, text: &str) -> Option<ParamValue> {
    match ty {
        ParamType::List(_) => read_value(ty, &read(text.as_bytes()).0?, "").ok(),
        _ => read_scalar(ty, &Scalar::loose(text)).ok(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn value(ty: &ParamType, text: &str) -> Result<ParamValue, String> {
        let node = read(text.as_bytes()).0.unwrap();
        read_value(ty, &node, "p").map_err(|problems| problems[0].to_string())
    }

    #[test]
    fn whole_numbers_have_a_range() {
        const FRAMES: ParamType = ParamType::Int { min: 1, max: 512 };
        assert_eq!(value(&FRAMES, "48"), Ok(ParamValue::Int(48)));
        for wrong in [
            "0",
            "513",
            "1.5",
            "'48'",
            "[1]",
            "99999999999999999999",
            "~",
            "-0x1",
        ] {
            assert!(value(&FRAMES, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        const SHARE: ParamType = ParamType::Float { min: 0.0, max: 1.0 };
        assert_eq!(value(&SHARE, "1"), Ok(ParamValue::Float(1.0)));
        for wrong in [".nan", ".inf", "-.inf", "1e400", "2"] {
            assert!(value(&SHARE, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn text_keeps_how_a_number_was_written() {
        let text = |text: &str| Ok(ParamValue::Text(text.to_string()));
        assert_eq!(value(&ParamType::Text, "1.10"), text("1.10"));
        assert_eq!(value(&ParamType::Text, "''"), text(""));
        assert!(value(&ParamType::Uri, "''").is_err());
        assert!(value(&ParamType::Text, "true").is_err());
    }

    #[test]
    fn lists_tell_which_item_is_wrong() {
        const TIERS: ParamType = ParamType::List(&ParamType::Choice(&["cpfs", "oss"]));
        assert!(value(&TIERS, "[cpfs, oss]").is_ok());
        assert_eq!(
            value(&TIERS, "[cpfs, osss]").unwrap_err(),
            ":1:8: error[C034] p[1]: expected one of cpfs, oss, got `osss` (did you mean `oss`?)"
        );
        assert_eq!(
            value(&TIERS, "cpfs").unwrap_err(),
            ":1:1: error[C033] p: expected a list, each item one of cpfs, oss, got `cpfs` (write it as a list: [cpfs])"
        );
    }

    #[test]
    fn numbers_in_quotes_are_told_to_lose_them() {
        const FRAMES: ParamType = ParamType::Int { min: 1, max: 512 };
        const SHARE: ParamType = ParamType::Float { min: 0.0, max: 1.0 };
        for (ty, text) in [
            (&FRAMES, "\"48\""),
            (&SHARE, "'0.5'"),
            (&ParamType::Bool, "'true'"),
        ] {
            let message = value(ty, text).unwrap_err();
            assert!(message.ends_with("(remove the quotes)"), "{message}");
        }
        assert!(!value(&FRAMES, "many").unwrap_err().contains("quotes"));
    }

    #[test]
    fn what_is_meant_is_told_where_only_the_unit_or_the_word_is_wrong() {
        const SHARE: ParamType = ParamType::Float { min: 0.0, max: 1.0 };
        const DEGREES: ParamType = ParamType::Float {
            min: 0.0,
            max: 360.0,
        };
        for (ty, text, meant) in [
            (&ParamType::Bytes, "10gb", Some("10GB")),
            (&ParamType::Duration, "2sec", Some("2s")),
            (&SHARE, "50%", Some("0.5")),
            (&SHARE, "150%", None),
            (&DEGREES, "50%", None),
            (&ParamType::Bool, "yes", Some("true")),
            (&ParamType::Bool, "Off", Some("false")),
            (&ParamType::Bool, "maybe", None),
            (&ParamType::Bytes, "lots", None),
        ] {
            let message = value(ty, text).unwrap_err();
            match meant {
                Some(meant) => assert!(
                    message.ends_with(&format!("(did you mean `{meant}`?)")),
                    "{message}"
                ),
                None => assert!(!message.contains("mean"), "{message}"),
            }
        }
    }

    #[test]
    fn a_length_of_time_without_a_unit_is_told_how_to_get_one() {
        assert_eq!(
            value(&ParamType::Duration, "4").unwrap_err(),
            ":1:1: error[C033] p: expected a length of time such as 300ms, 4s, 20m or 1h, got `4` (add a unit: 4s)"
        );
    }
}
