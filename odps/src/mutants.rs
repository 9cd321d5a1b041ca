//! Streams of rows with bytes changed, cut out, doubled and cut off. Whatever a network or a server makes of a stream, the
//! answer is its rows or an error, never a panic and never other rows. `PROPTEST_CASES` says how many are tried.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::frame::{Unframe, frame};
use super::ipc::{Decode, encode};
use super::{Error, ErrorKind};

/// A schema, and the messages of two batches of it, long enough for several frames.
static ROWS: LazyLock<(SchemaRef, Vec<RecordBatch>, Vec<u8>)> = LazyLock::new(|| {
    let field = |name: &str, kind| Field::new(name, kind, true);
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        field("id", DataType::Int64),
        field("info", DataType::Utf8),
        field("prob", DataType::Float64),
        field("good", DataType::Boolean),
    ]));
    let batch = |rows: i64| {
        let odd = |row: &i64| row % 2 == 1;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(0..rows)),
            Arc::new(StringArray::from_iter((0..rows).map(|row| {
                odd(&row).then(|| "\u{e4}".repeat(row as usize % 40))
            }))),
            Arc::new(Float64Array::from_iter_values(
                (0..rows).map(|row| row as f64 / 3.0),
            )),
            Arc::new(BooleanArray::from_iter(
                (0..rows).map(|row| Some(odd(&row))),
            )),
        ];
        RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
    };
    let batches = vec![batch(8000), batch(7)];
    let bytes = encode(&schema, &batches).unwrap();
    assert!(bytes.len() > 2 * 65_536, "{} bytes", bytes.len());
    (schema, batches, bytes)
});

/// Something that befalls a stream. Places are parts of its length.
#[derive(Debug, Clone)]
enum Damage {
    Byte(f64, u8),
    Word(f64, u32),
    Missing(f64, usize),
    Doubled(f64, usize),
    End(f64),
}

impl Damage {
    fn befall(&self, bytes: &mut Vec<u8>) {
        let place = |part: f64| ((bytes.len() as f64 * part) as usize).min(bytes.len());
        match *self {
            Self::Byte(part, byte) => {
                let at = place(part);
                bytes
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|old| *old = byte);
            }
            Self::Word(part, word) => {
                let at = place(part);
                let old = bytes.iter_mut().skip(at);
                old.zip(word.to_le_bytes())
                    .for_each(|(old, new)| *old = new);
            }
            Self::Missing(part, count) => {
                let at = place(part);
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Self::Doubled(part, count) => {
                let at = place(part);
                let piece = bytes[at..(at + count).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            Self::End(part) => {
                let at = place(part);
                bytes.truncate(at);
            }
        }
    }
}

/// Half of the places are near the beginning, where messages say what follows.
fn part() -> impl Strategy<Value = f64> {
    prop_oneof![0.0..1.0, 0.0..0.01]
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let word = prop_oneof![Just(0), Just(u32::MAX), Just(0x7fff_ffff), any::<u32>()];
    let one = prop_oneof![
        (part(), any::<u8>()).prop_map(|(part, byte)| Damage::Byte(part, byte)),
        (part(), word).prop_map(|(part, word)| Damage::Word(part, word)),
        (part(), 1_usize..600).prop_map(|(part, count)| Damage::Missing(part, count)),
        (part(), 1_usize..600).prop_map(|(part, count)| Damage::Doubled(part, count)),
        part().prop_map(Damage::End),
    ];
    vec(one, 1..6)
}

fn unframed(bytes: &[u8], piece: usize) -> Result<Vec<Bytes>, Error> {
    let mut frames = Unframe::new();
    let mut data = Vec::new();
    for piece in bytes.chunks(piece) {
        frames.push(piece);
        while let Some(chunk) = frames.next()? {
            data.push(chunk);
        }
    }
    data.push(frames.finish()?);
    Ok(data)
}

fn decoded(schema: &SchemaRef, pieces: Vec<Bytes>) -> Result<Vec<RecordBatch>, Error> {
    let mut decode = Decode::new(schema)?;
    let mut batches = Vec::new();
    for piece in pieces {
        decode.push(piece, &mut batches)?;
    }
    decode.finish()?;
    Ok(batches)
}

#[test]
fn undamaged_rows_come_through() {
    let (schema, batches, bytes) = &*ROWS;
    let pieces = unframed(&frame(bytes), 1000).unwrap();
    assert_eq!(&decoded(schema, pieces).unwrap(), batches);
}

proptest! {
    #[test]
    fn damaged_frames_are_found(damages in damages(), piece in 1_usize..100_000) {
        let (_, _, bytes) = &*ROWS;
        let mut framed = frame(bytes).to_vec();
        for damage in &damages {
            damage.befall(&mut framed);
        }
        match unframed(&framed, piece) {
            Ok(pieces) => prop_assert_eq!(&pieces.concat(), bytes),
            Err(error) => prop_assert_eq!(error.kind, ErrorKind::Corrupt),
        }
    }

    /// Damage that the checksums do not show: by whoever sent it.
    #[test]
    fn damaged_rows_under_right_checksums_are_answered(damages in damages(), piece in 1_usize..100_000) {
        let (schema, _, bytes) = &*ROWS;
        let mut damaged = bytes.clone();
        for damage in &damages {
            damage.befall(&mut damaged);
        }
        let pieces = unframed(&frame(&damaged), piece).expect("the checksums are right");
        match decoded(schema, pieces) {
            Ok(batches) => for batch in batches {
                prop_assert_eq!(batch.schema(), Arc::clone(schema));
                // What is there can be looked at.
                let _ = format!("{batch:?}");
            },
            Err(error) => prop_assert_eq!(error.kind, ErrorKind::Corrupt),
        }
    }
}
