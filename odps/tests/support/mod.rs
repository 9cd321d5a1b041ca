//! Rows through the client, in a straight line.

#![allow(dead_code, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_schema::DataType;
use clipsieve_odps::retry::Policy;
use clipsieve_odps::{
    Client, Credentials, Download, Endpoints, Error, TableUri, Upload, UploadOptions,
};
use clipsieve_odps_double::Double;
use serde_json::{Map, Value as Json, json};

/// The columns of the rows that clipsieve reads and writes.
pub const SEED: [&str; 6] = [
    "video_id string",
    "oss_bucket string",
    "video_oss_url string",
    "video_tag string",
    "info string",
    "result_info string",
];

pub fn seed_rows(count: usize) -> Vec<Json> {
    let row = |n: usize| {
        json!({
            "video_id": format!("v{n}"), "oss_bucket": "bucket", "video_oss_url": format!("oss://bucket/clips/{n}.mp4"),
            "video_tag": if n.is_multiple_of(7) { Json::Null } else { json!("标签") },
            "info": format!("{{\"n\": {n}, \"pad\": \"{}\"}}", "x".repeat(n % 400)),
            "result_info": "{\"succeed\": \"true\"}",
        })
    };
    (0..count).map(row).collect()
}

/// As the default policy, without the waiting.
pub fn hasty() -> Policy {
    Policy {
        pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(4),
        network_pause: Duration::from_millis(1),
        ..Policy::default()
    }
}

pub fn client(double: &Double) -> Client {
    let account = double.account();
    client_of(double, &account.access_id, &account.access_key)
}

pub fn client_of(double: &Double, id: &str, key: &str) -> Client {
    let endpoints = Endpoints {
        rest: double.endpoint(),
        region: double.account().region.clone(),
        ..Endpoints::default()
    };
    let credentials = Credentials::new(id, key, double.account().sts_token.clone());
    Client::new(endpoints, credentials)
        .unwrap()
        .with_policy(hasty())
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

pub fn uri(text: &str) -> TableUri {
    text.parse().unwrap()
}

/// Rows of text columns as a batch.
pub fn batch(upload: &Upload, rows: &[Json]) -> RecordBatch {
    let schema = upload.schema().arrow().unwrap();
    let column = |name: &str| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|row| row[name].as_str())
                .collect::<StringArray>(),
        )
    };
    let columns = schema.fields().iter().map(|field| column(field.name()));
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

/// Writes rows in so many blocks and commits them.
pub async fn try_write(
    client: &Client,
    table: &str,
    rows: &[Json],
    blocks: usize,
    options: UploadOptions,
) -> Result<(), Error> {
    let upload = Upload::open(client, &uri(table), options).await?;
    let pieces = rows.chunks(rows.len().div_ceil(blocks).max(1));
    let mut sent = 0;
    for rows in pieces {
        upload.block(client, sent, &[batch(&upload, rows)]).await?;
        sent += 1;
    }
    upload.commit(client, sent).await
}

pub fn write(double: &Double, table: &str, rows: &[Json], blocks: usize) {
    let client = client(double);
    // What the program asks first.
    block_on(client.schema(&uri(table))).unwrap();
    let options = UploadOptions {
        create_partition: true,
        overwrite: false,
    };
    block_on(try_write(&client, table, rows, blocks, options)).unwrap();
}

pub async fn try_read(client: &Client, table: &str) -> Result<Vec<Json>, Error> {
    let download = Download::open(client, &uri(table)).await?;
    let mut stream = download.read(client, 0..download.rows())?;
    let mut rows = Vec::new();
    while let Some(batch) = stream.next().await? {
        for at in 0..batch.num_rows() {
            let names = batch
                .schema_ref()
                .fields()
                .iter()
                .map(|field| field.name().clone());
            let values = batch.columns().iter().map(|array| value(array, at));
            rows.push(Json::Object(names.zip(values).collect::<Map<_, _>>()));
        }
    }
    Ok(rows)
}

pub fn read(double: &Double, table: &str) -> Vec<Json> {
    block_on(try_read(&client(double), table)).unwrap()
}

fn value(array: &ArrayRef, at: usize) -> Json {
    if array.is_null(at) {
        return Json::Null;
    }
    match array.data_type() {
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(at)),
        DataType::Float64 => json!(array.as_primitive::<Float64Type>().value(at)),
        DataType::Boolean => json!(array.as_boolean().value(at)),
        _ => json!(array.as_string::<i32>().value(at)),
    }
}
