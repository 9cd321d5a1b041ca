//! Reading JSON objects field by field, with every problem collected rather than only the first.

use std::cell::RefCell;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{ModelError, Result};

/// Larger configuration files are refused unread.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The problems found so far in one file.
#[derive(Default)]
pub(crate) struct Problems(RefCell<Vec<String>>);

impl Problems {
    /// Notes what is wrong with a field.
    pub fn note(&self, field: &str, problem: impl AsRef<str>) {
        self.0
            .borrow_mut()
            .push(format!("{field}: {}", problem.as_ref()));
    }

    /// The file is good, or the error that lists its problems.
    pub fn finish(self, file: &Path) -> Result<()> {
        let problems = self.0.into_inner();
        if problems.is_empty() {
            return Ok(());
        }
        Err(ModelError::Config {
            file: file.to_path_buf(),
            problems,
        })
    }
}

/// Reads a file that must hold one JSON object.
pub(crate) fn read_object(file: &Path) -> Result<Map<String, Value>> {
    let config_error = |problem: String| ModelError::Config {
        file: file.to_path_buf(),
        problems: vec![problem],
    };
    let opened = std::fs::File::open(file).map_err(|e| ModelError::io(file, e))?;
    let mut text = Vec::new();
    opened
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|e| ModelError::io(file, e))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(config_error(format!(
            "the file is larger than the {MAX_FILE_BYTES} bytes a configuration may have"
        )));
    }
    match serde_json::from_slice(&text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(config_error(format!(
            "found {}, allowed: a JSON object",
            shown(&other)
        ))),
        Err(e) => Err(config_error(format!("not valid JSON: {e}"))),
    }
}

/// One JSON object being read; `path` is put before its field names in messages.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    path: &'a str,
    map: &'a Map<String, Value>,
    problems: &'a Problems,
}

impl<'a> Fields<'a> {
    pub fn new(path: &'a str, map: &'a Map<String, Value>, problems: &'a Problems) -> Self {
        Fields {
            path,
            map,
            problems,
        }
    }

    /// Another object of the same file.
    pub fn nested(&self, path: &'a str, map: &'a Map<String, Value>) -> Self {
        Fields { path, map, ..*self }
    }

