//! `clipsieve run`: a pipeline to its last row.

use std::cell::RefCell;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use clipsieve_engine::ledger::{self, Hold, Identity, Ledger, LedgerError};
use clipsieve_engine::observe::Observer;
use clipsieve_engine::operator::{ParamValue, Registry};
use clipsieve_engine::plan::Plan;
use clipsieve_engine::run::cluster::{self, Lent, Member};
use clipsieve_engine::run::fleet::{Master, Node};
use clipsieve_engine::run::supervisor::{HeldLedger, Supervision};
use clipsieve_engine::run::{
    Asked, Board, EXIT_STOPPED, RunError, RunErrorKind, RunOptions, run as run_plan,
};

use super::{Exit, ledger_place, output, pipeline, report, snippets};
use crate::cli::{Run, TextOrJson};
use crate::launch::{self, Launch};
use crate::open_files;
use crate::progress::ProgressLine;
use crate::signals;
use crate::words::counted;

/// How often a process without a supervisor looks for signals.
const LOOK: Duration = Duration::from_millis(50);
/// How long such a process may take to end after it was told to stop now.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Runs the command. Unless it was started by a supervisor, it becomes one.
///
/// # Errors
/// Trouble with stdout.
pub fn run(arguments: &Run, registry: &Registry) -> io::Result<Exit> {
    let member = match cluster::role_from_env() {
        Ok(member) => member,
        Err(error) => return Ok(died(&error)),
    };
    let local = member.as_ref().map_or(0, |member| member.local);
    let loaded = match pipeline::load(&arguments.pipeline, registry, local) {
        Ok(loaded) => loaded,
        Err(message) => {
            output::tell(&format!("error: {message}"));
            return Ok(Exit::Usage);
        }
    };
    // The members of a cluster would only repeat what the supervisor has said.
    if member.is_none() {
        let findings = snippets::render(&loaded, io::stderr().is_terminal());
        if !findings.is_empty() {
            output::tell(findings.trim_end());
        }
    }
    let Some(mut plan) = loaded.compiled.plan else {
        return Ok(Exit::Usage);
    };
    if let Some(limit) = arguments.limit {
        limit_rows(&mut plan, limit);
    }
    bound_heaps(plan.threads.cpu);
    match open_files::fit(&mut plan) {
        Ok(None) => {}
        // The supervisor has said it for all.
        Ok(Some(_)) if member.is_some() => {}
        Ok(Some(message)) => output::tell(&format!("warning: {message}")),
        Err(message) => {
            output::tell(&format!("error: {message}"));
            return Ok(Exit::Died);
        }
    }
    match member {
        Some(member) => {
            signals::ignore();
            plan.processes = member.hosts.len();
            if member.only.is_some() {
                // One row at a time: what kills this process is then known.
                plan.workers = 1;
                plan.limits.items = 1;
            }
            work_as_member(arguments, &plan, member)
        }
        None => lead(arguments, &plan),
    }
}

