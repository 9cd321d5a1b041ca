//! The command line, as clap sees it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clipsieve_engine::operator::units::parse_duration;

use crate::evaluation::rows::Reading;

/// Judges video clips: a stage-graph dataflow engine for video quality filters.
#[derive(Debug, Parser)]
#[command(name = "clipsieve", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Say more on stderr (-v: stages and retries, -vv: items, -vvv: everything, of libraries too)
    ///
    /// CLIPSIEVE_LOG=DIRECTIVES wins, as in `clipsieve_operators=debug,opendal=info`.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

const SEVERAL: &str = "Several machines";

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  2  the pipeline file or the command line is wrong
  3  the job could not run, or died
  4  more rows failed than --max-failures allows
  75 told to stop before the last row; the same command again goes on";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline
    Run(Run),
    /// Check a pipeline file and report everything that is wrong with it
    Check(Check),
    /// Show a pipeline's graph and plan without running it (a dry run)
    Graph(Graph),
    /// List the operators, or explain one
    Operators(Operators),
    /// Show result rows as a table
    Show(Show),
    /// Hold result rows against labels: how good each filter is, and which threshold suits
    Evaluate(Evaluate),
}

/// A pipeline file and what is set for it.
#[derive(Debug, Args)]
pub struct Pipeline {
    /// The pipeline file (YAML)
    #[arg(value_name = "PIPELINE")]
    pub file: PathBuf,

    /// Set a parameter of the pipeline; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,

    /// Worker processes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub processes: u16,

    /// Timely workers in each process
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
}

/// `clipsieve run`
#[derive(Debug, Args)]
pub struct Run {
    /// The pipeline.
    #[command(flatten)]
    pub pipeline: Pipeline,

    /// Read only so many rows, for trials
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..), value_name = "ROWS")]
    pub limit: Option<i64>,

    /// How progress is shown on stderr: a line that moves on a terminal, lines now and then, or nothing
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,

    /// Largest share of rows that may fail before the exit code is 4 (0 to 1)
    #[arg(long, default_value_t = 1.0, value_parser = share, value_name = "SHARE")]
    pub max_failures: f64,

    /// How the summary on stdout is written
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,

    /// The folder of the run's ledger; `TABLE.ledger` beside the table if not given, and removed at the end then
    #[arg(long, value_name = "FOLDER")]
    pub ledger: Option<PathBuf>,

    /// Start over, whatever an unfinished run has done
    #[arg(long)]
    pub fresh: bool,

    /// Go on with an unfinished run though the pipeline or a model has changed
    #[arg(long, conflicts_with = "fresh")]
    pub accept_changes: bool,

    /// Restarts in a row without a row done, before the run is given up
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub max_restarts: u32,

    /// How long a process may give no sign of life before it counts as dead
    #[arg(long, default_value = "20s", value_parser = duration, value_name = "TIME")]
    pub silence: Duration,

    /// How long rows in flight may take after SIGTERM
    #[arg(long, default_value = "25s", value_parser = duration, value_name = "TIME")]
    pub grace: Duration,

    /// A file with a line `host[:port]` for each machine of the run; the first is the master
    #[arg(long, value_name = "FILE", help_heading = SEVERAL)]
    pub hosts: Option<PathBuf>,

    /// Which machine this is, from 0
    #[arg(long, value_name = "I", help_heading = SEVERAL)]
    pub process: Option<usize>,

    /// Where the master is called, instead of a file of hosts
    #[arg(long, value_name = "HOST[:PORT]", env = "CLIPSIEVE_MASTER", conflicts_with = "hosts", help_heading = SEVERAL)]
    pub master: Option<String>,

    /// How many machines there are
    #[arg(long, value_name = "N", env = "CLIPSIEVE_MACHINES", conflicts_with = "hosts", help_heading = SEVERAL)]
    pub machines: Option<usize>,

    /// The address of this machine to listen on; else the one in the file of hosts, or the one that reaches the master
    #[arg(long, value_name = "ADDRESS", help_heading = SEVERAL)]
    pub listen: Option<String>,

    /// A file with the secret that all machines have; CLIPSIEVE_SECRET if not given
    #[arg(long, value_name = "FILE", help_heading = SEVERAL)]
    pub secret_file: Option<PathBuf>,

    /// How long the machines may take to meet
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "TIME", help_heading = SEVERAL)]
    pub join: Duration,

    /// How long a machine that was lost is waited for before the run goes on without it
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME", help_heading = SEVERAL)]
    pub rejoin: Duration,

    /// Run in this process, without one that watches it and starts it again (for debuggers and profilers)
    #[arg(long)]
    pub unsupervised: bool,
}

