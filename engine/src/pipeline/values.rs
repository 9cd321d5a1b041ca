use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::ScalarValue;

/// What `serde_yaml` reads: values without places. Unlike `serde_yaml::Value` it keeps a key that stands twice, so that
/// one does not hide what else is wrong.
#[derive(Debug, PartialEq)]
pub(super) enum Raw {
    /// A single value. The text is given where the value does not say it.
    Scalar(ScalarValue, Option<String>),
    /// A list.
    List(Vec<Raw>),
    /// Keys and values.
    Map(Vec<(Raw, Raw)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(ScalarValue::Null, None))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(ScalarValue::Bool(value), None))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(ScalarValue::Int(value), None))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(
            i64::try_from(value).map_or(ScalarValue::Float(value as f64), ScalarValue::Int),
            None,
        ))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Scalar(ScalarValue::Float(value as f64), None))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Scalar(ScalarValue::Float(value as f64), None))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(ScalarValue::Float(value), None))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(ScalarValue::Text, Some(value.to_string())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_what_yaml_1_2_takes_them_for() {
        let read = |text: &str| match serde_yaml::from_str(text).unwrap() {
            Raw::Scalar(value, _) => value,
            other => panic!("{other:?}"),
        };
        assert_eq!(read("48"), ScalarValue::Int(48));
        assert_eq!(read("-0x10"), ScalarValue::Int(-16));
        assert_eq!(read("1.5"), ScalarValue::Float(1.5));
        assert_eq!(read("yes"), ScalarValue::Text);
        assert_eq!(read("'1'"), ScalarValue::Text);
        assert_eq!(read("~"), ScalarValue::Null);
        assert_eq!(read("true"), ScalarValue::Bool(true));
        assert!(matches!(read("99999999999999999999"), ScalarValue::Float(value) if value > 9e19));
        let huge = "9".repeat(400);
        assert!(matches!(
            read(&huge),
            ScalarValue::Float(_) | ScalarValue::Text
        ));
    }

    #[test]
    fn a_key_that_stands_twice_is_kept() {
        let raw: Raw = serde_yaml::from_str("{a: 1, a: 2}").unwrap();
        assert!(matches!(raw, Raw::Map(entries) if entries.len() == 2));
    }
}
