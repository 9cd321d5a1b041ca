//! From Arrow arrays to the values of rows.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema, TimeUnit};
use base64::Engine as _;
use clipsieve_engine::operator::Row;
use serde_json::{Map, Value as Json, json};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};

/// Row `index` of a batch: one value a column, in the order of the columns.
///
/// Numbers, text, true and false stay what they are; lists, structs and maps become lists and objects. What JSON has no
/// word for becomes text: decimals as they are written, dates and times in ISO 8601 (with `Z` where the column has a time
/// zone), bytes as they are if they are UTF-8 and in base64 if not. A number that is not finite becomes null.
pub(super) fn row(batch: &RecordBatch, index: usize) -> Row {
    let schema = batch.schema_ref();
    Row(schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, array)| (field.name().clone(), cell(array, index)))
        .collect())
}

/// The first column whose values cannot become those of a row, with its type.
pub(super) fn unreadable(schema: &Schema) -> Option<(&str, &DataType)> {
    let bad = |field: &&arrow_schema::FieldRef| !readable(field.data_type());
    let field = schema.fields().iter().find(bad)?;
    Some((field.name(), field.data_type()))
}

fn readable(kind: &DataType) -> bool {
    match kind {
        DataType::Interval(_)
        | DataType::Duration(_)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => false,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            readable(item.data_type())
        }
        DataType::Map(entries, _) => readable(entries.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| readable(field.data_type())),
        DataType::Dictionary(_, values) => readable(values),
        _ => true,
    }
}

fn cell(array: &ArrayRef, at: usize) -> Json {
    if array.is_null(at) {
        return Json::Null;
    }
    macro_rules! number {
        ($kind:ty) => {
            json!(array.as_primitive::<$kind>().value(at))
        };
    }
    match array.data_type() {
        DataType::Boolean => json!(array.as_boolean().value(at)),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float16 => json!(array.as_primitive::<Float16Type>().value(at).to_f32()),
        DataType::Float32 => number!(Float32Type),
        DataType::Float64 => number!(Float64Type),
        DataType::Utf8 => json!(array.as_string::<i32>().value(at)),
        DataType::LargeUtf8 => json!(array.as_string::<i64>().value(at)),
        DataType::Utf8View => json!(array.as_string_view().value(at)),
        DataType::Binary => bytes(array.as_binary::<i32>().value(at)),
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(at)),
        DataType::BinaryView => bytes(array.as_binary_view().value(at)),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().value(at)),
        DataType::Decimal32(..) => {
            json!(array.as_primitive::<Decimal32Type>().value_as_string(at))
        }
        DataType::Decimal64(..) => {
            json!(array.as_primitive::<Decimal64Type>().value_as_string(at))
        }
        DataType::Decimal128(..) => {
            json!(array.as_primitive::<Decimal128Type>().value_as_string(at))
        }
        DataType::Decimal256(..) => {
            json!(array.as_primitive::<Decimal256Type>().value_as_string(at))
        }
        DataType::Date32 => date(array.as_primitive::<Date32Type>().value(at).into()),
        DataType::Date64 => date(
            array
                .as_primitive::<Date64Type>()
                .value(at)
                .div_euclid(86_400_000),
        ),
        DataType::Time32(TimeUnit::Second) => clock(
            i64::from(array.as_primitive::<Time32SecondType>().value(at)),
            1,
        ),
        DataType::Time32(_) => clock(
            i64::from(array.as_primitive::<Time32MillisecondType>().value(at)),
            1_000,
        ),
        DataType::Time64(TimeUnit::Microsecond) => clock(
            array.as_primitive::<Time64MicrosecondType>().value(at),
            1_000_000,
        ),
        DataType::Time64(_) => clock(
            array.as_primitive::<Time64NanosecondType>().value(at),
            1_000_000_000,
        ),
        DataType::Timestamp(unit, zone) => {
            let (value, a_second) = match unit {
                TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().value(at), 1),
                TimeUnit::Millisecond => (
                    array.as_primitive::<TimestampMillisecondType>().value(at),
                    1_000,
                ),
                TimeUnit::Microsecond => (
                    array.as_primitive::<TimestampMicrosecondType>().value(at),
                    1_000_000,
                ),
                TimeUnit::Nanosecond => (
                    array.as_primitive::<TimestampNanosecondType>().value(at),
                    1_000_000_000,
                ),
            };
            timestamp(value, a_second, zone.is_some())
        }
        DataType::List(_) => list(&array.as_list::<i32>().value(at)),
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(at)),
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(at)),
        DataType::Struct(fields) => Json::Object(
            fields
                .iter()
                .zip(array.as_struct().columns())
                .map(|(field, column)| (field.name().clone(), cell(column, at)))
                .collect(),
        ),
        DataType::Map(..) => {
            let entries = array.as_map().value(at);
            let (keys, values) = (entries.column(0), entries.column(1));
            let key = |index| match cell(keys, index) {
                Json::String(text) => text,
                other => other.to_string(),
            };
            Json::Object(Map::from_iter(
                (0..entries.len()).map(|index| (key(index), cell(values, index))),
            ))
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            cell(dictionary.values(), dictionary.normalized_keys()[at])
        }
        // What `unreadable` keeps out.
        _ => Json::Null,
    }
}

