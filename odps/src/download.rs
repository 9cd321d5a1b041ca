use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use reqwest::{Method, Response};
use serde_json::Value as Json;

use super::client::{Ask, Client, Service, network};
use super::frame::Unframe;
use super::ipc::Decode;
use super::retry::{Attempts, Trouble};
use super::{Error, ErrorKind, TableSchema, TableUri};

/// First and longest pause before a session that is still being made is looked at again.
const POLL: Duration = Duration::from_millis(100);
const LONGEST_POLL: Duration = Duration::from_secs(5);
/// A session that takes longer to be made never will be.
const POLLS: u32 = 400;

/// A session over the rows that a table, or a partition of it, holds now. It lasts a day.
#[derive(Debug)]
pub struct Download {
    table: TableUri,
    id: String,
    rows: u64,
    schema: TableSchema,
}

impl Download {
    /// Begins a session. On a table with partitions the URI has to name one, all of its levels.
    ///
    /// # Errors
    /// `NotFound` if there is no such table or partition.
    pub async fn open(client: &Client, table: &TableUri) -> Result<Self, Error> {
        let context = |trouble: Trouble| trouble.context(format!("cannot read {table}"));
        let mut attempts = Attempts::default();
        let mut id: Option<String> = None;
        let mut polls = 0;
        loop {
            let mut query = Vec::new();
            match &id {
                Some(id) => query.push(("downloadid", id.clone())),
                None => query.extend([
                    ("downloads", String::new()),
                    ("asyncmode", "true".to_owned()),
                ]),
            }
            query.extend(table.partition_spec().map(|spec| ("partition", spec)));
            query.extend(client.quota());
            let ask = Ask {
                service: Service::Tunnel,
                method: if id.is_some() {
                    Method::GET
                } else {
                    Method::POST
                },
                project: &table.project,
                path: table.path(),
                query,
                body: None,
            };
            let session = match client.json(ask).await {
                Ok(session) => session,
                Err(trouble) => {
                    attempts.pause(client.policy(), context(trouble)).await?;
                    continue;
                }
            };
            let text = |key: &str| session.get(key).and_then(Json::as_str);
            if let Some(given) = text("DownloadID") {
                id = Some(given.to_owned());
            }
            let status = text("Status").unwrap_or_default().to_uppercase();
            match (status.as_str(), &id) {
                ("NORMAL", Some(id)) => {
                    let rows = session.get("RecordCount").and_then(Json::as_u64);
                    let schema = session.get("Schema").and_then(TableSchema::from_json);
                    let (Some(rows), Some(schema)) = (rows, schema) else {
                        return Err(Error::new(
                            ErrorKind::Corrupt,
                            format!(
                                "cannot read {table}: the session has no row count or no schema"
                            ),
                        ));
                    };
                    return Ok(Self {
                        table: table.clone(),
                        id: id.clone(),
                        rows,
                        schema,
                    });
                }
                ("INITIATING", Some(_)) if polls < POLLS => {
                    let pause = POLL.saturating_mul(1 << polls.min(10)).min(LONGEST_POLL);
                    tokio::time::sleep(pause).await;
                    polls += 1;
                }
                _ => {
                    let kind = match status.as_str() {
                        "EXPIRED" | "CLOSED" | "CLOSES" => ErrorKind::Expired,
                        _ => ErrorKind::Refused,
                    };
                    let message = format!("cannot read {table}: the session is {status}");
                    return Err(Error::new(kind, message));
                }
            }
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The columns of the rows.
    pub fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// The rows of a range, half-open, at most [`Download::rows`].
    ///
    /// # Errors
    /// `Refused` if a column has a type that cannot be transferred.
    pub fn read<'a>(&'a self, client: &'a Client, range: Range<u64>) -> Result<Rows<'a>, Error> {
        Ok(Rows {
            client,
            download: self,
            schema: self.schema.arrow()?,
            left: range.start.min(self.rows)..range.end.min(self.rows),
            attempts: Attempts::default(),
            open: None,
            ready: VecDeque::new(),
        })
    }
}

/// The rows of a range as they come. What breaks off is taken up again at the next row.
pub struct Rows<'a> {
    client: &'a Client,
    download: &'a Download,
    schema: SchemaRef,
    /// What has not been handed on yet.
    left: Range<u64>,
    attempts: Attempts,
    open: Option<Stream>,
    ready: VecDeque<RecordBatch>,
}

/// An answer that is being read.
struct Stream {
    answer: Response,
    frames: Unframe,
    decode: Decode,
    /// Rows still to come in it.
    rows: u64,
}

impl Rows<'_> {
    /// The next rows; `None` at the end of the range.
    ///
    /// # Errors
    /// What could not be mended by trying again: `Corrupt` for a wrong checksum or row count, `Expired` for a session
    /// that is over.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.left.start += batch.num_rows() as u64;
                self.attempts.forget();
                return Ok(Some(batch));
            }
            if self.left.is_empty() && self.open.is_none() {
                return Ok(None);
            }
            if let Err(trouble) = self.advance().await {
                self.open = None;
                self.ready.clear();
                let what = format!(
                    "cannot read {} at row {}",
                    self.download.table, self.left.start
                );
                self.attempts
                    .pause(self.client.policy(), trouble.context(what))
                    .await?;
            }
        }
    }

    /// One step: opens the stream, takes a piece of it, or closes it.
    async fn advance(&mut self) -> Result<(), Trouble> {
        let Some(stream) = &mut self.open else {
            self.open = Some(self.begin().await?);
            return Ok(());
        };
        let piece = stream
            .answer
            .chunk()
            .await
            .map_err(|error| network(&error))?;
        let ended = piece.is_none();
        if let Some(piece) = piece {
            stream.frames.push(&piece);
            while let Some(data) = stream.frames.next()? {
                stream.decode.push(data, &mut self.ready)?;
            }
        } else if let Some(mut stream) = self.open.take() {
            let data = stream.frames.finish()?;
            stream.decode.push(data, &mut self.ready)?;
            stream.decode.finish()?;
            let came: u64 = self.ready.iter().map(|batch| batch.num_rows() as u64).sum();
            if came != stream.rows {
                return Err(wrong_count(came, stream.rows).into());
            }
        }
        if let (Some(stream), false) = (&mut self.open, ended) {
            let came: u64 = self.ready.iter().map(|batch| batch.num_rows() as u64).sum();
            // What is ready is handed on before the next step, so it is counted once.
            stream.rows = match stream.rows.checked_sub(came) {
                Some(rows) => rows,
                None => return Err(wrong_count(came, stream.rows).into()),
            };
        }
        Ok(())
    }

    async fn begin(&self) -> Result<Stream, Trouble> {
        let rows = self.left.end - self.left.start;
        let mut query = vec![
            ("data", String::new()),
            ("arrow", String::new()),
            ("downloadid", self.download.id.clone()),
            ("rowrange", format!("({},{rows})", self.left.start)),
        ];
        let table = &self.download.table;
        query.extend(table.partition_spec().map(|spec| ("partition", spec)));
        query.extend(self.client.quota());
        let ask = Ask {
            service: Service::Tunnel,
            method: Method::GET,
            project: &table.project,
            path: table.path(),
            query,
            body: None,
        };
        Ok(Stream {
            answer: self.client.send(ask).await?,
            frames: Unframe::new(),
            decode: Decode::new(&self.schema)?,
            rows,
        })
    }
}

fn wrong_count(came: u64, wanted: u64) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the server gave {came} rows where {wanted} were left"),
    )
}
