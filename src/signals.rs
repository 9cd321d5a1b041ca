//! What Ctrl-C and the system want of a run.
//!
//! The first SIGINT (Ctrl-C) asks to finish what is in flight, the second to stop now. SIGTERM and SIGHUP ask to finish, and to
//! stop when the grace period is over: who sends them kills next.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use clipsieve_engine::run::Asked;

use crate::commands::output;

static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
static TERMINATIONS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(signal: libc::c_int) {
    let counter = match signal {
        libc::SIGINT => &INTERRUPTS,
        _ => &TERMINATIONS,
    };
    counter.fetch_add(1, Ordering::SeqCst);
}

fn set(signal: libc::c_int, handler: libc::sighandler_t) {
    // SAFETY: the handler only adds to an atomic, or is the system's own; the structure is plain data.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut());
    }
}

/// From now on signals are counted and end nothing by themselves.
pub fn watch() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        set(
            signal,
            count as extern "C" fn(libc::c_int) as libc::sighandler_t,
        );
    }
}

/// Signals that go to all processes of a terminal or a job are none of this one's business: it has a supervisor.
pub fn ignore() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        set(signal, libc::SIG_IGN);
    }
}

/// What the signals so far ask for; says so on stderr when that changes.
pub fn asked(grace: Duration) -> Asked {
    static TERMINATED: OnceLock<Instant> = OnceLock::new();
    static SAID_FINISH: AtomicBool = AtomicBool::new(false);
    static SAID_STOP: AtomicBool = AtomicBool::new(false);
    let say = |said: &AtomicBool, text: &str| {
        if !said.swap(true, Ordering::SeqCst) {
            output::tell(text);
        }
    };
    let interrupts = INTERRUPTS.load(Ordering::SeqCst);
    let terminations = TERMINATIONS.load(Ordering::SeqCst);
    if interrupts + terminations == 0 {
        return Asked::GoOn;
    }
    let over = terminations > 0 && TERMINATED.get_or_init(Instant::now).elapsed() > grace;
    if interrupts + terminations > 1 || over {
        say(&SAID_STOP, "stopping now; what is done is kept");
        return Asked::Stop;
    }
    let text = match terminations {
        0 => "finishing what is in flight; Ctrl-C again stops at once".to_owned(),
        _ => format!("told to end; finishing what is in flight, for {grace:?} at most"),
    };
    say(&SAID_FINISH, &text);
    Asked::Finish
}
