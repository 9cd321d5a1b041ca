//! A proxy that breaks things: some answers become errors, are cut, stall, or announce a wrong length.
//!
//! Which requests suffer is drawn from a seed, so that a run can be had again. The request's own bytes and headers are
//! passed on untouched, the signature included.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Count, Running};

/// What happens to a request or its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// 500 instead of the answer.
    Error500,
    /// 503 with S3's `SlowDown` instead of the answer.
    SlowDown,
    /// The connection is reset before an answer.
    Reset,
    /// Half of the body, then the end.
    Cut,
    /// Half of the body, then silence.
    Stall,
    /// A `Content-Length` that is a hundred bytes short, and as many bytes.
    ShortLength,
    /// 403 instead of the answer.
    Forbidden,
    /// One bit of the body is another one: of what is put, or of the answer. Only a checksum shows it.
    Flip,
}

/// Those that may pass and show themselves.
pub const ALL: &[Fault] = &[
    Fault::Error500,
    Fault::SlowDown,
    Fault::Reset,
    Fault::Cut,
    Fault::Stall,
    Fault::ShortLength,
];

/// The proxy and what it did.
pub struct Proxy {
    pub running: Running,
    /// Bytes of bodies that went to clients.
    pub sent: Count,
    /// Requests that came.
    pub requests: Count,
    /// Requests that suffered.
    pub faults: Count,
}

struct Rules {
    upstream: SocketAddr,
    kinds: Vec<Fault>,
    /// Of a hundred requests, how many suffer.
    percent: u64,
    /// How many may still suffer.
    left: AtomicU64,
    state: AtomicU64,
    /// What suffers: requests whose first line holds this.
    only: Mutex<String>,
}

impl Rules {
    /// xorshift: the next number of the seed.
    fn draw(&self) -> u64 {
        let mut value = self.state.load(Ordering::SeqCst);
        loop {
            let mut next = value;
            next ^= next << 13;
            next ^= next >> 7;
            next ^= next << 17;
            match self
                .state
                .compare_exchange(value, next, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) => return next,
                Err(now) => value = now,
            }
        }
    }

    fn fault(&self, first_line: &str) -> Option<Fault> {
        if !first_line.contains(&*self.only.lock().expect("no panic")) {
            return None;
        }
        let drawn = self.draw() >> 20;
        let less = |left: u64| left.checked_sub(1);
        let suffers = drawn % 100 < self.percent
            && self
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                .is_ok();
        suffers.then(|| self.kinds[(drawn / 100 % self.kinds.len() as u64) as usize])
    }
}

/// Starts a proxy before `upstream` in which `percent` of a hundred requests with `only` in their first line suffer.
pub fn start(upstream: SocketAddr, kinds: &[Fault], percent: u64, only: &str) -> Proxy {
    begin(upstream, kinds, percent, u64::MAX, only)
}

/// Starts a proxy in which the first `count` requests with `only` in their first line suffer.
pub fn start_badly(upstream: SocketAddr, kind: Fault, count: u64, only: &str) -> Proxy {
    begin(upstream, &[kind], 100, count, only)
}

fn begin(upstream: SocketAddr, kinds: &[Fault], percent: u64, count: u64, only: &str) -> Proxy {
    let rules = Arc::new(Rules {
        upstream,
        kinds: kinds.to_vec(),
        percent,
        left: AtomicU64::new(count),
        state: AtomicU64::new(0x9E37_79B9_7F4A_7C15),
        only: Mutex::new(only.to_owned()),
    });
    let (sent, requests, faults) = (Count::default(), Count::default(), Count::default());
    let counts = (sent.clone(), requests.clone(), faults.clone());
    let running = Running::start(move |client| {
        let (rules, counts) = (Arc::clone(&rules), counts.clone());
        async move {
            // Connections break here: that is what this is for.
            let _ = serve(client, &rules, &counts).await;
        }
    });
    Proxy {
        running,
        sent,
        requests,
        faults,
    }
}

