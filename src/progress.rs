//! The progress line on stderr, and the log that has to go round it.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use clipsieve_engine::observe::{Observer, ProgressSnapshot};
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};

use crate::cli::Progress;
use crate::commands::output;

/// How often the moving line is drawn.
const TICK: Duration = Duration::from_millis(200);
/// How often a plain line is written.
const PLAIN_PAUSE: Duration = Duration::from_secs(10);

/// The line that moves now, if one does.
static MOVING: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Stderr for the log: the moving line steps aside for what is written.
#[derive(Clone, Copy)]
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let moving = MOVING
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match moving {
            Some(bar) => bar.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Shows how far a run is, until it is dropped.
pub struct ProgressLine {
    /// Closing it wakes the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressLine {
    /// Starts showing what the observer counts.
    pub fn start(how: Progress, observer: &Arc<Observer>) -> Self {
        let moving = match how {
            Progress::None => {
                return Self {
                    stop: None,
                    thread: None,
                };
            }
            Progress::Auto if !io::stderr().is_terminal() => {
                return Self {
                    stop: None,
                    thread: None,
                };
            }
            Progress::Auto => true,
            Progress::Plain => false,
        };
        let (stop, stopped) = channel();
        let observer = Arc::clone(observer);
        let thread = std::thread::spawn(move || {
            let bar = moving.then(bar);
            set_moving(bar.clone());
            let pause = if moving { TICK } else { PLAIN_PAUSE };
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let snapshot = observer.progress.snapshot();
                match &bar {
                    Some(bar) => draw(bar, &snapshot),
                    None => output::tell(&line(&snapshot)),
                }
            }
            set_moving(None);
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told already, and the run matters more.
            let _ = thread.join();
        }
    }
}

fn set_moving(bar: Option<ProgressBar>) {
    *MOVING.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {msg}") {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar
}

fn draw(bar: &ProgressBar, snapshot: &ProgressSnapshot) {
    bar.set_length(snapshot.total.unwrap_or(snapshot.read).max(1));
    bar.set_position(snapshot.done());
    bar.set_message(line(snapshot));
}

/// `12 of 40 done, 1 failed, 6 in flight, 1.4/s, 20 s left`
fn line(snapshot: &ProgressSnapshot) -> String {
    let total = snapshot
        .total
        .map_or(String::new(), |total| format!(" of {total}"));
    let failed = if snapshot.failed == 0 {
        String::new()
    } else {
        format!(", {} failed", snapshot.failed)
    };
    let left = snapshot
        .remaining
        .map_or(String::new(), |left| format!(", {} left", clock(left)));
    format!(
        "{}{total} done{failed}, {} in flight, {:.1}/s{left}",
        snapshot.done(),
        snapshot.in_flight,
        snapshot.rows_per_second
    )
}

/// `42 s`, `3 m 20 s`, `2 h 5 m`
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(total: Option<u64>, remaining: Option<u64>) -> ProgressSnapshot {
        ProgressSnapshot {
            total,
            before: 0,
            read: 9,
            in_flight: 4,
            succeeded: 4,
            failed: 1,
            elapsed: Duration::from_secs(10),
            rows_per_second: 0.5,
            remaining: remaining.map(Duration::from_secs),
        }
    }

    #[test]
    fn a_line_tells_what_is_known_and_no_more() {
        assert_eq!(
            line(&snapshot(Some(40), Some(200))),
            "5 of 40 done, 1 failed, 4 in flight, 0.5/s, 3 m 20 s left"
        );
        assert_eq!(
            line(&snapshot(None, None)),
            "5 done, 1 failed, 4 in flight, 0.5/s"
        );
    }

    #[test]
    fn long_times_are_told_in_hours() {
        assert_eq!(clock(Duration::from_secs(7500)), "2 h 5 m");
    }
}