/// Takes the ledger, and runs the plan under supervision or in this process.
fn lead(arguments: &Run, plan: &Plan) -> io::Result<Exit> {
    let launch = match launch::of(arguments, &|name| std::env::var(name).ok()) {
        Ok(launch) => launch,
        Err(message) => {
            output::tell(&format!("error: {message}"));
            return Ok(Exit::Usage);
        }
    };
    if launch.is_some() && arguments.unsupervised {
        output::tell("error: `--unsupervised` is for one process on one machine");
        return Ok(Exit::Usage);
    }
    if let Some(launch) = launch.as_ref().filter(|launch| launch.machine > 0) {
        signals::watch();
        return Ok(take_part(arguments, plan, launch));
    }
    let place = ledger_place::of(arguments.ledger.as_deref(), plan);
    let held = match &place {
        None => None,
        Some(place) => match open(arguments, plan, place) {
            Ok((hold, ledger)) => Some((hold, ledger)),
            Err(error) => {
                output::tell(&format!("error: {error}"));
                return Ok(match error {
                    LedgerError::Changed { .. } | LedgerError::OtherInput { .. } => Exit::Usage,
                    _ => Exit::Died,
                });
            }
        },
    };
    if let Some((_, ledger)) = &held {
        let standing = ledger.standing();
        if let Some(outputs) = &standing.finished {
            output::tell(&format!(
                "this run is finished ({}); rows are in {}; `--fresh` runs it again",
                counted(standing.rows.len(), "row"),
                outputs.join(", ")
            ));
            return Ok(Exit::Done);
        }
        if !standing.rows.is_empty() {
            let are = if standing.rows.len() == 1 {
                "is"
            } else {
                "are"
            };
            output::tell(&format!(
                "going on behind {} that {are} done (ledger {})",
                counted(standing.rows.len(), "row"),
                ledger.place()
            ));
        }
    }
    signals::watch();
    let (exit, hold) = if arguments.unsupervised {
        let (hold, ledger) = held.unzip();
        let exit = match work_alone(arguments, plan, ledger)? {
            // There is nobody to try again.
            Exit::TryAgain => Exit::Died,
            exit => exit,
        };
        (exit, hold)
    } else {
        supervise(
            arguments,
            plan,
            launch,
            held.map(|(hold, _)| hold),
            place.as_deref(),
        )
    };
    if let Some(hold) = hold {
        let done = matches!(exit, Exit::Done | Exit::TooManyFailures);
        let nothing = || {
            let shelf = hold.shelf();
            Ledger::lent(&shelf, hold.token()).is_ok_and(|ledger| ledger.standing().rows.is_empty())
        };
        // A ledger that somebody named is left for them to look at.
        let useless = (done && arguments.ledger.is_none()) || (!done && nothing());
        if useless && let Err(error) = hold.clear() {
            output::tell(&format!("warning: {error}"));
        }
    }
    Ok(exit)
}

fn open(arguments: &Run, plan: &Plan, place: &Path) -> Result<(Hold, Ledger), LedgerError> {
    let hold = Hold::take(ledger::folder(place))?;
    if arguments.fresh {
        hold.wipe()?;
    }
    let ledger = Ledger::open(
        &hold,
        |known| Identity::of(plan, known),
        arguments.accept_changes,
    )?;
    Ok((hold, ledger))
}

/// Takes part in a run whose master is another machine.
fn take_part(arguments: &Run, plan: &Plan, launch: &Launch) -> Exit {
    let (host, port) = &launch.master;
    let node = Node {
        master: match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        },
        machine: launch.machine,
        processes: plan.processes,
        address: launch.listen.clone(),
        port: launch.port,
        secret: launch.secret.clone(),
        join: arguments.join,
        silence: arguments.silence,
        scratch: &std::env::temp_dir(),
        local: launch.local,
        asked: &|| signals::asked(arguments.grace),
    };
    finished(node.run())
}

fn finished(ended: Result<i32, RunError>) -> Exit {
    match ended {
        Ok(code) => Exit::from_code(code),
        Err(error) => {
            output::tell(&format!("error: {error}"));
            Exit::Died
        }
    }
}

fn supervise(
    arguments: &Run,
    plan: &Plan,
    launch: Option<Launch>,
    hold: Option<Hold>,
    place: Option<&Path>,
) -> (Exit, Option<Hold>) {
    let local = launch.as_ref().map_or(0, |launch| launch.local);
    let fleet = launch.map(|launch| {
        let (host, port) = launch.master;
        let address = launch.listen.unwrap_or(host);
        let times = [arguments.join, arguments.rejoin, arguments.silence];
        Master::listen(
            &address,
            port,
            launch.machines,
            launch.port,
            launch.secret,
            times,
        )
    });
    let fleet = match fleet.transpose() {
        Ok(fleet) => fleet.map(RefCell::new),
        Err(error) => return (finished(Err(error)), hold),
    };
    let held = hold.zip(place).map(|(hold, place)| HeldLedger {
        lent: Lent {
            folder: place.to_owned(),
            token: hold.token().to_owned(),
        },
        hold,
    });
    let supervision = Supervision {
        processes: plan.processes,
        scratch: &std::env::temp_dir(),
        ledger: held,
        stages: plan
            .order
            .iter()
            .map(|index| plan.graph[*index].id.clone())
            .collect(),
        max_restarts: arguments.max_restarts,
        silence: arguments.silence,
        asked: &|| signals::asked(arguments.grace),
        fleet,
        local,
    };
    let exit = finished(supervision.run());
    (exit, supervision.ledger.map(|held| held.hold))
}