/// `clipsieve check`
#[derive(Debug, Args)]
pub struct Check {
    /// The pipeline.
    #[command(flatten)]
    pub pipeline: Pipeline,

    /// Ask every store whether it answers and takes our credentials, too
    #[arg(long)]
    pub connect: bool,

    /// How findings are written to stdout
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,
}

/// `clipsieve graph`
#[derive(Debug, Args)]
pub struct Graph {
    /// The pipeline.
    #[command(flatten)]
    pub pipeline: Pipeline,

    /// How the graph is drawn
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    pub format: GraphFormat,

    /// The stages as written, or everything that a run will use
    #[arg(long, value_enum, default_value_t = View::Physical)]
    pub view: View,
}

/// `clipsieve operators`
#[derive(Debug, Args)]
pub struct Operators {
    /// Explain this operator
    pub name: Option<String>,

    /// How the list, or the one, is written to stdout
    #[arg(long, value_enum, default_value_t = OperatorsFormat::Text)]
    pub format: OperatorsFormat,
}

/// `clipsieve show`
#[derive(Debug, Args)]
pub struct Show {
    /// A table that `run` wrote, in any of its formats; or one that it still writes (TABLE.partial)
    pub rows: String,

    /// Show so many rows at most
    #[arg(long, value_name = "ROWS")]
    pub limit: Option<usize>,

    /// Show only rows that failed
    #[arg(long)]
    pub failed: bool,
}

/// `clipsieve evaluate`
#[derive(Debug, Args)]
#[command(after_long_help = LABELS)]
pub struct Evaluate {
    /// Result rows: a table that `run` wrote, in any of its formats, or JSON lines of whatever name
    pub results: String,

    /// Labels: a file of JSON lines (see below)
    pub labels: PathBuf,

    /// Tell the threshold that reaches this precision (0 to 1)
    #[arg(long, value_parser = share, value_name = "SHARE")]
    pub precision: Option<f64>,

    /// Tell the threshold that reaches this recall (0 to 1)
    #[arg(long, value_parser = share, value_name = "SHARE")]
    pub recall: Option<f64>,

    /// Judge one more number for a task, as in vfx=vfx_filter.edited or low_quality=-measure.sharpness (- where less is
    /// worse); may be given several times
    #[arg(long = "score", value_parser = reading, value_name = "TASK=KEY.LABEL")]
    pub scores: Vec<(String, Reading)>,

    /// How the report on stdout is written
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    pub format: TextOrJson,
}

// A paragraph a line: clap wraps them. A line of JSON is short enough to stay whole.
const LABELS: &str = "\
Labels, one JSON object a line:
  {\"file\": \"a.mp4\", \"task\": \"vfx\", \"label\": 1, \"kind\": \"glitch\"}
  {\"file\":\"a\",\"task\":\"regions\",\"boxes\":[{\"class\":\"logo\",\"box\":[0,0,0.2,0.1]}]}

`file` is the video's id, path or file name. `task` is vfx, simcam, rotation, low_quality, reversed, regions or any entry of `info`. A box is its left, upper, right and lower edge as shares of the frame. `kind` may be left out; `safe_crop`, the largest clean rectangle, may be added to `boxes`.

The positive label of an entry is the one called as the task, else all but normal, real, pass, good, clean, upright and their like. Of windows, the largest score counts.";

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A moving line on a terminal, nothing otherwise.
    Auto,
    /// A line every ten seconds.
    Plain,
    /// Nothing.
    None,
}

/// For people or for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextOrJson {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// How operators are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OperatorsFormat {
    /// For people.
    Text,
    /// For the docs.
    Markdown,
    /// For programs.
    Json,
}

/// How a graph is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// For a terminal.
    Text,
    /// For Graphviz.
    Dot,
    /// For Markdown.
    Mermaid,
    /// For programs.
    Json,
}

/// What of a graph is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum View {
    /// Stages and what flows between them.
    Logical,
    /// With executors, devices, pools, batches and budgets.
    Physical,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "not a time such as 20s or 5m".to_string())
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("not a share between 0 and 1".to_string()),
    }
}

fn reading(text: &str) -> Result<(String, Reading), String> {
    match text.split_once('=') {
        Some((task, reading)) if !task.is_empty() => {
            Ok((task.to_string(), Reading::parse(reading)?))
        }
        _ => Err("not of the form TASK=KEY.LABEL".to_string()),
    }
}
