//! Numbers and settings as people read them.

use serde_json::{Map, Value as Json};

/// Floating-point operations, to three digits: `2.45 TFLOP`.
pub(super) fn format_flop(flop: u64) -> String {
    format!("{}FLOP", scaled(flop))
}

/// Bytes, to three digits: `345 MB`.
pub(super) fn about_bytes(bytes: u64) -> String {
    format!("{}B", scaled(bytes))
}

fn scaled(count: u64) -> String {
    const UNITS: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// The type and the root of a store, and nothing else of it. A root that is a URL is shown without what stands before
/// its host or in its query: these may be credentials.
pub(super) fn store_line(settings: &Json) -> String {
    let text = |key: &str| settings.get(key).and_then(Json::as_str);
    let root = text("root").map(|root| match root.split_once("://") {
        Some((scheme, rest)) => {
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}/{path}")
        }
        None => root.to_string(),
    });
    let parts = [text("type").map(str::to_string), root];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// JSON for people: `frames 48, span windows (length 4, stride 3)`.
pub(super) fn facts(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::Object(fields) => flat(fields),
        other => fact(other),
    }
}

fn flat(fields: &Map<String, Json>) -> String {
    let fields = fields
        .iter()
        .map(|(key, value)| format!("{key} {}", fact(value)));
    fields.collect::<Vec<_>>().join(", ")
}

/// A value inside another: several fields keep together by parentheses.
fn fact(value: &Json) -> String {
    match value {
        Json::Null => "none".to_string(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(value) => value.to_string(),
            None => number.to_string(),
        },
        Json::String(text) => text.clone(),
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(fact).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(fields) => match fields.len() {
            0 => "none".to_string(),
            1 => flat(fields),
            _ => format!("({})", flat(fields)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_flat() {
        let demand = serde_json::json!({
            "span": { "windows": { "length_seconds": 4.0, "stride_seconds": 3.5 } },
            "fit": { "resize_short": 256 },
            "labels": ["a", "b"],
            "mean": null,
        });
        assert_eq!(
            facts(&demand),
            "span windows (length_seconds 4, stride_seconds 3.5), fit resize_short 256, \
             labels [a, b], mean none"
        );
    }

    #[test]
    fn a_store_shows_no_credentials() {
        let store =
            |root: &str| store_line(&serde_json::json!({ "type": "s3", "root": root, "key": "k" }));
        assert_eq!(store("/data"), "s3 /data");
        assert_eq!(store("s3://me:pass@host/a/b?token=1"), "s3 s3://host/a/b");
    }
}