fn list(items: &ArrayRef) -> Json {
    (0..items.len()).map(|index| cell(items, index)).collect()
}

fn bytes(value: &[u8]) -> Json {
    match std::str::from_utf8(value) {
        Ok(text) => json!(text),
        Err(_) => json!(base64::engine::general_purpose::STANDARD.encode(value)),
    }
}

/// A day counted from 1970; the number itself where the calendar ends.
fn date(days: i64) -> Json {
    const FORMAT: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
    let epoch = 2_440_588; // 1970-01-01 as a Julian day.
    i32::try_from(days + epoch)
        .ok()
        .and_then(|day| Date::from_julian_day(day).ok())
        .and_then(|date| date.format(FORMAT).ok())
        .map_or(json!(days), Json::String)
}

/// A time of day.
fn clock(value: i64, a_second: i64) -> Json {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[hour]:[minute]:[second].[subsecond digits:1+]");
    let nanos = value % a_second * (1_000_000_000 / a_second);
    let midnight = Time::MIDNIGHT;
    let time = midnight + time::Duration::new(value / a_second, nanos as i32);
    time.format(FORMAT).map_or(json!(value), Json::String)
}

/// A point in time, counted from 1970 in fractions of a second; the number itself where the calendar ends.
fn timestamp(value: i64, a_second: i64, zoned: bool) -> Json {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:1+]");
    let nanos = i128::from(value) * i128::from(1_000_000_000 / a_second);
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|time| {
            PrimitiveDateTime::new(time.date(), time.time())
                .format(FORMAT)
                .ok()
        })
        .map_or(json!(value), |text| {
            json!(if zoned { text + "Z" } else { text })
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{Int64Builder, ListBuilder, MapBuilder, StringBuilder};
    use arrow_array::*;

    use super::*;

    fn cells(array: impl Array + 'static) -> Vec<Json> {
        let array: ArrayRef = Arc::new(array);
        assert!(readable(array.data_type()));
        (0..array.len()).map(|index| cell(&array, index)).collect()
    }

    #[test]
    fn plain_values_stay_and_what_is_not_finite_is_null() {
        assert_eq!(
            cells(Int64Array::from(vec![Some(i64::MIN), None])),
            [json!(i64::MIN), json!(null)]
        );
        assert_eq!(cells(UInt64Array::from(vec![u64::MAX])), [json!(u64::MAX)]);
        assert_eq!(
            cells(Float64Array::from(vec![0.5, f64::NAN])),
            [json!(0.5), json!(null)]
        );
        assert_eq!(cells(BooleanArray::from(vec![true])), [json!(true)]);
        assert_eq!(cells(StringViewArray::from(vec!["é"])), [json!("é")]);
        assert_eq!(
            cells(BinaryArray::from_vec(vec![b"text", b"\xFF\0"])),
            [json!("text"), json!("/wA=")]
        );
    }

    #[test]
    fn times_are_iso_8601() {
        assert_eq!(
            cells(Date32Array::from(vec![0, 20_103, -1])),
            ["1970-01-01", "2025-01-15", "1969-12-31"]
        );
        let millis = vec![1_736_899_200_250_i64];
        assert_eq!(
            cells(TimestampMillisecondArray::from(millis.clone())),
            ["2025-01-15T00:00:00.25"]
        );
        let zoned = TimestampMillisecondArray::from(millis).with_timezone("Asia/Shanghai");
        assert_eq!(cells(zoned), ["2025-01-15T00:00:00.25Z"]);
        assert_eq!(
            cells(TimestampSecondArray::from(vec![i64::MAX])),
            [json!(i64::MAX)]
        );
        assert_eq!(
            cells(Time64MicrosecondArray::from(vec![3_661_500_000])),
            ["01:01:01.5"]
        );
        let decimal = Decimal128Array::from(vec![12_345])
            .with_precision_and_scale(10, 2)
            .unwrap();
        assert_eq!(cells(decimal), ["123.45"]);
    }

    #[test]
    fn what_is_nested_stays_nested() {
        let mut list = ListBuilder::new(Int64Builder::new());
        list.append_value([Some(1), None]);
        list.append(true);
        assert_eq!(cells(list.finish()), [json!([1, null]), json!([])]);
        let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
        map.keys().append_value("a");
        map.values().append_value(1);
        map.append(true).unwrap();
        assert_eq!(cells(map.finish()), [json!({"a": 1})]);
        let words: DictionaryArray<Int32Type> = ["x", "y", "x"].into_iter().collect();
        assert_eq!(cells(words), ["x", "y", "x"]);
    }

    #[test]
    fn a_type_without_a_word_is_named() {
        let schema = Schema::new(vec![
            arrow_schema::Field::new("a", DataType::Utf8, true),
            arrow_schema::Field::new("b", DataType::Duration(TimeUnit::Second), true),
        ]);
        assert_eq!(unreadable(&schema).unwrap().0, "b");
    }
}