async fn serve(
    mut client: TcpStream,
    rules: &Rules,
    (sent, requests, faults): &(Count, Count, Count),
) -> std::io::Result<()> {
    let mut waiting = Vec::new();
    // One upstream connection a request: simple, and what is broken stays with one request.
    while let Some(mut request) = message(&mut client, &mut waiting, false).await? {
        requests.add(1);
        let first_line = request.head.lines().next().unwrap_or_default().to_owned();
        let fault = rules.fault(&first_line);
        if fault.is_some() {
            faults.add(1);
        }
        match fault {
            Some(Fault::Reset) => {
                // Closing with unread bytes waiting makes it a reset; zero linger makes sure.
                client.set_zero_linger()?;
                return Ok(());
            }
            Some(Fault::Error500) => {
                answer(&mut client, "500 Internal Server Error", "InternalError").await?;
                continue;
            }
            Some(Fault::Forbidden) => {
                answer(&mut client, "403 Forbidden", "AccessDenied").await?;
                continue;
            }
            Some(Fault::SlowDown) => {
                answer(&mut client, "503 Service Unavailable", "SlowDown").await?;
                continue;
            }
            _ => {}
        }
        let flips = |body: &[u8]| fault == Some(Fault::Flip) && body.len() > 1000;
        if flips(&request.body) {
            request.body[500] ^= 4;
        }
        let mut upstream = TcpStream::connect(rules.upstream).await?;
        upstream.write_all(request.head.as_bytes()).await?;
        upstream.write_all(&request.body).await?;
        let bodiless = first_line.starts_with("HEAD ");
        let Some(mut reply) = message(&mut upstream, &mut Vec::new(), bodiless).await? else {
            return Ok(());
        };
        if flips(&reply.body) {
            reply.body[500] ^= 4;
        }
        let body = &reply.body;
        match fault {
            Some(Fault::Cut | Fault::Stall) if body.len() > 1 => {
                client.write_all(reply.head.as_bytes()).await?;
                client.write_all(&body[..body.len() / 2]).await?;
                client.flush().await?;
                sent.add(body.len() as u64 / 2);
                if fault == Some(Fault::Stall) {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
                return Ok(());
            }
            Some(Fault::ShortLength) if body.len() > 100 => {
                let short = body.len() - 100;
                let head = with_length(&reply.head, short);
                client.write_all(head.as_bytes()).await?;
                client.write_all(&body[..short]).await?;
                sent.add(short as u64);
            }
            _ => {
                client.write_all(reply.head.as_bytes()).await?;
                client.write_all(body).await?;
                sent.add(body.len() as u64);
            }
        }
    }
    Ok(())
}

async fn answer(client: &mut TcpStream, status: &str, code: &str) -> std::io::Result<()> {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>injected</Message><RequestId>0</RequestId></Error>"
    );
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(body.as_bytes()).await
}

struct Message {
    head: String,
    body: Vec<u8>,
}

/// Reads one HTTP/1.1 message; `None` at the end of the connection.
async fn message(
    from: &mut TcpStream,
    waiting: &mut Vec<u8>,
    bodiless: bool,
) -> std::io::Result<Option<Message>> {
    let end = loop {
        if let Some(at) = find(waiting, b"\r\n\r\n") {
            break at + 4;
        }
        if more(from, waiting).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&waiting[..end]).into_owned();
    waiting.drain(..end);
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let mut body = Vec::new();
    if bodiless {
        return Ok(Some(Message { head, body }));
    }
    if header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        loop {
            let end = loop {
                if let Some(at) = find(waiting, b"\r\n") {
                    break at + 2;
                }
                if more(from, waiting).await? == 0 {
                    return Ok(None);
                }
            };
            let text = String::from_utf8_lossy(&waiting[..end]).into_owned();
            let size = usize::from_str_radix(text.trim().split(';').next().unwrap_or("0"), 16)
                .unwrap_or(0);
            let whole = end + size + 2;
            while waiting.len() < whole {
                if more(from, waiting).await? == 0 {
                    return Ok(None);
                }
            }
            body.extend(waiting.drain(..whole));
            if size == 0 {
                return Ok(Some(Message { head, body }));
            }
        }
    }
    let length = header("content-length")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    while waiting.len() < length {
        if more(from, waiting).await? == 0 {
            return Ok(None);
        }
    }
    body.extend(waiting.drain(..length));
    Ok(Some(Message { head, body }))
}

async fn more(from: &mut TcpStream, into: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut piece = vec![0; 1 << 16];
    let read = from.read(&mut piece).await?;
    into.extend_from_slice(&piece[..read]);
    Ok(read)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn with_length(head: &str, length: usize) -> String {
    let lines = head.split("\r\n").map(|line| {
        let is_length = line
            .split_once(':')
            .is_some_and(|(key, _)| key.eq_ignore_ascii_case("content-length"));
        match is_length {
            true => format!("content-length: {length}"),
            false => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\r\n")
}
