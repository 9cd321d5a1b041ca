//! `write_table`: where the result rows go.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use clipsieve_engine::operator::{
    BuildContext, Delivered, Executor, Fallback, Finding, Operator, OperatorError, OperatorSpec,
    Pace, ParamSpec, ParamType, Planner, PortKind, Ports, Receipt, Row, Setting, Signature, Sink,
};
use clipsieve_odps::UploadOptions;

use crate::tables::{self, Claims, Machine, ResultRow, RowWriter, Writing};

/// Writes result rows to a table.
pub static WRITE_TABLE: OperatorSpec = OperatorSpec {
    name: "write_table",
    summary: "writes result rows to a table",
    doc: "\
The table is JSON lines (`.jsonl`, `.ndjson`), CSV with a header (`.csv`, `.tsv`) or Parquet (`.parquet`, `.parq`), with \
the rows in the order in which they are done. It grows beside its final place, as `NAME.partial`, and takes its name when all \
rows are in: until then an older table stays as it was. Folders that are missing are made. `-` writes JSON lines to standard \
output as rows come. A table that the pipeline reads, or that another stage of it writes, is refused before the first row, \
whatever it is called there.

A run that ended early goes on with its table; only one on standard output cannot.

A CSV or a Parquet has all columns that any row has. Columns of a Parquet are typed by their values; `info`, `result_info` \
and all else that is nested stand there as JSON text. Its rows wait in `NAME.partial` until all are in, those of a table that is not of this machine in `.clipsieve` in \
the working directory.

`store://NAME/PATH` is a file in the store of that name, `odps://PROJECT/TABLE/ds=20250115` a table of ODPS or a partition \
of it: its rows become visible all at once, in one commit. The table needs the columns of a result row as `string`; the \
others that a row has are left out where the table does not have them. `read_table` tells where the service and the key \
come from.

An item whose last stage failed has a row too, with `result_info.succeed` \"false\" and the stage, the error and the \
attempts; when work on it began is not known here, so `start_time` and `avg_cost` are null.",
    example: "table: { op: write_table, from: result, with: { uri: results.jsonl } }",
    ports: Ports::Fixed(&[Signature {
        inputs: &[PortKind::DOCUMENT],
        output: None,
    }]),
    params: &[
        ParamSpec {
            name: "uri",
            ty: ParamType::Uri,
            fallback: Fallback::Required,
            unit: None,
            doc: "The table (`.jsonl`, `.csv`, `.parquet` …), or `-` for standard output. A relative path starts at the working directory.",
        },
        ParamSpec {
            name: "overwrite",
            ty: ParamType::Bool,
            fallback: Fallback::Is("false"),
            unit: None,
            doc: "Rows of an ODPS table or partition are replaced, and not added to. Files always are.",
        },
        ParamSpec {
            name: "create_partition",
            ty: ParamType::Bool,
            fallback: Fallback::Is("true"),
            unit: None,
            doc: "A partition of an ODPS table that is missing is made.",
        },
        ParamSpec {
            name: "endpoint",
            ty: ParamType::Text,
            fallback: Fallback::Absent,
            unit: None,
            doc: "The ODPS service, if it is not that of `ODPS_ENDPOINT`.",
        },
    ],
    executor: Executor::Io,
    concurrency: 1,
    check: Some(check),
    demand: None,
    planner: Planner::NONE,
    build,
};

fn check(setting: &Setting<'_>) -> Vec<Finding> {
    tables::check_target(setting.params.text("uri"))
        .err()
        .map(|message| Finding::param("uri", message))
        .into_iter()
        .collect()
}

fn build(ctx: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    let params = ctx.setting.params;
    let uri = params.text("uri");
    let writing = Writing {
        stores: ctx.setting.stores,
        endpoint: params.opt_text("endpoint"),
        upload: UploadOptions {
            overwrite: params.bool("overwrite"),
            create_partition: params.bool("create_partition"),
        },
        waiting: Path::new(tables::WAITING),
    };
    let writer = tables::create(uri, &writing)?;
    // Its folder is there now, so that a place has one name.
    Claims::of_job(ctx.depot)?.write(ctx.setting.stage, uri, ctx.setting.stores)?;
    Ok(Operator::Sink(Box::new(WriteTable {
        uri: uri.to_owned(),
        writer,
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
