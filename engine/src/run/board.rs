//! What a process shows to whoever watches over it, and what it is told: a page of memory that both can see.
//!
//! The process writes a heartbeat and what its executors are working on; a watcher reads both even after it was killed, since
//! the page belongs to neither of them alone. The watcher writes what it asks for. All of it is a few atomics, so a call
//! costs two stores more than without.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Calls that can be seen at once; more than any process has threads.
const SLOTS: usize = 1024;
/// Bits of a slot that hold the stage's rank; the rest hold the row, counted from 1.
const RANK_BITS: u32 = 12;

#[repr(C)]
struct Page {
    asked: AtomicU32,
    beats: AtomicU64,
    next: AtomicU64,
    slots: [AtomicU64; SLOTS],
}

/// What a run is asked for from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// To go on.
    GoOn = 0,
    /// To take no further row, finish what is in flight, commit it and end.
    Finish = 1,
    /// To commit what is done and end.
    Stop = 2,
}

/// The page.
pub struct Board {
    page: *mut Page,
}

// SAFETY: the page is mapped as long as the board is there, and holds nothing but atomics.
unsafe impl Send for Board {}
// SAFETY: as above.
unsafe impl Sync for Board {}

impl Board {
    /// A board of this process alone.
    ///
    /// # Errors
    /// There is no memory.
    pub fn private() -> io::Result<Self> {
        Self::map(-1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS)
    }

    /// A board to be shared with a process that is handed the descriptor.
    ///
    /// # Errors
    /// There is no memory.
    pub fn shared() -> io::Result<(Self, OwnedFd)> {
        // SAFETY: the name is a constant; the descriptor is taken over at once.
        let file = unsafe {
            let fd = libc::memfd_create(c"clipsieve-board".as_ptr(), libc::MFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            File::from_raw_fd(fd)
        };
        file.set_len(size_of::<Page>() as u64)?;
        let board = Self::map(file.as_raw_fd(), libc::MAP_SHARED)?;
        Ok((board, file.into()))
    }

    /// The board behind a descriptor of [`Board::shared`].
    ///
    /// # Errors
    /// It is none.
    pub fn attach(fd: OwnedFd) -> io::Result<Self> {
        let file = File::from(fd);
        if file.metadata()?.len() != size_of::<Page>() as u64 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Self::map(file.as_raw_fd(), libc::MAP_SHARED)
    }

    fn map(fd: i32, flags: i32) -> io::Result<Self> {
        // SAFETY: a new mapping of the page's size, unmapped on drop. Fresh pages are zero, which is a page at rest.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Page>(),
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                fd,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { page: page.cast() })
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped until drop, aligned as mappings are, and all zero is valid.
        unsafe { &*self.page }
    }

    /// Asks for something; what was asked for before and is more urgent stays.
    pub fn ask(&self, what: Asked) {
        self.page().asked.fetch_max(what as u32, Ordering::SeqCst);
    }

    pub(super) fn asked(&self) -> Asked {
        match self.page().asked.load(Ordering::SeqCst) {
            0 => Asked::GoOn,
            1 => Asked::Finish,
            _ => Asked::Stop,
        }
    }

    pub(super) fn beat(&self) {
        self.page().beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Goes up several times a second, as long as the process lives.
    pub fn beats(&self) -> u64 {
        self.page().beats.load(Ordering::Relaxed)
    }

    /// Shows that a stage works on a row, until the mark is dropped.
    pub(super) fn mark(self: &Arc<Self>, row: u64, rank: usize) -> Mark {
        let word = ((row + 1) << RANK_BITS) | (rank as u64 & ((1 << RANK_BITS) - 1));
        let page = self.page();
        let first = page.next.fetch_add(1, Ordering::Relaxed) as usize;
        for step in 0..SLOTS {
            let slot = (first + step) % SLOTS;
            let free =
                page.slots[slot].compare_exchange(0, word, Ordering::Relaxed, Ordering::Relaxed);
            if free.is_ok() {
                return Mark(Some((Arc::clone(self), slot)));
            }
        }
        // More calls than slots: this one is not seen.
        Mark(None)
    }

    /// The rows that are being worked on and the ranks of the stages in the plan's order, sorted.
    pub fn marks(&self) -> Vec<(u64, usize)> {
        let words = self.page().slots.iter();
        let words = words.map(|slot| slot.load(Ordering::Relaxed));
        let mut marks: Vec<(u64, usize)> = words
            .filter(|word| *word != 0)
            .map(|word| {
                let rank = word & ((1 << RANK_BITS) - 1);
                ((word >> RANK_BITS) - 1, rank as usize)
            })
            .collect();
        marks.sort_unstable();
        marks
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: mapped by us with this size, and nobody has a reference any more.
        unsafe { libc::munmap(self.page.cast(), size_of::<Page>()) };
    }
}

/// Shows that a stage works on a row.
pub(super) struct Mark(Option<(Arc<Board>, usize)>);

impl Drop for Mark {
    fn drop(&mut self) {
        if let Some((board, slot)) = &self.0 {
            board.page().slots[*slot].store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_one_writes_the_other_reads() {
        let (watcher, fd) = Board::shared().unwrap();
        let process = Arc::new(Board::attach(fd).unwrap());
        let first = process.mark(0, 3);
        let second = process.mark(1 << 40, 1);
        assert_eq!(watcher.marks(), [(0, 3), (1 << 40, 1)]);
        drop(first);
        assert_eq!(watcher.marks(), [(1 << 40, 1)]);
        drop(second);
        assert!(watcher.marks().is_empty());
        process.beat();
        assert_eq!(watcher.beats(), 1);
        watcher.ask(Asked::Stop);
        watcher.ask(Asked::Finish);
        assert_eq!(process.asked(), Asked::Stop);
    }

    #[test]
    fn more_marks_than_slots_are_no_harm() {
        let board = Arc::new(Board::private().unwrap());
        let marks: Vec<_> = (0..SLOTS as u64 + 5)
            .map(|row| board.mark(row, 0))
            .collect();
        assert_eq!(board.marks().len(), SLOTS);
        drop(marks);
        assert!(board.marks().is_empty());
    }
}
