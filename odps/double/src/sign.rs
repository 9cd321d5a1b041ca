//! Checks signatures, written from the protocol's description and not from the client's code.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

use crate::http::Request;
use crate::{Account, Refusal};

/// Checks who asks; `resource` is the path below the endpoint. Returns the version of the signature.
pub(crate) fn check(request: &Request, resource: &str, account: &Account) -> Result<u8, Refusal> {
    let refuse = |code, message: &str| Err(Refusal::new(401, code, message));
    let Some(given) = request.headers.get("authorization") else {
        return refuse("MissingAuthorizationHeader", "the request is not signed");
    };
    if !request.headers.contains_key("date") {
        return refuse("MissingDate", "the request has no date");
    }
    if request.headers.get("authorization-sts-token") != account.sts_token.as_ref() {
        return refuse("InvalidSecurityToken", "the token is not that of the key");
    }
    let Some((scope, mac)) = given
        .strip_prefix("ODPS ")
        .and_then(|rest| rest.split_once(':'))
    else {
        return refuse("InvalidAuthorization", "the authorization has another form");
    };
    let parts: Vec<&str> = scope.split('/').collect();
    if parts[0] != account.access_id {
        return refuse(
            "ODPS-0410051",
            "Invalid credentials - accessKeyId not found",
        );
    }
    let (version, key) = match parts[..] {
        [_] => (2, account.access_key.as_bytes().to_vec()),
        [_, day, region, "odps", "aliyun_v4_request"]
            if account.region.as_deref() == Some(region) =>
        {
            let mut key = format!("aliyun_v4{}", account.access_key).into_bytes();
            for step in [day, region, "odps", "aliyun_v4_request"] {
                let Ok(mac) = Hmac::<Sha256>::new_from_slice(&key) else {
                    return refuse("InternalError", "no key");
                };
                key = mac.chain_update(step).finalize().into_bytes().to_vec();
            }
            (4, key)
        }
        _ => {
            return refuse(
                "Unauthorized",
                "The requested accessKey is invalid or missing",
            );
        }
    };
    let Ok(hmac) = Hmac::<Sha1>::new_from_slice(&key) else {
        return refuse("InternalError", "no key");
    };
    let wanted = hmac.chain_update(canonical(request, resource)).finalize();
    if STANDARD.encode(wanted.into_bytes()) != mac {
        return refuse("ODPS-0410042", "Invalid signature value");
    }
    Ok(version)
}

fn canonical(request: &Request, resource: &str) -> String {
    let mut lines: Vec<(String, String)> = ["content-md5", "content-type", "date"]
        .iter()
        .map(|name| {
            let value = request.headers.get(*name).cloned().unwrap_or_default();
            ((*name).to_owned(), value)
        })
        .collect();
    for (name, value) in request.headers.iter().chain(&request.query) {
        if name.starts_with("x-odps-") {
            lines.push((name.clone(), format!("{name}:{value}")));
        }
    }
    lines.sort();
    let query: Vec<String> = request
        .query
        .iter()
        .map(|(name, value)| {
            if value.is_empty() {
                name.clone()
            } else {
                format!("{name}={value}")
            }
        })
        .collect();
    let values: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    let mut text = format!("{}\n{}\n{resource}", request.method, values.join("\n"));
    if !query.is_empty() {
        text.push('?');
        text.push_str(&query.join("&"));
    }
    text
}
