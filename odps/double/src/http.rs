//! As much of an HTTP/1.1 server as the double needs: kept-alive connections, bodies by length or in chunks, and answers
//! that break off where they are told to.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A request, decoded.
pub(crate) struct Request {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// By name in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    /// A query parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }
}

/// An answer.
pub(crate) struct Answer {
    pub status: u16,
    pub kind: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// The connection ends after so many bytes of the body, or before the head of the answer.
    pub cut: Option<Cut>,
}

#[derive(Clone, Copy)]
pub(crate) enum Cut {
    BeforeAnswer,
    AfterBytes(usize),
}

impl Answer {
    pub fn new(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            kind,
            headers: Vec::new(),
            body: body.into(),
            cut: None,
        }
    }
}

/// Accepts connections until `stop` is set and somebody connects.
pub(crate) fn serve(
    listener: TcpListener,
    stop: Arc<AtomicBool>,
    answer: impl Fn(Request) -> Answer + Send + Sync + 'static,
) {
    let answer = Arc::new(answer);
    for stream in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let (answer, stop) = (Arc::clone(&answer), Arc::clone(&stop));
        std::thread::spawn(move || {
            // A client that goes away is no trouble of the server's.
            let _ = connection(stream, &stop, &*answer);
        });
    }
}

fn connection(
    stream: TcpStream,
    stop: &AtomicBool,
    answer: &impl Fn(Request) -> Answer,
) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_nodelay(true)?;
    let mut output = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    while !stop.load(Ordering::SeqCst) {
        let Some(request) = read(&mut input)? else {
            return Ok(());
        };
        let answer = answer(request);
        if matches!(answer.cut, Some(Cut::BeforeAnswer)) {
            return Ok(());
        }
        let mut head = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n",
            answer.status,
            if answer.status < 300 { "OK" } else { "Refused" },
            answer.kind,
            answer.body.len()
        );
        for (name, value) in &answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        output.write_all(head.as_bytes())?;
        if let Some(Cut::AfterBytes(bytes)) = answer.cut {
            output.write_all(&answer.body[..bytes.min(answer.body.len())])?;
            return output.flush();
        }
        output.write_all(&answer.body)?;
        output.flush()?;
    }
    Ok(())
}

fn read(input: &mut impl BufRead) -> io::Result<Option<Request>> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let line = line(input)?;
    if line.is_empty() {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(wrong("no request line"));
    };
    let mut headers = BTreeMap::new();
    loop {
        let line = self::line(input)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| wrong("no header"))?;
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    let chunked = headers
        .get("transfer-encoding")
        .is_some_and(|value| value == "chunked");
    if chunked {
        loop {
            let size = self::line(input)?;
            let size =
                usize::from_str_radix(size.trim(), 16).map_err(|_| wrong("no chunk size"))?;
            let begin = body.len();
            body.resize(begin + size, 0);
            input.read_exact(&mut body[begin..])?;
            self::line(input)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = headers.get("content-length") {
        let length: usize = length.parse().map_err(|_| wrong("no length"))?;
        body.resize(length, 0);
        input.read_exact(&mut body)?;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name, true), decoded(value, true))
        });
    Ok(Some(Request {
        method: method.to_owned(),
        path: decoded(path, false),
        query: pairs.collect(),
        headers,
        body,
    }))
}

fn line(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    input.by_ref().take(64 << 10).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn decoded(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|hex| std::str::from_utf8(hex).ok());
        match (
            bytes[at],
            hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 2;
            }
            (b'+', _) if plus_is_space => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
