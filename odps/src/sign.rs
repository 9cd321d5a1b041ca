//! Signatures, as the public SDKs make them.
//!
//! A request is signed over its method, a few of its headers and its resource (path below the endpoint and query, both
//! decoded). Version 2 signs with the key itself; version 4 with one derived from it for a day, a region and a service.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::Credentials;

/// What is signed of a request.
pub(crate) struct Signed<'a> {
    pub method: &'a str,
    /// Path below the endpoint, not encoded.
    pub path: &'a str,
    /// Query parameters, not encoded; an empty value stands for a bare name.
    pub query: &'a [(&'a str, String)],
    /// Headers by name in lower case.
    pub headers: &'a BTreeMap<&'static str, String>,
}

/// The value of `Date`: `Wed, 15 Jan 2025 08:00:00 GMT`.
pub(crate) fn http_date(now: OffsetDateTime) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    now.to_utc().format(FORMAT).unwrap_or_default()
}

/// The value of `Authorization`; version 4 if a region is given.
pub(crate) fn authorization(
    signed: &Signed<'_>,
    credentials: &Credentials,
    region: Option<&str>,
    now: OffsetDateTime,
) -> String {
    let text = canonical(signed);
    let Some(region) = region else {
        let mac = hmac_sha1(credentials.access_key.as_bytes(), text.as_bytes());
        return format!("ODPS {}:{mac}", credentials.access_id);
    };
    const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]");
    let day = now.to_utc().format(DAY).unwrap_or_default();
    let mut key = format!("aliyun_v4{}", credentials.access_key).into_bytes();
    for step in [day.as_str(), region, "odps", "aliyun_v4_request"] {
        key = hmac_sha256(&key, step.as_bytes());
    }
    let mac = hmac_sha1(&key, text.as_bytes());
    format!(
        "ODPS {}/{day}/{region}/odps/aliyun_v4_request:{mac}",
        credentials.access_id
    )
}

fn canonical(signed: &Signed<'_>) -> String {
    let mut lines = BTreeMap::new();
    for name in ["content-md5", "content-type", "date"] {
        let value = signed.headers.get(name).cloned().unwrap_or_default();
        lines.insert(name, value);
    }
    let own = |name: &str| name.starts_with("x-odps-");
    for (name, value) in signed.headers.iter().filter(|(name, _)| own(name)) {
        lines.insert(name, format!("{name}:{value}"));
    }
    for (name, value) in signed.query.iter().filter(|(name, _)| own(name)) {
        lines.insert(name, format!("{name}:{value}"));
    }
    let query: BTreeMap<_, _> = signed
        .query
        .iter()
        .map(|(name, value)| (*name, value))
        .collect();
    let query: Vec<String> = query
        .into_iter()
        .map(|(name, value)| match value.as_str() {
            "" => name.to_owned(),
            value => format!("{name}={value}"),
        })
        .collect();
    let mut text = format!("{}\n", signed.method);
    for line in lines.values() {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(signed.path);
    if !query.is_empty() {
        text.push('?');
        text.push_str(&query.join("&"));
    }
    text
}

fn hmac_sha1(key: &[u8], text: &[u8]) -> String {
    match Hmac::<Sha1>::new_from_slice(key) {
        Ok(mac) => STANDARD.encode(mac.chain_update(text).finalize().into_bytes()),
        // HMAC takes keys of any length.
        Err(_) => String::new(),
    }
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac.chain_update(text).finalize().into_bytes().to_vec(),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_canonical_text_is_that_of_the_sdk() {
        let headers = BTreeMap::from([
            ("date", http_date(datetime!(2025-01-15 8:00 UTC))),
            ("x-odps-user-agent", "me".to_owned()),
            ("content-type", "application/xml".to_owned()),
            ("odps-tunnel-date-transform", "v1".to_owned()),
        ]);
        let signed = Signed {
            method: "GET",
            path: "/projects/p/tables/t",
            query: &[
                ("partition", "ds=1".to_owned()),
                ("downloads", String::new()),
            ],
            headers: &headers,
        };
        assert_eq!(
            canonical(&signed),
            "GET\n\napplication/xml\nWed, 15 Jan 2025 08:00:00 GMT\nx-odps-user-agent:me\n/projects/p/tables/t?downloads&partition=ds=1"
        );
    }
}
