//! Tables of ODPS: `odps://project/table/ds=20250115`.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use clipsieve_engine::operator::{OperatorError, Row, Source, SourceRow};
use clipsieve_odps::{
    Client, Credentials, Download, Endpoints, Error, TableSchema, TableUri, Upload, UploadOptions,
};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::result::COLUMNS;
use super::{Spool, cells, columns};

/// Rows that are sent as one block: about so many bytes of them, since small blocks make small files.
const BLOCK_BYTES: usize = 48 << 20;

/// Whether a URI names a table of ODPS.
pub(super) fn is_odps(uri: &str) -> bool {
    uri.starts_with(TableUri::SCHEME)
}

/// Checks what can be told of a URI without touching anything.
///
/// # Errors
/// What is wrong, as a lowercase fragment.
pub(super) fn check(uri: &str) -> Result<TableUri, String> {
    uri.parse().map_err(|error: Error| error.message)
}

/// A table and the way to it.
struct Service {
    runtime: Runtime,
    client: Client,
    table: TableUri,
    schema: TableSchema,
}

impl Service {
    /// Asks for the table's columns; the endpoint comes from `ODPS_ENDPOINT` if it is not given, the access key from the
    /// environment.
    fn open(uri: &str, endpoint: Option<&str>) -> Result<Self, OperatorError> {
        let table = check(uri).map_err(OperatorError::config)?;
        let variable = |name: &str| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        };
        let rest = endpoint
            .map(str::to_owned)
            .or_else(|| variable("ODPS_ENDPOINT"));
        let rest = rest.ok_or_else(|| {
            OperatorError::config(format!(
                "no endpoint is known for `{uri}`; give `endpoint`, or set ODPS_ENDPOINT (https://service.REGION.maxcompute.aliyun.com/api)"
            ))
        })?;
        let endpoints = Endpoints {
            rest,
            tunnel: variable("ODPS_TUNNEL_ENDPOINT"),
            region: variable("ODPS_REGION"),
            quota: variable("ODPS_TUNNEL_QUOTA"),
        };
        let credentials =
            Credentials::from_env(|name| std::env::var(name).ok()).map_err(operator_error)?;
        let client = Client::new(endpoints, credentials).map_err(operator_error)?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| OperatorError::temporary(format!("no runtime can be had: {error}")))?;
        let schema = runtime
            .block_on(client.schema(&table))
            .map_err(operator_error)?;
        let service = Self {
            runtime,
            client,
            table,
            schema,
        };
        service.check_partition()?;
        Ok(service)
    }

    /// A table with partitions is read and written a partition at a time.
    fn check_partition(&self) -> Result<(), OperatorError> {
        let keys: Vec<&str> = self
            .schema
            .partition_keys
            .iter()
            .map(|key| key.name.as_str())
            .collect();
        let named: Vec<&str> = self
            .table
            .partition
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        if keys == named {
            return Ok(());
        }
        let table = &self.table;
        Err(OperatorError::config(match keys[..] {
            [] => format!("{table}: the table has no partitions"),
            _ => format!(
                "{table}: name a partition of the table, all of its levels: {}",
                keys.iter()
                    .map(|key| format!("{key}=…"))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
        }))
    }
}

/// The kinds that the engine knows.
fn operator_error(error: Error) -> OperatorError {
    match error.is_temporary() {
        true => OperatorError::temporary(error.to_string()),
        false => OperatorError::config(error.to_string()),
    }
}

/// The rows of a table.
///
/// A session lasts a day, and videos take longer. So the rows are fetched as fast as they come, by a thread of their own,
/// into a temporary file of JSON lines, and handed on from there.
pub struct OdpsReader {
    /// What the thread needs; it is started when the first row is asked for.
    waiting: Option<(Service, Download, File)>,
    lines: BufReader<File>,
    /// How many rows more there are in the file; no more will come once it is closed.
    fetched: Option<Receiver<Result<u64, OperatorError>>>,
    ready: u64,
    rows: u64,
    line: Vec<u8>,
}

