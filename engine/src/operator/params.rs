use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::units::{format_bytes, format_duration};

/// What a parameter's value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ParamType {
    /// `true` or `false`.
    Bool,
    /// A whole number in a closed range.
    Int {
        /// Smallest value allowed.
        min: i64,
        /// Largest value allowed.
        max: i64,
    },
    /// A number in a closed range.
    Float {
        /// Smallest value allowed.
        min: f64,
        /// Largest value allowed.
        max: f64,
    },
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A length of time: `4s`, `300ms`, `20m`, `1h`.
    Duration,
    /// An amount of memory or disk: `512MB`, `4GiB`, `1000`.
    Bytes,
    /// A path or URI.
    Uri,
    /// The name of an entry of `models:`.
    Model,
    /// The name of an entry of `stores:`.
    Store,
    /// A list of such values.
    List(&'static ParamType),
}

/// What is allowed, as messages and help say it: `a whole number from 1 to 512`.
impl fmt::Display for ParamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ParamType::Bool => f.write_str("true or false"),
            ParamType::Int { min, max } => {
                f.write_str("a whole number")?;
                let (low, high) = (
                    (min > i64::MIN).then_some(min),
                    (max < i64::MAX).then_some(max),
                );
                write_range(f, low, high)
            }
            ParamType::Float { min, max } => {
                f.write_str("a number")?;
                let (low, high) = (
                    (min > f64::MIN).then_some(min),
                    (max < f64::MAX).then_some(max),
                );
                write_range(f, low, high)
            }
            ParamType::Text => f.write_str("text"),
            ParamType::Choice(words) => write!(f, "one of {}", words.join(", ")),
            ParamType::Duration => f.write_str("a length of time such as 300ms, 4s, 20m or 1h"),
            ParamType::Bytes => f.write_str("an amount of memory such as 512MB, 4GiB or 1000"),
            ParamType::Uri => f.write_str("a path or URI"),
            ParamType::Model => f.write_str("the name of a model"),
            ParamType::Store => f.write_str("the name of a store"),
            ParamType::List(inner) => write!(f, "a list, each item {inner}"),
        }
    }
}

fn write_range<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    low: Option<T>,
    high: Option<T>,
) -> fmt::Result {
    match (low, high) {
        (None, None) => Ok(()),
        (Some(low), None) => write!(f, " of {low} or more"),
        (None, Some(high)) => write!(f, " of {high} or less"),
        (Some(low), Some(high)) => write!(f, " from {low} to {high}"),
    }
}

/// What holds when the file does not give a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fallback {
    /// It must be given.
    Required,
    /// It has no value then.
    Absent,
    /// This, as it would be written in the file.
    Is(&'static str),
}

/// A parameter's declaration: parsing, validation, help and schema come from here.
#[derive(Debug, Clone, Copy)]
pub struct ParamSpec {
    /// Its key under `with:`.
    pub name: &'static str,
    /// What it may be.
    pub ty: ParamType,
    /// What holds if it is not given.
    pub fallback: Fallback,
    /// The unit of a bare number: `px`, `frames`.
    pub unit: Option<&'static str>,
    /// One or two sentences.
    pub doc: &'static str,
}

/// A checked value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamValue {
    /// Of a `Bool`.
    Bool(bool),
    /// Of an `Int`.
    Int(i64),
    /// Of a `Float`.
    Float(f64),
    /// Of a `Text`, `Choice`, `Uri`, `Model` or `Store`.
    Text(String),
    /// Of a `Duration`.
    Duration(Duration),
    /// Of a `Bytes`.
    Bytes(u64),
    /// Of a `List`.
    List(Vec<ParamValue>),
}

/// As it would be written in the file.
impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParamValue::Bool(value) => write!(f, "{value}"),
            ParamValue::Int(value) => write!(f, "{value}"),
            ParamValue::Float(value) => write!(f, "{value}"),
            ParamValue::Text(value) => f.write_str(value),
            ParamValue::Duration(value) => f.write_str(&format_duration(*value)),
            ParamValue::Bytes(value) => f.write_str(&format_bytes(*value)),
            ParamValue::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{value}")?;
                }
                f.write_str("]")
            }
        }
    }
}

/// The checked parameters of a stage, defaults filled in.
///
/// The getters come in pairs: `int("frames")` for a parameter that always has a value, `opt_int("frames")` for one that
/// may be absent. Asking for a parameter that the operator did not declare with that type is a bug in the operator and
/// panics; the registry's contract test builds every operator and finds it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params(BTreeMap<&'static str, ParamValue>);

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident, $opt:ident, $variant:ident, $ty:ty, $borrow:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// # Panics
        /// If the operator did not declare the parameter so: a bug.
        pub fn $name(&self, name: &str) -> $ty {
            self.$opt(name).unwrap_or_else(|| panic!("parameter `{name}` has no value; declare a default or read it as optional"))
        }

        /// The same for a parameter that may be absent.
        ///
        /// # Panics
        /// If it is of another type: a bug in the operator.
        pub fn $opt(&self, name: &str) -> Option<$ty> {
            match self.0.get(name) {
                None => None,
                Some(ParamValue::$variant(value)) => Some($borrow(value)),
                Some(other) => panic!("parameter `{name}` is read as {} but is {other:?}", stringify!($variant)),
            }
        }
    )*};
}

impl Params {
    /// Puts a value in.
    pub fn insert(&mut self, name: &'static str, value: ParamValue) {
        self.0.insert(name, value);
    }

    /// The value of a parameter, whatever its type.
    pub fn get(&self, name: &str) -> Option<&ParamValue> {
        self.0.get(name)
    }

    /// All values by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &ParamValue)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    getters! {
        /// The value of a `Bool`.
        bool, opt_bool, Bool, bool, |value: &bool| *value;
        /// The value of an `Int`.
        int, opt_int, Int, i64, |value: &i64| *value;
        /// The value of a `Float`.
        float, opt_float, Float, f64, |value: &f64| *value;
        /// The value of a `Text`, `Choice`, `Uri`, `Model` or `Store`.
        text, opt_text, Text, &str, |value| { let value: &String = value; value.as_str() };
        /// The value of a `Duration`.
        duration, opt_duration, Duration, Duration, |value: &Duration| *value;
        /// The value of a `Bytes`.
        bytes, opt_bytes, Bytes, u64, |value: &u64| *value;
        /// The value of a `List`.
        list, opt_list, List, &[ParamValue], |value| { let value: &Vec<ParamValue> = value; value.as_slice() };
    }

    /// The texts of a `List` of text-like values.
    ///
    /// # Panics
    /// If the operator did not declare the parameter so: a bug.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        self.list(name)
            .iter()
            .map(|value| match value {
                ParamValue::Text(text) => text.as_str(),
                other => panic!("parameter `{name}` holds {other:?}, not text"),
            })
            .collect()
    }
}
