use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quick_xml::Reader;
use quick_xml::events::Event;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value as Json;
use time::OffsetDateTime;
use tokio::sync::OnceCell;

use super::retry::{Attempts, Policy, Trouble};
use super::sign::{self, Signed};
use super::{Credentials, Error, ErrorKind, TableSchema, TableUri};

/// Longest time to wait for a connection, and for the next piece of an answer.
const CONNECT: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(120);
/// What is sent at once of a block.
const PIECE_BYTES: usize = 64 << 10;

/// Where the service is.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// Of the metadata service: `https://service.cn-hangzhou.maxcompute.aliyun.com/api`.
    pub rest: String,
    /// Of the Tunnel; the metadata service is asked for it if it is not given.
    pub tunnel: Option<String>,
    /// The region, where requests to the metadata service are to be signed with version 4.
    pub region: Option<String>,
    /// The Tunnel quota to use, if not the default one.
    pub quota: Option<String>,
}

/// Speaks to one ODPS service as one user.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoints: Endpoints,
    credentials: Credentials,
    policy: Policy,
    tunnel: OnceCell<String>,
    /// The service does not know version 4 of the signature.
    old_signature: AtomicBool,
}

/// Which of the two services is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Rest,
    Tunnel,
}

/// A request, before it is signed.
pub(crate) struct Ask<'a> {
    pub service: Service,
    pub method: Method,
    pub project: &'a str,
    pub path: String,
    pub query: Vec<(&'a str, String)>,
    /// Sent in chunks, if it is there.
    pub body: Option<Bytes>,
}