impl OdpsReader {
    /// Opens a session, of which at most `limit` rows will be fetched into a file in `folder`.
    ///
    /// # Errors
    /// `Config` if the table or its partition is not there, may not be read, or has a column that no row can hold.
    pub(super) fn open(
        uri: &str,
        endpoint: Option<&str>,
        limit: Option<u64>,
        folder: &Path,
    ) -> Result<Self, OperatorError> {
        let service = Service::open(uri, endpoint)?;
        let schema = service.schema.arrow().map_err(operator_error)?;
        if let Some((column, kind)) = cells::unreadable(&schema) {
            return Err(OperatorError::config(format!(
                "{}: column `{column}` is of type {kind}, which no row can hold",
                service.table
            )));
        }
        let download = service
            .runtime
            .block_on(Download::open(&service.client, &service.table))
            .map_err(operator_error)?;
        let rows = limit.map_or(download.rows(), |limit| limit.min(download.rows()));
        let failed = |error: io::Error| {
            OperatorError::config(format!("no file for rows in {}: {error}", folder.display()))
        };
        let file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        let lines = file.reopen().map_err(failed)?;
        Ok(Self {
            // Both have it open; it needs no name any longer.
            waiting: Some((service, download, file.into_file())),
            lines: BufReader::with_capacity(1 << 18, lines),
            fetched: None,
            ready: 0,
            rows,
            line: Vec::new(),
        })
    }

    /// Starts the thread that fetches.
    fn start(
        &self,
        (service, download, file): (Service, Download, File),
    ) -> Result<Receiver<Result<u64, OperatorError>>, OperatorError> {
        let rows = self.rows;
        let (sender, fetched) = channel();
        std::thread::Builder::new()
            .name("odps".to_owned())
            .spawn(move || {
                let result = fetch(&service, &download, rows, file, &mut |count| {
                    sender.send(Ok(count)).is_ok()
                });
                if let Err(error) = result {
                    // Fails only when nobody reads any longer.
                    let _ = sender.send(Err(error));
                }
            })
            .map_err(|error| OperatorError::temporary(format!("no thread can be had: {error}")))?;
        Ok(fetched)
    }
}

/// Writes the rows to a file as they come, and tells how many each time.
fn fetch(
    service: &Service,
    download: &Download,
    rows: u64,
    mut file: File,
    tell: &mut dyn FnMut(u64) -> bool,
) -> Result<(), OperatorError> {
    let mut stream = download
        .read(&service.client, 0..rows)
        .map_err(operator_error)?;
    let mut lines = Vec::new();
    while let Some(batch) = service
        .runtime
        .block_on(stream.next())
        .map_err(operator_error)?
    {
        lines.clear();
        for index in 0..batch.num_rows() {
            let mut row = cells::row(&batch, index);
            for (name, value) in &service.table.partition {
                row.0.entry(name.clone()).or_insert_with(|| json!(value));
            }
            serde_json::to_writer(&mut lines, &row.0).map_err(|error| {
                OperatorError::internal(format!("a row that is not JSON: {error}"))
            })?;
            lines.push(b'\n');
        }
        file.write_all(&lines).map_err(|error| {
            OperatorError::temporary(format!("rows of {} cannot be kept: {error}", service.table))
        })?;
        if !tell(batch.num_rows() as u64) {
            break;
        }
    }
    Ok(())
}

impl Source for OdpsReader {
    fn next_row(&mut self) -> Result<Option<SourceRow>, OperatorError> {
        if let Some(waiting) = self.waiting.take() {
            self.fetched = Some(self.start(waiting)?);
        }
        while self.ready == 0 {
            match self.fetched.as_ref().map(Receiver::recv) {
                Some(Ok(fetched)) => self.ready += fetched?,
                Some(Err(_)) | None => return Ok(None),
            }
        }
        self.ready -= 1;
        self.line.clear();
        let row = self
            .lines
            .read_until(b'\n', &mut self.line)
            .and_then(|_| serde_json::from_slice(&self.line).map_err(io::Error::from))
            .map_err(|error| {
                OperatorError::temporary(format!("rows that were kept are gone: {error}"))
            })?;
        Ok(Some(SourceRow {
            row: Row(row),
            problem: None,
        }))
    }

    fn total_rows(&self) -> Option<u64> {
        Some(self.rows)
    }

    /// All that a session tells of the rows is how many there are.
    fn fingerprint(&self) -> Option<String> {
        Some(format!("{} rows", self.rows))
    }
}

/// How a table of ODPS is written to.
pub(super) struct OdpsTarget {
    service: Service,
    schema: SchemaRef,
    options: UploadOptions,
}

