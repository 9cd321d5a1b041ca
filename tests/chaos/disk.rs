//! A disk that is full for a while.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::job::{Job, row};

/// A file system of its own in memory, of this size; unmounted on drop.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={bytes}"),
                "clipsieve-chaos",
            ])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(folder))
    }

    fn free_bytes(&self) -> u64 {
        let path = std::ffi::CString::new(self.path().as_os_str().as_encoded_bytes());
        let path = path.expect("a path");
        // SAFETY: the structure is plain data, and the call fills it or fails.
        unsafe {
            let mut about: libc::statvfs = std::mem::zeroed();
            assert_eq!(libc::statvfs(path.as_ptr(), &raw mut about), 0);
            about.f_bavail * about.f_bsize
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// The table and the ledger are on a disk that fills up: the run stands still, and goes on when there is room again.
pub fn a_full_disk_is_waited_out() {
    let Some(disk) = Small::mount(128 << 10) else {
        println!("  skipped: a small file system cannot be mounted here (that needs root)");
        return;
    };
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 64 << 10]).expect("ballast");
    let rows = 300;
    let set = format!("output={}/out.jsonl", disk.path().display());
    let mut job = Job::new((0..rows).map(row), "5ms").with(&["--set", &set]);
    job.table = disk.path().join("out.jsonl");
    let mut running = job.start();
    running.until("the disk is full", |_| disk.free_bytes() < 4096);
    std::thread::sleep(Duration::from_millis(700));
    assert!(!running.is_over(), "{}", running.expect(0));
    std::fs::remove_file(&ballast).expect("room is made");
    // Room for the rest: a table is larger than what it was full with.
    let more = Command::new("mount")
        .args(["-o", "remount,size=4m"])
        .arg(disk.path())
        .status();
    assert!(more.is_ok_and(|status| status.success()));
    let stderr = running.expect(0);
    assert!(stderr.contains("trying again"), "{stderr}");
    assert_eq!(job.rows().len() as u64, rows);
}