/// Runs the plan in this process, which nobody watches.
fn work_alone(arguments: &Run, plan: &Plan, ledger: Option<Ledger>) -> io::Result<Exit> {
    if plan.processes > 1 {
        output::tell(
            "error: `--unsupervised` is for one process; without a supervisor nobody would start the others",
        );
        return Ok(Exit::Usage);
    }
    let board = Arc::new(Board::private()?);
    // It ends with the process.
    let _: JoinHandle<()> = std::thread::spawn({
        let (board, grace) = (Arc::clone(&board), arguments.grace);
        move || {
            loop {
                let asked = signals::asked(grace);
                board.ask(asked);
                if asked == Asked::Stop {
                    std::thread::sleep(LAST_WORDS);
                    std::process::exit(EXIT_STOPPED);
                }
                std::thread::sleep(LOOK);
            }
        }
    });
    let options = RunOptions {
        ledger,
        board: Some(board),
        ..RunOptions::default()
    };
    work(arguments, plan, options)
}

fn work_as_member(arguments: &Run, plan: &Plan, member: Member) -> io::Result<Exit> {
    let lent = member.ledger.as_ref().map(|lent| borrow(plan, lent));
    let ledger = match lent.transpose() {
        Ok(ledger) => ledger,
        Err(error) => return Ok(died(&error.into())),
    };
    let options = RunOptions {
        ledger,
        board: member.board.clone(),
        only: member.only.clone(),
        member: Some(member),
        ..RunOptions::default()
    };
    work(arguments, plan, options)
}

/// Opens the ledger that the supervisor lends, if it is of this plan: the file may have changed since the run began.
fn borrow(plan: &Plan, lent: &Lent) -> Result<Ledger, LedgerError> {
    let ledger = Ledger::lent(&ledger::folder(&lent.folder), &lent.token)?;
    let now = Identity::of(plan, Some(ledger.identity())).map_err(LedgerError::Unreadable)?;
    ledger.check(&now)?;
    Ok(ledger)
}

/// Runs the plan in this process: alone, or as one of several.
fn work(arguments: &Run, plan: &Plan, mut options: RunOptions) -> io::Result<Exit> {
    let member = options.member.as_ref();
    let leads = member.is_none_or(|member| member.process == 0);
    let aside = options.only.is_some();
    let observer = Arc::new(Observer::new(plan));
    options.observer = Some(Arc::clone(&observer));
    let line = (leads && !aside).then(|| ProgressLine::start(arguments.progress, &observer));
    let result = run_plan(plan, options);
    drop(line);
    let report = match result {
        Ok(report) => report,
        Err(error) => return Ok(died(&error)),
    };
    if !leads || aside {
        return Ok(Exit::Done);
    }
    let told = match arguments.format {
        TextOrJson::Text => report::summary(&report),
        TextOrJson::Json => format!("{:#}\n", report::as_json(&report)),
    };
    if ledger_place::writes_to_stdout(plan) {
        output::tell(told.trim_end());
    } else {
        output::print(&told)?;
    }
    if !report.finished {
        return Ok(Exit::Stopped);
    }
    let allowed = arguments.max_failures * report.rows_read as f64;
    if report.failed as f64 > allowed {
        let share = 100.0 * report.failed as f64 / report.rows_read.max(1) as f64;
        output::tell(&format!(
            "error: {} of {} failed ({share:.1} %), more than --max-failures {} allows",
            report.failed,
            counted(report.rows_read, "row"),
            arguments.max_failures
        ));
        return Ok(Exit::TooManyFailures);
    }
    Ok(Exit::Done)
}

/// Has the source read at most so many rows.
fn limit_rows(plan: &mut Plan, limit: i64) {
    for stage in plan.graph.node_weights_mut() {
        let has_limit = stage.spec.params.iter().any(|param| param.name == "limit");
        if stage.spec.is_source() && has_limit {
            let limit = stage
                .params
                .opt_int("limit")
                .map_or(limit, |own| own.min(limit));
            stage.params.insert("limit", ParamValue::Int(limit));
        }
    }
}

/// Has the allocator keep no more heaps than threads compute. It would take eight for each core, and what one of them has
/// free is of no use to the others.
fn bound_heaps(threads: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let heaps = libc::c_int::try_from(threads.max(2)).unwrap_or(libc::c_int::MAX);
        // SAFETY: no other thread allocates yet.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, heaps) };
    }
}

fn died(error: &RunError) -> Exit {
    if error.kind != RunErrorKind::Stopped {
        output::tell(&format!("error: {error}"));
    }
    Exit::from_code(error.exit_code())
}
