//! From rows to Arrow batches, and the columns that rows turn out to have.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float32Builder, Float64Builder, Int8Builder, Int16Builder, Int32Builder,
    Int64Builder, StringBuilder,
};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use clipsieve_engine::operator::Row;
use serde_json::Value as Json;

use crate::json::kind_of;

/// What the values of a column have in common, from the narrowest to the widest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Only nulls so far.
    Nothing,
    /// True and false.
    Bool,
    /// Whole numbers of 64 bits.
    Int,
    /// Numbers.
    Float,
    /// Text, and everything else as JSON text.
    Text,
}

/// The columns that rows have, in the order in which they first came.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns(Vec<(String, Kind)>);

impl Columns {
    /// Looks at one row more.
    pub fn see(&mut self, row: &Row) {
        for (index, (name, value)) in row.0.iter().enumerate() {
            let kind = match value {
                Json::Null => Kind::Nothing,
                Json::Bool(_) => Kind::Bool,
                Json::Number(number) if number.is_i64() => Kind::Int,
                Json::Number(number) if number.is_f64() => Kind::Float,
                _ => Kind::Text,
            };
            // Rows of one table mostly have the same columns in the same order.
            let known = match self.0.get(index) {
                Some((known, _)) if known == name => Some(index),
                _ => self.0.iter().position(|(known, _)| known == name),
            };
            match known {
                Some(index) => self.0[index].1 = self.0[index].1.with(kind),
                None => self.0.push((name.clone(), kind)),
            }
        }
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The narrowest types that hold all values; objects, lists and mixed values are JSON text.
    pub fn schema(&self) -> SchemaRef {
        let field = |(name, kind): &(String, Kind)| {
            let kind = match kind {
                Kind::Bool => DataType::Boolean,
                Kind::Int => DataType::Int64,
                Kind::Float => DataType::Float64,
                Kind::Nothing | Kind::Text => DataType::Utf8,
            };
            Field::new(name, kind, true)
        };
        Arc::new(Schema::new(self.0.iter().map(field).collect::<Vec<_>>()))
    }
}

impl Kind {
    /// The narrowest kind that holds what both hold.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Kind::Nothing, kind) | (kind, Kind::Nothing) => kind,
            (a, b) if a == b => a,
            (Kind::Int, Kind::Float) | (Kind::Float, Kind::Int) => Kind::Float,
            _ => Kind::Text,
        }
    }
}

/// Rows as a batch of this schema. A column that a row does not have is null; one that the schema does not have is left
/// out. Text columns take any value: text as it is, everything else as JSON.
///
/// A value that its column cannot hold is null there, and told to `unfit`, with the column.
///
/// # Errors
/// When the batch cannot be built.
pub(super) fn batch(
    schema: &SchemaRef,
    rows: &[Row],
    mut unfit: impl FnMut(&str, String),
) -> Result<RecordBatch, String> {
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| column(field, rows, &mut unfit))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| error.to_string())
}

