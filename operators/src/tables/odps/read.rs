use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use clipsieve_engine::operator::{OperatorError, Row, Source, SourceRow};
use clipsieve_odps::Download;
use serde_json::json;

use super::{Service, operator_error};
use crate::tables::{Names, cells};

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
    fingerprint: String,
    line: Vec<u8>,
}

impl OdpsReader {
    /// Opens a session, of which at most `limit` rows will be fetched into a file in `folder`.
    ///
    /// # Errors
    /// `Config` if the table or its partition is not there, may not be read, has a column that no row can hold, or has not
    /// those that are needed.
    pub(in crate::tables) fn open(
        uri: &str,
        endpoint: Option<&str>,
        limit: Option<u64>,
        folder: &Path,
        names: &Names,
    ) -> Result<Self, OperatorError> {
        let service = Service::open(uri, endpoint)?;
        let schema = service.schema.arrow().map_err(operator_error)?;
        if let Some((column, kind)) = cells::unreadable(&schema) {
            return Err(OperatorError::config(format!(
                "{}: column `{column}` is of type {kind}, which no row can hold",
                service.table
            )));
        }
        let fields = schema.fields().iter().map(|field| field.name().as_str());
        let partition = service.table.partition.iter().map(|(name, _)| &**name);
        let columns: Vec<&str> = fields.chain(partition).collect();
        names.check(&service.table.to_string(), &columns)?;
        let download = service
            .runtime
            .block_on(Download::open(&service.client, &service.table))
            .map_err(operator_error)?;
        let rows = limit.map_or(download.rows(), |limit| limit.min(download.rows()));
        let changed = service.client.changed(&service.table);
        let changed = service.runtime.block_on(changed).map_err(operator_error)?;
        let changed = changed.map_or(String::new(), |time| format!(", changed at {time}"));
        let fingerprint = format!("{} rows{changed}", download.rows());
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
            fingerprint,
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

    /// How many rows there are, and when the table or the partition was changed.
    fn fingerprint(&self) -> Option<String> {
        Some(self.fingerprint.clone())
    }
}
