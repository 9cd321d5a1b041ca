//! The columns of a table, and what their types are in Arrow.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use serde_json::Value as Json;

use super::{Error, ErrorKind};

/// A column as the server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as `string` or `array<bigint>`, in lower case.
    pub kind: String,
}

/// The columns of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSchema {
    /// Those whose values are stored with each row.
    pub columns: Vec<Column>,
    /// The levels of its partitions, outermost first; empty if it has none.
    pub partition_keys: Vec<Column>,
}

impl TableSchema {
    /// Reads `{columns: [{name, type}], partitionKeys: […]}`.
    pub(crate) fn from_json(json: &Json) -> Option<Self> {
        let list = |key: &str| -> Option<Vec<Column>> {
            let columns = match json.get(key) {
                None | Some(Json::Null) => return Some(Vec::new()),
                Some(columns) => columns.as_array()?,
            };
            let column = |column: &Json| {
                Some(Column {
                    name: column.get("name")?.as_str()?.to_owned(),
                    kind: column.get("type")?.as_str()?.to_lowercase(),
                })
            };
            columns.iter().map(column).collect()
        };
        Some(Self {
            columns: list("columns")?,
            partition_keys: list("partitionKeys")?,
        })
    }

    /// The stored columns in Arrow, in the order of the table.
    ///
    /// # Errors
    /// `Refused` if a column's type has no Arrow form.
    pub fn arrow(&self) -> Result<SchemaRef, Error> {
        let field = |column: &Column| {
            let kind = arrow(&column.kind).ok_or_else(|| {
                Error::new(
                    ErrorKind::Refused,
                    format!(
                        "column `{}` is of type {}, which cannot be transferred",
                        column.name, column.kind
                    ),
                )
            })?;
            Ok(Field::new(&column.name, kind, true))
        };
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(field)
            .collect::<Result<_, Error>>()?;
        Ok(Arc::new(Schema::new(fields)))
    }
}

/// The Arrow form of a type; `None` if it has none.
fn arrow(kind: &str) -> Option<DataType> {
    let kind = kind.trim();
    let (name, inner) = match kind.find(['<', '(']) {
        Some(at) => (
            kind[..at].trim(),
            kind[at + 1..].strip_suffix(['>', ')'])?.trim(),
        ),
        None => (kind, ""),
    };
    Some(match name {
        "tinyint" => DataType::Int8,
        "smallint" => DataType::Int16,
        "int" => DataType::Int32,
        "bigint" => DataType::Int64,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "string" | "char" | "varchar" | "json" => DataType::Utf8,
        "binary" => DataType::Binary,
        "date" => DataType::Date32,
        "datetime" => DataType::Timestamp(TimeUnit::Millisecond, None),
        "timestamp" | "timestamp_ntz" => DataType::Timestamp(TimeUnit::Nanosecond, None),
        "decimal" if inner.is_empty() => DataType::Decimal256(54, 18),
        "decimal" => {
            let (precision, scale) = inner.split_once(',').unwrap_or((inner, "0"));
            let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            match precision {
                1..=38 => DataType::Decimal128(precision, scale),
                _ => DataType::Decimal256(precision, scale),
            }
        }
        "array" => DataType::List(Arc::new(Field::new_list_field(arrow(inner)?, true))),
        "map" => {
            let [key, value] = split(inner)[..] else {
                return None;
            };
            let entries = Fields::from(vec![
                Field::new("key", arrow(key)?, false),
                Field::new("value", arrow(value)?, true),
            ]);
            let entries = Field::new("entries", DataType::Struct(entries), false);
            DataType::Map(Arc::new(entries), false)
        }
        "struct" => {
            let field = |part: &&str| {
                let (name, kind) = part.split_once(':')?;
                Some(Field::new(
                    name.trim().trim_matches('`'),
                    arrow(kind)?,
                    true,
                ))
            };
            let fields: Option<Vec<Field>> = split(inner).iter().map(field).collect();
            DataType::Struct(fields?.into())
        }
        _ => return None,
    })
}

/// The parts of a list of types, at commas outside of brackets.
fn split(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, character) in list.char_indices() {
        match character {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[begin..]);
    parts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_have_their_arrow_form() {
        assert_eq!(arrow("varchar(10)").unwrap(), DataType::Utf8);
        assert_eq!(
            arrow("decimal(10, 2)").unwrap(),
            DataType::Decimal128(10, 2)
        );
        assert_eq!(
            arrow("map<string,array<struct<a:int,b:decimal(3,1)>>>")
                .unwrap()
                .to_string(),
            arrow("map< string , array<struct<`a`:int,b:decimal(3,1)>> >")
                .unwrap()
                .to_string()
        );
        for unknown in ["void", "array<", "map<string>", "struct<a>", ""] {
            assert!(arrow(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn a_schema_is_read_and_a_strange_type_named() {
        let schema = TableSchema::from_json(&json!({
            "columns": [{"name": "id", "type": "STRING"}, {"name": "x", "type": "interval_year_month"}],
            "partitionKeys": [{"name": "ds", "type": "string"}],
        }))
        .unwrap();
        assert_eq!(schema.columns[0].kind, "string");
        assert_eq!(schema.partition_keys.len(), 1);
        assert!(
            schema
                .arrow()
                .unwrap_err()
                .message
                .contains("column `x` is of type interval_year_month")
        );
        assert!(TableSchema::from_json(&json!({"columns": [{}]})).is_none());
    }
}
