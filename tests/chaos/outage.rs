//! A store that is away for a while.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::job::Job;

/// A web server with one video, which answers 503 or hangs up while it is away.
struct Store {
    address: String,
    away: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
}

impl Store {
    fn start(body: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (away, refused) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (is_away, count, body) = (Arc::clone(&away), Arc::clone(&refused), Arc::new(body));
        // It ends with the program.
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (is_away, count, body) =
                    (Arc::clone(&is_away), Arc::clone(&count), Arc::clone(&body));
                std::thread::spawn(move || {
                    // Whoever hangs up is served no more.
                    let _ = serve(socket, &is_away, &count, &body);
                });
            }
        });
        Self {
            address,
            away,
            refused,
        }
    }
}

fn serve(
    mut socket: TcpStream,
    is_away: &AtomicBool,
    refused: &AtomicUsize,
    body: &[u8],
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        while !buffer.windows(4).any(|four| four == b"\r\n\r\n") {
            let mut piece = [0; 4096];
            let read = socket.read(&mut piece)?;
            if read == 0 {
                return Ok(());
            }
            buffer.extend_from_slice(&piece[..read]);
        }
        let request = String::from_utf8_lossy(&buffer).to_ascii_lowercase();
        buffer.clear();
        if is_away.load(Ordering::SeqCst) {
            // One is told, and the next is hung up on.
            if refused.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
                return Ok(());
            }
            socket.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        let range = request
            .lines()
            .find_map(|line| line.strip_prefix("range: bytes="))
            .and_then(|range| range.trim().split_once('-'));
        let (status, part) = match range {
            None => ("200 OK".to_owned(), body),
            Some((from, to)) => {
                let from = from.parse().unwrap_or(0).min(body.len());
                let last = to.parse().unwrap_or(usize::MAX).min(body.len() - 1);
                let told = format!(
                    "206 Partial Content\r\nContent-Range: bytes {from}-{last}/{}",
                    body.len()
                );
                (told, &body[from..=last])
            }
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nETag: \"1\"\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\n\r\n",
            part.len()
        );
        socket.write_all(head.as_bytes())?;
        if !request.starts_with("head") {
            socket.write_all(part)?;
        }
    }
}

/// Rows whose video cannot be had for some seconds wait and try again; none is lost to it.
pub fn a_store_that_is_away_is_waited_for() {
    let video = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/media/plain.mp4");
    let store = Store::start(std::fs::read(video).expect("a fixture"));
    let rows = 150_u64;
    let row = |number: u64| json!({ "video_id": number, "video_path": "plain.mp4", "video_tag": "", "info": {} });
    let job = Job::new((0..rows).map(row), "1ms").with(&["--processes", "2"]);
    let stages = "stages:\n  \
          videos: { op: read_table, with: { uri: rows.jsonl } }\n  \
          fetched: { op: fetch, from: videos, with: { tiers: [away] }, retry: { attempts: 20, backoff: 200ms } }\n  \
          decoded: { op: decode, from: fetched }\n  \
          clip: { op: sample, from: decoded, with: { frames: 4, size: 32 } }\n  \
          measured: { op: measure, from: clip }\n  \
          toiled: { op: toil, from: videos, with: { work: 40ms } }\n  \
          result: { op: aggregate, from: [measured, toiled] }\n  \
          table: { op: write_table, from: result, with: { uri: \"${output}\" } }\n";
    let pipeline = format!(
        "name: outage\n\
         params:\n  output: {{ type: uri, default: out.jsonl }}\n\
         limits: {{ items: 4 }}\n\
         stores:\n  away: {{ type: http, endpoint: \"http://{}\" }}\n\
         {stages}",
        store.address
    );
    std::fs::write(job.path("chaos.yaml"), pipeline).expect("a pipeline");
    let mut running = job.start();
    running.until("rows are done", |_| job.partial_bytes() > 0);
    store.away.store(true, Ordering::SeqCst);
    running.until("rows are refused", |_| {
        store.refused.load(Ordering::SeqCst) > 10
    });
    std::thread::sleep(Duration::from_secs(2));
    assert!(!running.is_over(), "{}", running.stderr());
    store.away.store(false, Ordering::SeqCst);
    let stderr = running.expect(0);
    let all = job.rows();
    assert_eq!(all.len() as u64, rows, "{stderr}");
    for (number, row) in &all {
        assert_eq!(row["result_info"]["succeed"], "true", "row {number}: {row}");
    }
    println!(
        "  {rows} rows, {} calls refused",
        store.refused.load(Ordering::SeqCst)
    );
    job.is_clean();
}