    /// The field's value; `null` counts as absent, as in Hugging Face's files.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|v| !v.is_null())
    }

    /// Notes a problem with a field of this object.
    pub fn note(&self, name: &str, problem: impl AsRef<str>) {
        self.problems.note(&format!("{}{name}", self.path), problem);
    }

    fn refuse(&self, name: &str, found: &Value, allowed: &str) {
        self.note(name, format!("found {}, allowed: {allowed}", shown(found)));
    }

    /// Refuses every field of this object that is not one of `known`.
    pub fn refuse_unknown(&self, known: &[&str]) {
        for name in self
            .map
            .keys()
            .filter(|name| !known.contains(&name.as_str()))
        {
            let nearest = known.iter().min_by_key(|k| strsim::osa_distance(k, name));
            self.note(
                name,
                format!(
                    "there is no such field; the nearest name is {} (allowed: {})",
                    nearest.unwrap_or(&""),
                    known.join(", ")
                ),
            );
        }
    }

    /// Refuses fields whose names are nearly one of `own`: one slip in four letters. Others may be anybody's.
    pub fn refuse_misspelt(&self, own: &[&str]) {
        for name in self.map.keys().filter(|name| !own.contains(&name.as_str())) {
            let near = |own: &&&str| strsim::osa_distance(own, name) <= own.len() / 4;
            if let Some(nearest) = own.iter().find(near) {
                let problem = format!("there is no such field; the nearest name is {nearest}");
                self.note(name, problem);
            }
        }
    }

    /// A nested object, if the field is there.
    pub fn object(&self, name: &str) -> Option<&'a Map<String, Value>> {
        let value = self.value(name)?;
        if value.as_object().is_none() {
            self.refuse(name, value, "an object");
        }
        value.as_object()
    }

    /// An integer within `range`.
    pub fn int(&self, name: &str, default: i64, range: RangeInclusive<i64>) -> i64 {
        let Some(value) = self.value(name) else {
            return default;
        };
        match as_int(value).filter(|n| range.contains(n)) {
            Some(n) => n,
            None => {
                let allowed = format!("an integer from {} to {}", range.start(), range.end());
                self.refuse(name, value, &allowed);
                default
            }
        }
    }

    /// A number for which `good` holds; `allowed` describes it.
    pub fn number(
        &self,
        name: &str,
        default: f64,
        good: impl Fn(f64) -> bool,
        allowed: &str,
    ) -> f64 {
        let Some(value) = self.value(name) else {
            return default;
        };
        match value.as_f64().filter(|n| good(*n)) {
            Some(n) => n,
            None => {
                self.refuse(name, value, allowed);
                default
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self, name: &str, default: bool) -> bool {
        let Some(value) = self.value(name) else {
            return default;
        };
        value.as_bool().unwrap_or_else(|| {
            self.refuse(name, value, "true or false");
            default
        })
    }

    /// One of `allowed`; its place in that list.
    pub fn word(&self, name: &str, default: usize, allowed: &[&str]) -> usize {
        let Some(value) = self.value(name) else {
            return default;
        };
        let place = value
            .as_str()
            .and_then(|word| allowed.iter().position(|a| *a == word));
        place.unwrap_or_else(|| {
            self.refuse(name, value, &allowed.join(", "));
            default
        })
    }

    /// Three numbers for which `good` holds, one a colour channel.
    pub fn triple(
        &self,
        name: &str,
        default: [f32; 3],
        good: impl Fn(f64) -> bool,
        allowed: &str,
    ) -> [f32; 3] {
        let Some(value) = self.value(name) else {
            return default;
        };
        let numbers: Option<Vec<f32>> = value.as_array().and_then(|list| {
            list.iter()
                .map(|v| v.as_f64().filter(|n| good(*n)).map(|n| n as f32))
                .collect()
        });
        match numbers.and_then(|n| <[f32; 3]>::try_from(n).ok()) {
            Some(triple) => triple,
            None => {
                self.refuse(name, value, allowed);
                default
            }
        }
    }
}

/// An integer, also when it is written `4.0`.
pub(crate) fn as_int(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let n = value.as_f64()?;
        (n.fract() == 0.0 && n.abs() < 9e15).then_some(n as i64)
    })
}

/// A value as it is shown in a message: JSON, cut when long.
pub(crate) fn shown(value: &Value) -> String {
    const SHOWN_CHARS: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_collected_with_its_path() {
        let value = serde_json::json!({
            "a": 0, "b": "x", "c": [1, 2], "d": 4.0, "e": null, "f": "é".repeat(100)
        });
        let map = value.as_object().unwrap();
        let problems = Problems::default();
        let fields = Fields::new("size.", map, &problems);
        assert_eq!(fields.int("a", 7, 1..=9), 7);
        assert!(fields.boolean("b", true));
        assert_eq!(
            fields.triple("c", [0.5; 3], |_| true, "three numbers"),
            [0.5; 3]
        );
        assert_eq!(fields.int("d", 7, 1..=9), 4);
        assert_eq!(fields.int("e", 7, 1..=9), 7);
        assert_eq!(fields.word("f", 1, &["p", "q"]), 1);
        let text = problems
            .finish(Path::new("c.json"))
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("size.a: found 0, allowed: an integer from 1 to 9"),
            "{text}"
        );
        assert!(
            text.contains("size.b: found \"x\", allowed: true or false"),
            "{text}"
        );
        assert!(
            text.contains("size.c: found [1,2], allowed: three numbers"),
            "{text}"
        );
        assert!(text.contains("…, allowed: p, q"), "{text}");
        assert!(
            !text.contains("size.d") && !text.contains("size.e"),
            "{text}"
        );
    }
}
