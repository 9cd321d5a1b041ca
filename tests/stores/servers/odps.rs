//! The tables of an ODPS as a pipeline reads and writes them.

use clipsieve_odps_double::{Double, Value};

/// The columns of input rows.
pub const INPUT: [&str; 5] = [
    "video_id string",
    "oss_bucket string",
    "video_path string",
    "video_tag string",
    "info string",
];

/// The columns of result rows.
pub const RESULT: [&str; 6] = [
    "video_id string",
    "oss_bucket string",
    "video_oss_url string",
    "video_tag string",
    "info string",
    "result_info string",
];

/// An input row.
pub fn input_row(cells: [&str; 5]) -> Vec<Value> {
    cells.map(|cell| Value::Text(cell.to_owned())).to_vec()
}

/// What a program finds the service by, and signs with.
pub fn environment(double: &Double) -> [(&'static str, String); 3] {
    let account = double.account();
    [
        ("ODPS_ENDPOINT", double.endpoint()),
        ("ODPS_ACCESS_ID", account.access_id.clone()),
        ("ODPS_ACCESS_KEY", account.access_key.clone()),
    ]
}
