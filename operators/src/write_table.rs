//! `write_table`: where the result rows go.

use std::borrow::Cow;
use std::io;
use std::time::SystemTime;

use clipsieve_engine::operator::{
    BuildContext, Delivered, Executor, Fallback, Finding, Operator, OperatorError, OperatorSpec,
    Pace, ParamSpec, ParamType, PortKind, Ports, Receipt, Row, Setting, Signature, Sink,
};

use crate::tables::{self, Machine, ResultRow, RowWriter};

/// Writes result rows to a table.
pub static WRITE_TABLE: OperatorSpec = OperatorSpec {
    name: "write_table",
    summary: "writes result rows to a table",
    doc: "\
The table is one JSON object a line (`.jsonl`, `.ndjson`), in the order in which the rows are done. It grows beside its \
final place, as `NAME.partial`, and takes its name when all rows are in: until then an older table stays as it was, and a \
run that ended early goes on with it. Folders that are missing are made. `-` writes to standard output as rows come; such \
a run cannot be continued.

An item whose last stage failed has a row too, with `result_info.succeed` \"false\" and the stage, the error and the \
attempts; when work on it began is not known here, so `start_time` and `avg_cost` are null.",
    example: "table: { op: write_table, from: result, with: { uri: results.jsonl } }",
    ports: Ports::Fixed(&[Signature {
        inputs: &[PortKind::DOCUMENT],
        output: None,
    }]),
    params: &[ParamSpec {
        name: "uri",
        ty: ParamType::Uri,
        fallback: Fallback::Required,
        unit: None,
        doc: "The table (`.jsonl`, `.ndjson`), or `-` for standard output. A relative path starts at the working directory.",
    }],
    executor: Executor::Io,
    concurrency: 1,
    check: Some(check),
    demand: None,
    build,
};

fn check(setting: &Setting<'_>) -> Vec<Finding> {
    tables::writable(setting.params.text("uri"))
        .err()
        .map(|message| Finding::param("uri", message))
        .into_iter()
        .collect()
}

fn build(ctx: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    let uri = ctx.setting.params.text("uri");
    Ok(Operator::Sink(Box::new(WriteTable {
        uri: uri.to_owned(),
        writer: tables::create(uri)?,
        machine: Machine::this(),
    })))
}

struct WriteTable {
    uri: String,
    writer: Box<dyn RowWriter>,
    machine: Machine,
}

impl Sink for WriteTable {
    fn pace(&self) -> Pace {
        self.writer.pace()
    }

    fn resumes(&self) -> bool {
        self.writer.resumes()
    }

    fn resume(&mut self, receipts: &[Receipt]) -> Result<(), OperatorError> {
        let resumed = self.writer.resume(receipts);
        resumed.map_err(|error| cannot_write(&self.uri, &error))
    }

    fn publish(&mut self, part: u64, rows: &[Delivered]) -> Result<Receipt, OperatorError> {
        let rows: Vec<Cow<'_, Row>> = rows
            .iter()
            .map(|delivered| match &delivered.result {
                Ok(document) => Cow::Borrowed(&document.row),
                Err((row, failure)) => {
                    let failed = ResultRow::failed(row, failure);
                    Cow::Owned(failed.build(&self.machine, SystemTime::now()).row)
                }
            })
            .collect();
        let published = self.writer.publish(part, &rows);
        published.map_err(|error| cannot_write(&self.uri, &error))
    }

    fn finish(&mut self, receipts: &[Receipt]) -> Result<String, OperatorError> {
        let finished = self.writer.finish(receipts);
        finished.map_err(|error| cannot_write(&self.uri, &error))
    }
}

/// A full disk or a store that is away may pass; what is refused will be refused again.
fn cannot_write(uri: &str, error: &io::Error) -> OperatorError {
    let message = format!("cannot write `{uri}`: {error}");
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotFound
        | io::ErrorKind::InvalidData
        | io::ErrorKind::Unsupported
        | io::ErrorKind::BrokenPipe => OperatorError::config(message),
        _ => OperatorError::temporary(message),
    }
}