fn column(field: &Field, rows: &[Row], unfit: &mut dyn FnMut(&str, String)) -> ArrayRef {
    let values = rows.iter().map(|row| match row.0.get(field.name()) {
        None | Some(Json::Null) => None,
        value => value,
    });
    let mut refuse = |value: &Json, wanted: &str| {
        let message = format!(
            "column `{}` takes {wanted}, and a row has {} there: {}",
            field.name(),
            kind_of(value),
            shortened(&value.to_string())
        );
        unfit(field.name(), message);
    };
    macro_rules! build {
        ($builder:expr, $wanted:expr, $take:expr) => {{
            let mut builder = $builder;
            for value in values {
                match value {
                    None => builder.append_null(),
                    Some(value) => match $take(value) {
                        Some(taken) => builder.append_value(taken),
                        None => {
                            refuse(value, $wanted);
                            builder.append_null();
                        }
                    },
                }
            }
            Arc::new(builder.finish()) as ArrayRef
        }};
    }
    macro_rules! whole {
        ($builder:ty, $int:ty) => {
            build!(
                <$builder>::with_capacity(rows.len()),
                concat!("whole numbers (", stringify!($int), ")"),
                |value: &Json| value
                    .as_i64()
                    .and_then(|value| <$int>::try_from(value).ok())
            )
        };
    }
    match field.data_type() {
        DataType::Boolean => build!(
            BooleanBuilder::with_capacity(rows.len()),
            "true or false",
            Json::as_bool
        ),
        DataType::Int8 => whole!(Int8Builder, i8),
        DataType::Int16 => whole!(Int16Builder, i16),
        DataType::Int32 => whole!(Int32Builder, i32),
        DataType::Int64 => whole!(Int64Builder, i64),
        DataType::Float32 => build!(
            Float32Builder::with_capacity(rows.len()),
            "numbers",
            |value: &Json| value.as_f64().map(|value| value as f32)
        ),
        DataType::Float64 => build!(
            Float64Builder::with_capacity(rows.len()),
            "numbers",
            Json::as_f64
        ),
        DataType::Utf8 => {
            let mut builder = StringBuilder::new();
            for value in values {
                match value {
                    None => builder.append_null(),
                    Some(Json::String(text)) => builder.append_value(text),
                    Some(other) => builder.append_value(other.to_string()),
                }
            }
            Arc::new(builder.finish())
        }
        other => {
            if let Some(value) = values.flatten().next() {
                refuse(value, &format!("{other}, which is not written here"));
            }
            new_null_array(other, rows.len())
        }
    }
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::cells;
    use super::*;

    fn rows(values: Json) -> Vec<Row> {
        let one = |value: &Json| Row(value.as_object().unwrap().clone());
        values.as_array().unwrap().iter().map(one).collect()
    }

    fn there_and_back(rows: &[Row]) -> (String, Vec<Json>) {
        let mut columns = Columns::default();
        rows.iter().for_each(|row| columns.see(row));
        let schema = columns.schema();
        let types: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| format!("{}:{}", field.name(), field.data_type()))
            .collect();
        let batch = batch(&schema, rows, |_, why| panic!("{why}")).unwrap();
        let back = (0..rows.len()).map(|index| Json::Object(cells::row(&batch, index).0));
        (types.join(" "), back.collect())
    }

    #[test]
    fn types_are_the_narrowest_that_hold_all_values() {
        let (types, back) = there_and_back(&rows(json!([
            {"id": 1, "share": 1, "ok": null, "mixed": 1, "info": {"a": [1]}},
            {"id": 2, "share": 0.5, "ok": true, "mixed": "x", "late": "y"},
        ])));
        assert_eq!(
            types,
            "id:Int64 share:Float64 ok:Boolean mixed:Utf8 info:Utf8 late:Utf8"
        );
        assert_eq!(
            back[0],
            json!({"id": 1, "share": 1.0, "ok": null, "mixed": "1", "info": "{\"a\":[1]}", "late": null})
        );
        assert_eq!(back[1]["late"], "y");
    }

    #[test]
    fn a_value_that_a_column_cannot_hold_is_null_and_named() {
        let schema =
            |kind| -> SchemaRef { Arc::new(Schema::new(vec![Field::new("n", kind, true)])) };
        let told = |kind, rows: &[Row]| {
            let mut told = String::new();
            let batch = batch(&schema(kind), rows, |_, why| told = why).unwrap();
            assert_eq!(batch.column(0).null_count(), 1);
            told
        };
        assert_eq!(
            told(DataType::Int8, &rows(json!([{"n": 300}]))),
            "column `n` takes whole numbers (i8), and a row has a number there: 300"
        );
        assert_eq!(
            told(DataType::Float64, &rows(json!([{"n": "x"}]))),
            "column `n` takes numbers, and a row has text there: \"x\""
        );
        assert!(told(DataType::Date32, &rows(json!([{"n": "x"}]))).contains("Date32"));
        let none = batch(
            &schema(DataType::Date32),
            &rows(json!([{}, {}])),
            |_, why| panic!("{why}"),
        );
        assert_eq!(none.unwrap().num_rows(), 2);
    }
}
