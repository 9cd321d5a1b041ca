//! How many files the system lets a process have open, and what that allows a run.
//!
//! Sockets, videos, crops and temporary files add up. A row whose file cannot be opened fails, so no more rows are let in
//! than there are descriptors for: the source waits instead.

use clipsieve_engine::plan::Plan;

use crate::words::counted;

/// What a process has open before the first row: libraries, tables, the ledger, event queues, connections.
const BASE: u64 = 64;
/// What an item has open at most: the video, its download in several ranges, the crop and its upload.
const PER_ITEM: u64 = 8;

/// Raises the limit as far as the system allows, since the usual one is low only for programs that use `select`, and lowers
/// `limits.items` to what it allows. Returns what was lowered, in words.
///
/// # Errors
/// Not even one item has room.
pub fn fit(plan: &mut Plan) -> Result<Option<String>, String> {
    fit_to(plan, raise())
}

fn raise() -> u64 {
    // SAFETY: the structure is plain data; both calls fail or do what they say.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return u64::MAX;
        }
        let soft = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
            0 => limit.rlim_max,
            _ => soft,
        }
    }
}

fn fit_to(plan: &mut Plan, files: u64) -> Result<Option<String>, String> {
    let workers = plan.workers.max(1) as u64;
    let room = files.saturating_sub(BASE) / PER_ITEM / workers;
    let items = plan.limits.items;
    if room >= items as u64 {
        return Ok(None);
    }
    let advice = "raise that (`ulimit -n`, `LimitNOFILE=`)";
    if room == 0 {
        return Err(format!(
            "a process may have {files} files open here, and needs {} for one item in each worker; {advice}",
            BASE + PER_ITEM * workers
        ));
    }
    plan.limits.items = usize::try_from(room).unwrap_or(items);
    Ok(Some(format!(
        "a process may have {files} files open here, which is enough for {} in flight instead of {items}; {advice} for more",
        counted(room, "item")
    )))
}
