//! `read_table`: where the rows come from.

use clipsieve_engine::operator::{
    BuildContext, Executor, Fallback, Finding, Operator, OperatorError, OperatorSpec, ParamSpec,
    ParamType, Planner, PortKind, Ports, Setting, Signature, Source, SourceRow,
};

use crate::tables::{self, Claims, InputRow, Intake, Names, Reading};

/// Reads the rows of a table, a folder, a glob or one video.
pub static READ_TABLE: OperatorSpec = OperatorSpec {
    name: "read_table",
    summary: "reads input rows from a table, a folder, a glob or a video file",
    doc: "\
The rows `{video_id, oss_bucket, video_path, video_tag, info}` come from a table: JSON lines (`.jsonl`, `.ndjson`), CSV \
with a header (`.csv`, `.tsv`) or Parquet (`.parquet`, `.parq`), read as a stream. `info` is a JSON object or text that \
holds one; all other columns pass through to the result row. `also` names further tables, read one after another.

A folder is searched with the folders in it, a glob (`clips/**/*.mp4`) matches paths, and a video file is a row by itself. \
Hidden files are left out and the order is that of the paths. `video_id` is then the file's name without its extension, or \
its path below the folder where two names are the same. A folder or a glob without videos gives the rows of the tables in \
it (`day/*.parquet`). `store://NAME/PATH` is any of this in the store of that name.

`odps://PROJECT/TABLE/ds=20250115` is a table of ODPS (MaxCompute), or a partition of it. Its service is that of \
`ODPS_ENDPOINT`; the key is taken from `ODPS_ACCESS_ID` and `ODPS_ACCESS_KEY` or from `ALIBABA_CLOUD_ACCESS_KEY_ID` and \
`ALIBABA_CLOUD_ACCESS_KEY_SECRET`. docs/tables.md tells more.

A row without a `video_path`, a broken `info`, a line that is no JSON object (or is longer than 64 MiB), or one with more \
or fewer values than the header is no reason to stop: its result row says what is wrong, with the line. Nothing to read at \
all stops the job before it starts, and an older result stays as it is: no such place, no videos and no tables in it, tables \
without a single row, or one, of the first 256, whose header (of a CSV, a Parquet or a table of ODPS) has no column `video_path`.

A table that calls it otherwise is read with `columns: [video_path=path]`. The column `path` passes through as well, so the \
result rows can be read again in the same way: all of them, to be judged anew (`aggregate` tells what becomes of `info`), or \
those that failed: `jq -c 'select(.result_info.succeed == \"false\")' results.jsonl > failed.jsonl`. Without such a column, \
`columns: [video_path=video_oss_url]` reads result rows of videos of the local file system that were fetched without \
`tiers`; where a crop was uploaded, that is the URL of the crop and not of the video, and where the row names a bucket, it \
is `oss://BUCKET/PATH`, which no store takes for a path: pick the rows out of the input by their `video_id` instead.",
    example: "videos: { op: read_table, with: { uri: clips.jsonl } }",
    ports: Ports::Fixed(&[Signature {
        inputs: &[],
        output: Some(PortKind::RECORD),
    }]),
    params: &[
        ParamSpec {
            name: "uri",
            ty: ParamType::Uri,
            fallback: Fallback::Required,
            unit: None,
            doc: "A folder of videos, a glob, a video, or a table (`.jsonl`, `.csv`, `.parquet` …). A relative one starts at the working directory.",
        },
        ParamSpec {
            name: "also",
            ty: ParamType::List(&ParamType::Uri),
            fallback: Fallback::Is("[]"),
            unit: None,
            doc: "More of the same, read after the first in this order.",
        },
        ParamSpec {
            name: "columns",
            ty: ParamType::List(&ParamType::Text),
            fallback: Fallback::Is("[]"),
            unit: None,
            doc: "What the tables call the columns of an input row, where they call them otherwise: `video_path=path`, `info=meta`.",
        },
        ParamSpec {
            name: "limit",
            ty: ParamType::Int {
                min: 1,
                max: i64::MAX,
            },
            fallback: Fallback::Absent,
            unit: Some("rows"),
            doc: "Stops after so many rows, for trials; all rows if it is not given.",
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
    let params = setting.params;
    let first = std::iter::once(("uri", params.text("uri")));
    let also = params.texts("also").into_iter().map(|uri| ("also", uri));
    let wrong = Names::of_input(&params.texts("columns")).err();
    first
        .chain(also)
        .filter_map(|(name, uri)| Some(Finding::param(name, tables::check_uri(uri).err()?)))
        .chain(wrong.map(|why| Finding::param("columns", why)))
        .collect()
}

fn build(ctx: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    let params = ctx.setting.params;
    let mut uris = vec![params.text("uri")];
    uris.extend(params.texts("also"));
    let limit = params.opt_int("limit").map(|limit| limit as u64);
    let reading = Reading {
        stores: ctx.setting.stores,
        endpoint: params.opt_text("endpoint"),
        limit,
        scratch: ctx.scratch,
    };
    let names = Names::of_input(&params.texts("columns")).map_err(OperatorError::config)?;
    let intake = Intake::new(names);
    let mut rows = tables::open_all(&uris, &reading, &intake)?;
    Claims::of_job(ctx.depot)?.read(ctx.setting.stage, intake.places());
    // Told now: at the end an empty result would take the place of an older one.
    let first = match rows.total_rows() {
        Some(rows) => (rows > 0).then_some(None),
        None => rows.next_row()?.map(Some),
    };
    let first = first.ok_or_else(|| {
        OperatorError::config(format!(
            "there are no rows in `{}`, so there is nothing to do; check what `uri` names",
            uris.join("`, `")
        ))
    })?;
    Ok(Operator::Source(Box::new(ReadTable {
        first,
        rows,
        left: limit,
    })))
}

/// Any rows, judged by what a video's row has to have, and no more than wanted.
struct ReadTable {
    /// The first row, if it had to be read to know that there is one.
    first: Option<SourceRow>,
    rows: Box<dyn Source>,
    left: Option<u64>,
}

impl Source for ReadTable {
    fn next_row(&mut self) -> Result<Option<SourceRow>, OperatorError> {
        match &mut self.left {
            Some(0) => return Ok(None),
            Some(left) => *left -= 1,
            None => {}
        }
        let next = match self.first.take() {
            Some(first) => Some(first),
            None => self.rows.next_row()?,
        };
        Ok(next.map(|mut found| {
            if found.problem.is_none() {
                found.problem = InputRow::new(&found.row).problem();
            }
            found
        }))
    }

    fn total_rows(&self) -> Option<u64> {
        let total = self.rows.total_rows()?;
        Some(self.left.map_or(total, |left| left.min(total)))
    }

    fn fingerprint(&self) -> Option<String> {
        self.rows.fingerprint()
    }
}
