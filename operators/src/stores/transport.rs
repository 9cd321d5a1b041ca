//! The HTTP client of the stores: one connection pool a process, and redirects that do not lead to strangers.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, Once, PoisonError};
use std::time::Duration;

use ::http::HeaderMap;
use opendal::{
    Buffer, Error, ErrorKind, HttpBody, HttpTransport, HttpTransporter, OperationContext, Operator,
};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqwest::redirect::{Attempt, Policy};

use super::error::causes;
use super::sums::{CRC64_CARRIER, CRC64_HEADER};
use super::{Opened, Settings, StoreError, StoreErrorKind};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What the error says of a server that does not answer ranges.
pub(super) const NO_RANGES: &str = "the server does not answer ranged requests";
/// Most redirects that one request follows.
const MOST_REDIRECTS: usize = 5;

/// Opens a service that is reached over HTTP, whose files have URLs below `base_url`. `redirect_hosts` are the hosts,
/// beside the one that was asked, to which an answer may send us.
///
/// # Errors
/// `Config` if the builder refuses its settings, or the client cannot be made: no certificates of the system, a proxy
/// that makes no sense.
pub(super) fn open(
    builder: impl opendal::Builder,
    settings: &Settings,
    base_url: String,
    redirect_hosts: &[String],
) -> Result<Opened, StoreError> {
    let operator = Operator::new(builder)
        .map_err(|error| StoreError::of_service("opening the store", &error))?;
    let client = client(redirect_hosts, settings.patience()?)?;
    let transport = HttpTransporter::new(Careful(ReqwestTransport::new(client)));
    Ok(Opened {
        operator: operator.with_context(OperationContext::new().with_http_transport(transport)),
        local_root: None,
        base_url,
    })
}

/// What opendal's services leave unchecked: whether an answer to a ranged request is that range.
///
/// A server that does not know ranges answers 200 and the whole file; taken for the range, that is a file with wrong
/// bytes and the right length. Such an answer is taken only where its length shows that it is the range after all (old
/// Alluxio proxies cut the body and say 200).
struct Careful(ReqwestTransport);

impl HttpTransport for Careful {
    async fn fetch(
        &self,
        request: ::http::Request<Buffer>,
    ) -> opendal::Result<::http::Response<HttpBody>> {
        let header = request.headers().get(::http::header::RANGE);
        let asked = header.and_then(|value| parse_range(value.to_str().ok()?));
        let mut answer = self.0.fetch(request).await?;
        carry_crc64(answer.headers_mut());
        let Some((first, last)) = asked else {
            return Ok(answer);
        };
        let text = |name| answer.headers().get(name)?.to_str().ok();
        let sound = match answer.status() {
            ::http::StatusCode::PARTIAL_CONTENT => text(::http::header::CONTENT_RANGE)
                .is_none_or(|told| told.starts_with(&format!("bytes {first}-"))),
            ::http::StatusCode::OK => {
                let length =
                    text(::http::header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
                match (length, last.map(|last| last - first + 1)) {
                    (Some(length), Some(asked)) => {
                        let length: u64 = length;
                        length == asked || (first == 0 && length < asked)
                    }
                    _ => first == 0 && last.is_none(),
                }
            }
            _ => true,
        };
        if sound {
            return Ok(answer);
        }
        Err(Error::new(ErrorKind::Unsupported, NO_RANGES))
    }
}

/// Hands the CRC-64 that OSS tells on to us, through opendal.
fn carry_crc64(headers: &mut HeaderMap) {
    // What a user calls so is not what the store vouches for.
    headers.remove(CRC64_CARRIER);
    if let Some(told) = headers.get(CRC64_HEADER).cloned() {
        headers.insert(CRC64_CARRIER, told);
    }
}

/// The first and last byte that a `Range` header of our kind asks for.
fn parse_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let last = match last {
        "" => None,
        last => Some(last.parse().ok()?),
    };
    let first = first.parse().ok()?;
    last.is_none_or(|last| last >= first)
        .then_some((first, last))
}

fn client(redirect_hosts: &[String], silence: Duration) -> Result<reqwest::Client, StoreError> {
    type Clients = HashMap<(Vec<String>, Duration), reqwest::Client>;
    static CLIENTS: LazyLock<Mutex<Clients>> = LazyLock::new(Mutex::default);
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (redirect_hosts.to_vec(), silence);
    if let Some(client) = clients.get(&key) {
        return Ok(client.clone());
    }
    install_tls();
    let hosts = redirect_hosts.to_vec();
    let client = reqwest::Client::builder()
        .user_agent(concat!("clipsieve/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(silence)
        .redirect(Policy::custom(move |attempt| follow(attempt, &hosts)))
        .build()
        .map_err(|error| {
            StoreError::new(
                StoreErrorKind::Config,
                format!("no HTTP client can be made: {}", causes(&error)),
            )
        })?;
    clients.insert(key, client.clone());
    Ok(client)
}

/// Follows a redirect to the host that was asked, or to one that is allowed, and refuses all others. A step down from
/// https to http is refused too.
fn follow(attempt: Attempt<'_>, hosts: &[String]) -> reqwest::redirect::Action {
    let Some(asked) = attempt.previous().first() else {
        return attempt.stop();
    };
    let to = attempt.url();
    let same = asked.host_str() == to.host_str()
        && asked.port_or_known_default() == to.port_or_known_default();
    let allowed = to.host_str().is_some_and(|host| {
        hosts.iter().any(|allowed| {
            allowed == host
                || to
                    .port()
                    .is_some_and(|port| *allowed == format!("{host}:{port}"))
        })
    });
    let falls = asked.scheme() == "https" && to.scheme() != "https";
    if attempt.previous().len() > MOST_REDIRECTS {
        return attempt.error("too many redirects");
    }
    if (same || allowed) && !falls {
        return attempt.follow();
    }
    let why = format!(
        "redirected to {}, which is not the store's host; list it under `redirect_hosts` if that is right",
        to.host_str().unwrap_or("another place")
    );
    attempt.error(why)
}

/// Tells rustls what to encrypt with, once a process.
pub(crate) fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails if a program around us chose before us, and that is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(parse_range("bytes=0-9"), Some((0, Some(9))));
        assert_eq!(parse_range("bytes=5-"), Some((5, None)));
        assert_eq!(parse_range("bytes=-5"), None);
        assert_eq!(parse_range("bytes=9-5"), None);
    }
}