impl OdpsTarget {
    /// Looks whether the table has the columns of a result row, and whether it may be written to.
    ///
    /// # Errors
    /// `Config` if not.
    pub fn open(
        uri: &str,
        endpoint: Option<&str>,
        options: UploadOptions,
    ) -> Result<Self, OperatorError> {
        let service = Service::open(uri, endpoint)?;
        let schema = service.schema.arrow().map_err(operator_error)?;
        for column in COLUMNS {
            let there = schema.field_with_name(column);
            if !there.is_ok_and(|field| columns::writable(field.data_type())) {
                let all: Vec<String> = service
                    .schema
                    .columns
                    .iter()
                    .map(|column| format!("{} {}", column.name, column.kind))
                    .collect();
                return Err(OperatorError::config(format!(
                    "{}: a result row needs the column `{column} string`; the table has: {}",
                    service.table,
                    all.join(", ")
                )));
            }
        }
        let client = &service.client;
        let has_partition = || -> Result<bool, Error> {
            if service.table.partition.is_empty() {
                return Ok(true);
            }
            service
                .runtime
                .block_on(client.has_partition(&service.table))
        };
        // A session that is not committed leaves nothing. One that makes the partition would leave that.
        if has_partition().map_err(operator_error)? {
            let session = Upload::open(client, &service.table, UploadOptions::default());
            service.runtime.block_on(session).map_err(operator_error)?;
        } else if !options.create_partition {
            return Err(OperatorError::config(format!(
                "{}: there is no such partition; make it, or set `create_partition: true`",
                service.table
            )));
        }
        Ok(Self {
            service,
            schema,
            options,
        })
    }

    /// Sends all rows and commits them at once. Returns where they are, for people.
    ///
    /// `note` is a file in which the session stands from before the commit: a process that is killed there is followed by
    /// one that does all of this again, and must not add the rows a second time.
    ///
    /// # Errors
    /// What the server answered; nothing of the rows is visible then.
    pub fn write(&self, spool: &mut Spool, note: &Path) -> Result<String, OperatorError> {
        let table = &self.service.table;
        if self.was_committed(note)? {
            return Ok(table.to_string());
        }
        let Service {
            runtime, client, ..
        } = &self.service;
        let open = Upload::open(client, table, self.options);
        let upload = runtime.block_on(open).map_err(operator_error)?;
        let blocks = self.send(&upload, spool)?;
        let noted = fs::write(note, format!("{} {blocks}\n", upload.id()));
        noted.map_err(|error| {
            OperatorError::temporary(format!("cannot write {}: {error}", note.display()))
        })?;
        runtime
            .block_on(upload.commit(client, blocks))
            .map_err(operator_error)?;
        Ok(table.to_string())
    }

    /// Sends all rows in blocks. Returns how many there are.
    fn send(&self, upload: &Upload, spool: &mut Spool) -> Result<u64, OperatorError> {
        let Service {
            runtime,
            client,
            table,
            ..
        } = &self.service;
        let mut blocks = 0;
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut bytes = 0;
        let mut send = |batches: &mut Vec<RecordBatch>| {
            let sent = runtime.block_on(upload.block(client, blocks, batches));
            batches.clear();
            blocks += 1;
            sent.map_err(operator_error)
        };
        spool
            .each_batch::<Failed>(|rows| {
                let batch = columns::batch(&self.schema, rows)
                    .map_err(|why| Failed(OperatorError::config(format!("{table}: {why}"))))?;
                bytes += batch.get_array_memory_size();
                batches.push(batch);
                if bytes >= BLOCK_BYTES {
                    bytes = 0;
                    send(&mut batches).map_err(Failed)?;
                }
                Ok(())
            })
            .map_err(|failed| failed.0)?;
        if !batches.is_empty() {
            send(&mut batches)?;
        }
        Ok(blocks)
    }

    /// Whether an earlier process committed these rows, or could have: it is done now then.
    fn was_committed(&self, note: &Path) -> Result<bool, OperatorError> {
        let Ok(noted) = fs::read_to_string(note) else {
            return Ok(false);
        };
        let Some((id, blocks)) = noted.trim().split_once(' ') else {
            return Ok(false);
        };
        let Ok(blocks) = blocks.parse() else {
            return Ok(false);
        };
        let Service {
            runtime,
            client,
            table,
            ..
        } = &self.service;
        let done = runtime.block_on(async {
            let upload = Upload::resume(client, table, id).await?;
            upload.commit(client, blocks).await
        });
        match done {
            Ok(()) => Ok(true),
            Err(error) if error.is_temporary() => Err(operator_error(error)),
            // Rows that replace others may come twice.
            Err(_) if self.options.overwrite => Ok(false),
            Err(error) => Err(OperatorError::config(format!(
                "{table}: an earlier process ended while it committed session {id}, and what became of it cannot be told any more ({error}); look whether the rows are there; if not, remove {} to send them again",
                note.display()
            ))),
        }
    }
}

/// What ends the sending of rows: the disk that they are on, or the one who takes them.
struct Failed(OperatorError);

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self(OperatorError::temporary(format!(
            "rows that were kept are gone: {error}"
        )))
    }
}