impl Client {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    /// `Config` if an endpoint is no `http://` or `https://` URL.
    pub fn new(endpoints: Endpoints, credentials: Credentials) -> Result<Self, Error> {
        let config = |message: String| Error::new(ErrorKind::Config, message);
        let all = [Some(&endpoints.rest), endpoints.tunnel.as_ref()];
        for endpoint in all.into_iter().flatten() {
            let url = Url::parse(endpoint);
            if !url.is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host()) {
                return Err(config(format!(
                    "`{endpoint}` is no endpoint; one is https://HOST/api"
                )));
            }
        }
        // A program that has chosen a provider of its own keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            // 308 means "later" here.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| config(format!("no HTTP client can be made: {error}")))?;
        Ok(Self {
            http,
            endpoints,
            credentials,
            policy: Policy::default(),
            tunnel: OnceCell::new(),
            old_signature: AtomicBool::new(false),
        })
    }

    /// Tries again in another way than the default one.
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The columns of a table.
    ///
    /// # Errors
    /// `NotFound` if there is no such table.
    pub async fn schema(&self, table: &TableUri) -> Result<TableSchema, Error> {
        let xml = self.metadata(table, Vec::new()).await?;
        let schema = element(&xml, "Schema")
            .and_then(|text| serde_json::from_str(&text).ok())
            .and_then(|json: Json| TableSchema::from_json(&json));
        schema.ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                format!("{table}: the server's answer holds no schema"),
            )
        })
    }

    /// Whether the partition that the URI names is there.
    ///
    /// # Errors
    /// Anything but that it is not.
    pub async fn has_partition(&self, table: &TableUri) -> Result<bool, Error> {
        let query = vec![("partition", table.quoted_partition())];
        match self.metadata(table, query).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// When the rows that the URI names were last changed, as the server counts it; `None` if it does not say.
    ///
    /// # Errors
    /// `NotFound` if there is no such table, or no such partition.
    pub async fn changed(&self, table: &TableUri) -> Result<Option<i64>, Error> {
        let mut query = Vec::new();
        if !table.partition.is_empty() {
            query.push(("partition", table.quoted_partition()));
        }
        let xml = self.metadata(table, query).await?;
        let about: Option<Json> =
            element(&xml, "Schema").and_then(|text| serde_json::from_str(&text).ok());
        Ok(about.and_then(|about| about.get("lastModifiedTime")?.as_i64()))
    }

    async fn metadata(
        &self,
        table: &TableUri,
        query: Vec<(&str, String)>,
    ) -> Result<String, Error> {
        let mut attempts = Attempts::default();
        loop {
            let ask = Ask {
                service: Service::Rest,
                method: Method::GET,
                project: &table.project,
                path: table.path(),
                query: query.clone(),
                body: None,
            };
            match self.text(ask).await {
                Ok(text) => return Ok(text),
                Err(trouble) => attempts.pause(&self.policy, trouble.context(table)).await?,
            }
        }
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn quota(&self) -> Option<(&'static str, String)> {
        Some(("quotaName", self.endpoints.quota.clone()?))
    }

    /// Sends a request and reads its answer as JSON.
    pub(crate) async fn json(&self, ask: Ask<'_>) -> Result<Json, Trouble> {
        let text = self.text(ask).await?;
        serde_json::from_str(&text).map_err(|error| {
            Trouble::Network(Error::new(
                ErrorKind::Corrupt,
                format!("the server's answer is not JSON: {error}"),
            ))
        })
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn text(&self, ask: Ask<'_>) -> Result<String, Trouble> {
        self.send(ask)
            .await?
            .text()
            .await
            .map_err(|error| network(&error))
    }

    /// Sends a request once. An answer that comes is one of success.
    pub(crate) async fn send(&self, ask: Ask<'_>) -> Result<Response, Trouble> {
        let endpoint = match ask.service {
            Service::Rest => self.endpoints.rest.as_str(),
            Service::Tunnel => self.tunnel(ask.project).await?,
        };
        self.send_to(endpoint, ask).await
    }

    async fn tunnel(&self, project: &str) -> Result<&str, Trouble> {
        if let Some(given) = &self.endpoints.tunnel {
            return Ok(given);
        }
        let find = || async {
            let mut query = vec![("service", String::new())];
            query.extend(self.quota());
            let ask = Ask {
                service: Service::Rest,
                method: Method::GET,
                project,
                path: format!("/projects/{project}/tunnel"),
                query,
                body: None,
            };
            let answer = self.send_to(&self.endpoints.rest, ask).await?;
            let host = answer.text().await.map_err(|error| network(&error))?;
            let (scheme, _) = self
                .endpoints
                .rest
                .split_once("://")
                .unwrap_or(("https", ""));
            let endpoint = format!("{scheme}://{}", host.trim());
            let whole = Url::parse(&endpoint).is_ok_and(|url| url.has_host() && url.path() == "/");
            if !whole {
                return Err(Trouble::Final(Error::new(
                    ErrorKind::Corrupt,
                    "the server names no host for the Tunnel",
                )));
            }
            Ok(endpoint)
        };
        Ok(self.tunnel.get_or_try_init(find).await?)
    }

    async fn send_to(&self, endpoint: &str, mut ask: Ask<'_>) -> Result<Response, Trouble> {
        let now = OffsetDateTime::now_utc();
        ask.query.push(("curr_project", ask.project.to_owned()));
        let mut headers = BTreeMap::from([
            ("date", sign::http_date(now)),
            (
                "x-odps-user-agent",
                concat!("clipsieve-odps/", env!("CARGO_PKG_VERSION")).to_owned(),
            ),
        ]);
        if ask.service == Service::Tunnel {
            headers.insert("x-odps-tunnel-version", "6".to_owned());
            headers.insert("odps-tunnel-date-transform", "v1".to_owned());
            headers.insert(
                "odps-tunnel-sdk-support-schema-evolution",
                "true".to_owned(),
            );
        }
        if ask.body.is_some() {
            headers.insert("content-type", "application/octet-stream".to_owned());
        }
        if let Some(token) = &self.credentials.sts_token {
            headers.insert("authorization-sts-token", token.clone());
        }
        // The Tunnel is signed with version 2, as the SDK does.
        let region = self.endpoints.region.as_deref().filter(|_| {
            ask.service == Service::Rest && !self.old_signature.load(Ordering::Relaxed)
        });
        let signed = Signed {
            method: ask.method.as_str(),
            path: &ask.path,
            query: &ask.query,
            headers: &headers,
        };
        let authorization = sign::authorization(&signed, &self.credentials, region, now);
        headers.insert("authorization", authorization);

        let wrong = |what: &str| Trouble::Final(Error::new(ErrorKind::Config, what.to_owned()));
        let address = format!("{}{}", endpoint.trim_end_matches('/'), ask.path);
        let mut url = Url::parse(&address).map_err(|_| wrong("the endpoint is no URL"))?;
        for (name, value) in &ask.query {
            url.query_pairs_mut().append_pair(name, value);
        }
        let mut header_map = HeaderMap::new();
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(&value).map_err(|_| {
                wrong("the access id or the token holds a character that no header can")
            })?;
            value.set_sensitive(name.starts_with("authorization"));
            header_map.insert(HeaderName::from_static(name), value);
        }
        let mut request = self
            .http
            .request(ask.method.clone(), url)
            .headers(header_map);
        request = match &ask.body {
            Some(body) => request.body(in_pieces(body.clone())),
            // The server wants a length where there could be a body.
            None if ask.method == Method::POST => request.header("content-length", "0"),
            None => request,
        };
        let answer = request.send().await.map_err(|error| network(&error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let refused = refusal(answer).await;
        if region.is_some() && is_about_the_signature(&refused) {
            tracing::info!(
                "odps: the service does not know version 4 of the signature; signing with version 2"
            );
            self.old_signature.store(true, Ordering::Relaxed);
            // The pair was added above, and is added again.
            ask.query.pop();
            return Box::pin(self.send_to(endpoint, ask)).await;
        }
        Err(refused.trouble)
    }
}

fn in_pieces(body: Bytes) -> reqwest::Body {
    struct Pieces(Bytes);
    impl Iterator for Pieces {
        type Item = Result<Bytes, std::io::Error>;
        fn next(&mut self) -> Option<Self::Item> {
            let length = self.0.len().min(PIECE_BYTES);
            (length > 0).then(|| Ok(self.0.split_to(length)))
        }
    }
    reqwest::Body::wrap_stream(futures::stream::iter(Pieces(body)))
}

/// What the network did, without the URL.
pub(crate) fn network(error: &reqwest::Error) -> Trouble {
    let mut why = if error.is_timeout() {
        "nothing came in time".to_owned()
    } else if error.is_connect() {
        "no connection".to_owned()
    } else {
        "the connection broke".to_owned()
    };
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        why = format!("{why}: {error}");
        source = error.source();
    }
    Trouble::Network(Error::new(ErrorKind::Temporary, why))
}

/// An answer that is not one of success.
struct Refusal {
    status: StatusCode,
    code: String,
    said: String,
    trouble: Trouble,
}

async fn refusal(answer: Response) -> Refusal {
    let status = answer.status();
    let header = answer.headers().get("x-odps-request-id");
    let mut request_id = header.and_then(|id| id.to_str().ok()).map(str::to_owned);
    let body = answer.text().await.unwrap_or_default();
    let json: Option<Json> = serde_json::from_str(&body).ok();
    let field = |name: &str| match &json {
        Some(json) => json.get(name).and_then(Json::as_str).map(str::to_owned),
        None => element(&body, name),
    };
    let code = field("Code").unwrap_or_default();
    let said = field("Message").unwrap_or_default();
    request_id = request_id.or_else(|| field("RequestId"));

    let kind = kind(status, &code);
    let help = match kind {
        ErrorKind::Credentials => {
            "; check the access key in the environment, and the clock of this machine"
        }
        ErrorKind::Expired => "; sessions last a day, and are over when they are committed",
        _ => "",
    };
    let code_shown = if code.is_empty() { "" } else { &code };
    let mut message = format!("the server answers {} {code_shown}", status.as_u16());
    if !said.is_empty() {
        message = format!("{}: {}", message.trim_end(), said.trim());
    }
    message = format!("{}{help}", message.trim_end());
    let error = Error {
        kind,
        message,
        code: Some(code.clone()).filter(|code| !code.is_empty()),
        request_id,
    };
    let trouble = match status.as_u16() {
        308 | 429 => Trouble::Busy(error),
        408 | 500..=599 => Trouble::Server(error),
        _ => Trouble::Final(error),
    };
    Refusal {
        status,
        code,
        said,
        trouble,
    }
}

fn kind(status: StatusCode, code: &str) -> ErrorKind {
    let code = code.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| code.contains(word));
    match status.as_u16() {
        308 | 408 | 429 | 500..=599 => ErrorKind::Temporary,
        _ if says(&[
            "signature",
            "accesskey",
            "accessid",
            "securitytoken",
            "0410051",
            "0410042",
        ]) =>
        {
            ErrorKind::Credentials
        }
        _ if says(&[
            "expired",
            "statusconflict",
            "nosuchupload",
            "nosuchdownload",
            "invalidstatus",
        ]) =>
        {
            ErrorKind::Expired
        }
        401 => ErrorKind::Credentials,
        403 => ErrorKind::Permission,
        404 => ErrorKind::NotFound,
        _ if says(&["nosuch", "notfound"]) => ErrorKind::NotFound,
        _ => ErrorKind::Refused,
    }
}

/// Whether the service refused because it does not know version 4 of the signature.
fn is_about_the_signature(refusal: &Refusal) -> bool {
    let said = refusal.said.to_lowercase();
    let old = said.contains("need ak v3 support") || said.contains("accesskey acl denied");
    (refusal.status.is_server_error() && old)
        || refusal.code == "ODPS-0410051"
        || (refusal.status == StatusCode::UNAUTHORIZED && said.contains("invalid or missing"))
}

/// The text of the first element of a name in an XML document.
fn element(xml: &str, name: &str) -> Option<String> {
    let mut reader = Reader::from_str(xml);
    let mut text: Option<String> = None;
    loop {
        match (reader.read_event().ok()?, &mut text) {
            (Event::Start(tag), None) if tag.local_name().as_ref() == name => {
                text = Some(String::new());
            }
            (Event::End(tag), Some(_)) if tag.local_name().as_ref() == name => {
                return text;
            }
            (Event::Text(part), Some(text)) => text.push_str(&part),
            (Event::CData(part), Some(text)) => text.push_str(&part),
            (Event::GeneralRef(entity), Some(text)) => match entity.resolve_char_ref().ok()? {
                Some(character) => text.push(character),
                None => {
                    text.push_str(quick_xml::escape::resolve_predefined_entity(&entity)?);
                }
            },
            (Event::Eof, _) => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_in_xml() {
        let xml = "<?xml version=\"1.0\"?><Table><Name>t</Name><Schema format=\"Json\"><![CDATA[{\"a\": \"<\"}]]></Schema></Table>";
        assert_eq!(element(xml, "Schema").as_deref(), Some("{\"a\": \"<\"}"));
        assert_eq!(
            element(
                "<E><Message>a &lt;b&gt; &#39;c&#39;</Message></E>",
                "Message"
            )
            .as_deref(),
            Some("a <b> 'c'")
        );
        assert_eq!(element(xml, "Code"), None);
        assert_eq!(element("<Code>", "Code"), None);
        assert_eq!(element("not xml", "Code"), None);
    }

    #[test]
    fn refusals_have_their_kind() {
        let of = |status, code| kind(StatusCode::from_u16(status).unwrap_or_default(), code);
        assert_eq!(of(404, "NoSuchPartition"), ErrorKind::NotFound);
        assert_eq!(of(400, "NoSuchTable"), ErrorKind::NotFound);
        assert_eq!(of(401, ""), ErrorKind::Credentials);
        assert_eq!(of(400, "InvalidSignature"), ErrorKind::Credentials);
        assert_eq!(of(400, "StatusConflict"), ErrorKind::Expired);
        assert_eq!(of(403, "NoPermission"), ErrorKind::Permission);
        assert_eq!(of(503, "SlowDown"), ErrorKind::Temporary);
        assert_eq!(of(400, "MalformedDataStream"), ErrorKind::Refused);
    }
}
