//! What a process can say of itself and of others on its machine.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A process, told apart from all others: ids are given out again, and mean something else in another container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The process id.
    pub pid: u32,
    /// Where that id means something: the boot of the machine and the process namespace. Empty if it cannot be told.
    world: String,
    /// When it was started, as the kernel counts.
    born: String,
}

impl Identity {
    pub fn this() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            world: world(),
            born: born(pid).unwrap_or_default(),
        }
    }

    /// Whether it is there; `None` if that cannot be told from here.
    pub fn lives(&self) -> Option<bool> {
        if self.world.is_empty() || self.world != world() {
            return None;
        }
        Some(born(self.pid).is_some_and(|born| born == self.born))
    }

    /// One that lived in another world, or never.
    #[cfg(test)]
    pub fn elsewhere(self) -> Self {
        Self {
            world: "another boot".to_owned(),
            ..self
        }
    }

    /// One of this world that is no more.
    #[cfg(test)]
    pub fn dead(self) -> Self {
        Self {
            born: "1".to_owned(),
            ..self
        }
    }
}

fn read_text(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

/// This machine's name.
pub(crate) fn hostname() -> String {
    read_text("/proc/sys/kernel/hostname").unwrap_or_else(|| "an unknown machine".to_owned())
}

fn world() -> String {
    let boot = read_text("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let pids = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    match boot.is_empty() {
        true => String::new(),
        false => format!("{boot} {}", pids.display()),
    }
}

/// The fields of a process's `stat` from its state on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = read_text(&format!("/proc/{pid}/stat"))?;
    // The name before may hold anything, a closing bracket too.
    let fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some(fields.map(str::to_owned).collect())
}

/// When a process was started; `None` if there is none, or if it has ended and waits for its parent.
fn born(pid: u32) -> Option<String> {
    let fields = stat(pid)?;
    match fields.first()?.as_str() {
        "Z" | "X" => None,
        _ => fields.get(19).cloned(),
    }
}

/// Whether a process is stopped, as by SIGSTOP.
pub(crate) fn is_stopped(pid: u32) -> bool {
    let state = stat(pid).and_then(|fields| fields.first().cloned());
    matches!(state.as_deref(), Some("T" | "t"))
}

/// The time of day in UTC, to the second: `2026-01-31 12:00:00 UTC`.
pub(crate) fn now() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to date: H. Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_is_a_date() {
        let text = now();
        assert!(text.starts_with("20") && text.ends_with(" UTC"), "{text}");
        assert_eq!(text.len(), "2026-01-31 12:00:00 UTC".len());
    }

    #[test]
    fn the_living_are_told_from_the_dead() {
        let this = Identity::this();
        assert_eq!(this.lives(), Some(true));
        assert_eq!(this.clone().dead().lives(), Some(false));
        assert_eq!(this.elsewhere().lives(), None);
        assert!(!is_stopped(std::process::id()));
    }
}
