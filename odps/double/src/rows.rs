//! Rows as they are stored, and the two forms in which they travel.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use crc_fast::{CrcAlgorithm, Digest};

use crate::Column;

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// Of a `bigint`, or the milliseconds of a `datetime`.
    Int(i64),
    /// Of a `double`.
    Double(f64),
    /// Of a `boolean`.
    Bool(bool),
    /// Of a `string`.
    Text(String),
}

/// A row: a value for each column.
pub type Row = Vec<Value>;

/// Rows of an Arrow body go out in batches of so many.
const BATCH_ROWS: usize = 1000;
const CHUNK_BYTES: usize = 65_536;

fn digest() -> Digest {
    Digest::new(CrcAlgorithm::Crc32Iscsi)
}

fn crc(bytes: &[u8]) -> u32 {
    let mut digest = digest();
    digest.update(bytes);
    digest.finalize() as u32
}

// ---- Arrow

fn schema(columns: &[Column]) -> Arc<Schema> {
    let field = |column: &Column| {
        let kind = match column.kind.as_str() {
            "bigint" => DataType::Int64,
            "double" => DataType::Float64,
            "boolean" => DataType::Boolean,
            "datetime" => DataType::Timestamp(TimeUnit::Millisecond, None),
            _ => DataType::Utf8,
        };
        Field::new(&column.name, kind, true)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// An Arrow body without compression.
pub(crate) fn to_arrow(columns: &[Column], rows: &[Row]) -> Result<Vec<u8>, String> {
    let schema = schema(columns);
    let failed = |error: arrow_schema::ArrowError| error.to_string();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(failed)?;
    let head = writer.get_ref().len();
    for rows in rows.chunks(BATCH_ROWS) {
        let column = |(index, field): (usize, &Arc<Field>)| -> ArrayRef {
            let int = |row: &Row| match row[index] {
                Value::Int(value) => Some(value),
                _ => None,
            };
            match field.data_type() {
                DataType::Int64 => Arc::new(Int64Array::from_iter(rows.iter().map(int))),
                DataType::Timestamp(..) => {
                    Arc::new(TimestampMillisecondArray::from_iter(rows.iter().map(int)))
                }
                DataType::Float64 => Arc::new(Float64Array::from_iter(rows.iter().map(|row| {
                    match row[index] {
                        Value::Double(value) => Some(value),
                        _ => None,
                    }
                }))),
                DataType::Boolean => Arc::new(BooleanArray::from_iter(rows.iter().map(|row| {
                    match row[index] {
                        Value::Bool(value) => Some(value),
                        _ => None,
                    }
                }))),
                _ => Arc::new(StringArray::from_iter(rows.iter().map(|row| {
                    match &row[index] {
                        Value::Text(value) => Some(value),
                        _ => None,
                    }
                }))),
            }
        };
        let arrays: Vec<ArrayRef> = schema.fields().iter().enumerate().map(column).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(failed)?;
        writer.write(&batch).map_err(failed)?;
    }
    let data = writer.get_ref()[head..].to_vec();
    let mut body = (CHUNK_BYTES as u32).to_be_bytes().to_vec();
    let mut chunks = data.chunks_exact(CHUNK_BYTES);
    for chunk in &mut chunks {
        body.extend_from_slice(chunk);
        body.extend_from_slice(&crc(chunk).to_be_bytes());
    }
    body.extend_from_slice(chunks.remainder());
    body.extend_from_slice(&crc(&data).to_be_bytes());
    Ok(body)
}

/// The rows of an Arrow body, both kinds of checksums verified.
pub(crate) fn from_arrow(columns: &[Column], body: &[u8]) -> Result<Vec<Row>, String> {
    let word = |at: usize| -> Result<u32, String> {
        let bytes = body.get(at..at + 4).ok_or("the body breaks off")?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let size = word(0)? as usize;
    if size == 0 {
        return Err("a chunk size of nothing".to_owned());
    }
    let (mut at, mut data) = (4, Vec::new());
    while body.len() - at >= size + 4 {
        let chunk = &body[at..at + size];
        if crc(chunk) != word(at + size)? {
            return Err("wrong checksum of a chunk".to_owned());
        }
        data.extend_from_slice(chunk);
        at += size + 4;
    }
    let end = body
        .len()
        .checked_sub(4)
        .filter(|end| *end >= at)
        .ok_or("no last checksum")?;
    data.extend_from_slice(&body[at..end]);
    if crc(&data) != word(end)? {
        return Err("wrong checksum of all bytes".to_owned());
    }
    let failed = |error: arrow_schema::ArrowError| error.to_string();
    let schema = schema(columns);
    let head = StreamWriter::try_new(Vec::new(), &schema).map_err(failed)?;
    let stream = [head.get_ref().as_slice(), &data].concat();
    let mut rows = Vec::new();
    for batch in StreamReader::try_new(Cursor::new(stream), None).map_err(failed)? {
        let batch = batch.map_err(failed)?;
        for at in 0..batch.num_rows() {
            rows.push(
                batch
                    .columns()
                    .iter()
                    .map(|array| value(array, at))
                    .collect(),
            );
        }
    }
    Ok(rows)
}

fn value(array: &ArrayRef, at: usize) -> Value {
    if array.is_null(at) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(at)),
        DataType::Timestamp(..) => {
            Value::Int(array.as_primitive::<TimestampMillisecondType>().value(at))
        }
        DataType::Float64 => Value::Double(array.as_primitive::<Float64Type>().value(at)),
        DataType::Boolean => Value::Bool(array.as_boolean().value(at)),
        _ => Value::Text(array.as_string::<i32>().value(at).to_owned()),
    }
}

// ---- Records

const END_RECORD: u64 = 33_553_408;
const META_COUNT: u64 = 33_554_430;
const META_CHECKSUM: u64 = 33_554_431;

/// A record body.
pub(crate) fn to_records(columns: &[Column], rows: &[Row]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut all = digest();
    for row in rows {
        let mut digest = digest();
        for (index, (value, column)) in row.iter().zip(columns).enumerate() {
            let number = index as u64 + 1;
            if *value != Value::Null {
                digest.update(&(number as i32).to_le_bytes());
            }
            match value {
                Value::Null => {}
                Value::Int(value) => {
                    digest.update(&value.to_le_bytes());
                    varint(&mut body, number << 3);
                    varint(&mut body, zigzag(*value));
                }
                Value::Bool(value) => {
                    digest.update(&[u8::from(*value)]);
                    varint(&mut body, number << 3);
                    varint(&mut body, u64::from(*value));
                }
                Value::Double(value) => {
                    digest.update(&value.to_le_bytes());
                    varint(&mut body, (number << 3) | 1);
                    body.extend_from_slice(&value.to_le_bytes());
                }
                Value::Text(value) => {
                    debug_assert_eq!(column.kind, "string");
                    digest.update(value.as_bytes());
                    varint(&mut body, (number << 3) | 2);
                    varint(&mut body, value.len() as u64);
                    body.extend_from_slice(value.as_bytes());
                }
            }
        }
        let crc = digest.finalize() as u32;
        varint(&mut body, END_RECORD << 3);
        varint(&mut body, u64::from(crc));
        all.update(&crc.to_le_bytes());
    }
    varint(&mut body, META_COUNT << 3);
    varint(&mut body, zigzag(rows.len() as i64));
    varint(&mut body, META_CHECKSUM << 3);
    varint(&mut body, u64::from(all.finalize() as u32));
    body
}

/// The rows of a record body, all checksums and the count verified.
pub(crate) fn from_records(columns: &[Column], body: &[u8]) -> Result<Vec<Row>, String> {
    let mut at = 0;
    let mut rows: Vec<Row> = Vec::new();
    let mut row = vec![Value::Null; columns.len()];
    let (mut this, mut all) = (digest(), digest());
    let mut count = None;
    loop {
        let tag = read_varint(body, &mut at)?;
        let (number, wire) = (tag >> 3, tag & 7);
        match number {
            END_RECORD => {
                // Some writers sign-extend it to 64 bits.
                let told = read_varint(body, &mut at)? as u32;
                let crc = std::mem::replace(&mut this, digest()).finalize() as u32;
                if crc != told {
                    return Err(format!("wrong checksum of row {}", rows.len()));
                }
                all.update(&crc.to_le_bytes());
                rows.push(std::mem::replace(
                    &mut row,
                    vec![Value::Null; columns.len()],
                ));
            }
            META_COUNT => count = Some(unzigzag(read_varint(body, &mut at)?)),
            META_CHECKSUM => {
                let told = read_varint(body, &mut at)? as u32;
                if all.finalize() as u32 != told {
                    return Err("wrong checksum of all rows".to_owned());
                }
                if count != Some(rows.len() as i64) || at != body.len() {
                    return Err("wrong count of rows".to_owned());
                }
                return Ok(rows);
            }
            _ => {
                let index = (number as usize).wrapping_sub(1);
                let column = columns
                    .get(index)
                    .ok_or("a column that the table does not have")?;
                this.update(&(number as i32).to_le_bytes());
                row[index] = match (wire, column.kind.as_str()) {
                    (0, "boolean") => {
                        let value = read_varint(body, &mut at)? != 0;
                        this.update(&[u8::from(value)]);
                        Value::Bool(value)
                    }
                    (0, "bigint" | "datetime") => {
                        let value = unzigzag(read_varint(body, &mut at)?);
                        this.update(&value.to_le_bytes());
                        Value::Int(value)
                    }
                    (1, "double") => {
                        let bytes = take(body, &mut at, 8)?;
                        this.update(bytes);
                        let bytes = bytes.try_into().map_err(|_| "eight bytes are eight")?;
                        Value::Double(f64::from_le_bytes(bytes))
                    }
                    (2, "string") => {
                        let length = read_varint(body, &mut at)? as usize;
                        let bytes = take(body, &mut at, length)?;
                        this.update(bytes);
                        Value::Text(String::from_utf8(bytes.to_vec()).map_err(|_| "not UTF-8")?)
                    }
                    _ => return Err(format!("column {number} has another type")),
                };
            }
        }
    }
}

fn take<'a>(body: &'a [u8], at: &mut usize, length: usize) -> Result<&'a [u8], String> {
    let bytes = body
        .get(*at..)
        .and_then(|rest| rest.get(..length))
        .ok_or("the body breaks off")?;
    *at += length;
    Ok(bytes)
}

fn varint(body: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        body.push(value as u8 | 0x80);
        value >>= 7;
    }
    body.push(value as u8);
}

fn read_varint(body: &[u8], at: &mut usize) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let byte = take(body, at, 1)?[0];
        value |= u64::from(byte & 0x7F).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a number without end".to_owned())
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
