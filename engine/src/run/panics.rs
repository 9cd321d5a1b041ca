//! What becomes of panics.
//!
//! A panic on an executor's thread is an item's failure: it is caught around the call and put into the row, so nothing
//! is printed. A panic on a timely thread leaves the other workers waiting for ever: it is printed in one line, and the
//! process ends at once. All other threads keep the hook that was there.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use super::error::{EXIT_JOB_FAILED, EXIT_PEER_LOST};
use super::scratch;

/// Threads whose name begins with this belong to an executor.
pub(super) const EXECUTOR_THREAD: &str = "clipsieve:";
/// Threads whose name begins with this belong to timely, which names them so.
const TIMELY_THREAD: &str = "timely:";
/// timely's panics about a lost connection begin with this.
const CONNECTION_LOST: &str = "timely communication error:";

thread_local! {
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Installs the hook, once in a process.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            match thread.name() {
                Some(name) if name.starts_with(EXECUTOR_THREAD) => {
                    PLACE.set(info.location().map(ToString::to_string));
                }
                Some(name) if name.starts_with(TIMELY_THREAD) => end_process(name, info),
                _ => before(info),
            }
        }));
    });
}

fn end_process(thread: &str, info: &PanicHookInfo<'_>) -> ! {
    let message = text(info.payload());
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    if message.starts_with(CONNECTION_LOST) || message.starts_with("MergeQueue poisoned") {
        eprintln!("error: lost the connection to another process of this run ({message})");
        scratch::remove_all();
        std::process::exit(EXIT_PEER_LOST);
    }
    eprintln!("error: a bug: thread {thread} panicked: {message} ({place})");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        eprintln!("{backtrace}");
    }
    scratch::remove_all();
    std::process::exit(EXIT_JOB_FAILED);
}

fn text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "no message"
    }
}

/// What a caught panic said, and where it was if the hook saw it on this thread.
pub(super) fn describe(payload: &(dyn Any + Send)) -> String {
    let place = PLACE.take();
    match place {
        Some(place) => format!("panicked: {} ({place})", text(payload)),
        None => format!("panicked: {}", text(payload)),
    }
}

/// Runs code that is not ours; a panic in it becomes its description.
///
/// What it panicked in the middle of is dropped with it or is the operator's own: operators promise to be called from
/// several threads, and one that breaks its own state by panicking answers later calls as best it can.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| describe(&*payload))
}
