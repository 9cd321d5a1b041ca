//! A job under torment: its files, its processes, its rows.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

/// Tells this test's program that it is to be clipsieve.
pub const PROGRAM: &str = "CLIPSIEVE_CHAOS_PROGRAM";

/// The bounds of a job.
const LIMITS: &str = "items: 8, cpu_threads: 4";

pub struct Job {
    pub folder: tempfile::TempDir,
    pub arguments: Vec<String>,
    /// Where the table goes, relative to the folder.
    pub table: PathBuf,
}

impl Job {
    /// A job over these rows, each worked on for this long.
    pub fn new(rows: impl IntoIterator<Item = Json>, work: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let lines: Vec<String> = rows.into_iter().map(|row| row.to_string()).collect();
        std::fs::write(folder.path().join("rows.jsonl"), lines.join("\n")).expect("rows");
        let pipeline = format!(
            "name: chaos\n\
             params:\n  output: {{ type: uri, default: out.jsonl }}\n\
             limits: {{ {LIMITS}, item_timeout: 20s }}\n\
             stages:\n  \
               videos: {{ op: read_table, with: {{ uri: rows.jsonl }} }}\n  \
               toiled: {{ op: toil, from: videos, timeout: 2s, with: {{ work: {work} }} }}\n  \
               result: {{ op: aggregate, from: toiled }}\n  \
               table: {{ op: write_table, from: result, with: {{ uri: \"${{output}}\" }} }}\n"
        );
        std::fs::write(folder.path().join("chaos.yaml"), pipeline).expect("a pipeline");
        Self {
            folder,
            arguments: ["run", "chaos.yaml", "--progress", "none"]
                .map(str::to_owned)
                .to_vec(),
            table: "out.jsonl".into(),
        }
    }

    /// The same with these bounds.
    pub fn with_limits(self, limits: &str) -> Self {
        let path = self.path("chaos.yaml");
        let text = std::fs::read_to_string(&path).expect("a pipeline");
        let text = text.replace(LIMITS, limits);
        assert!(text.contains(limits), "the bounds are somewhere else");
        std::fs::write(&path, text).expect("a pipeline");
        self
    }

    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let temporary = self.path("tmp");
        std::fs::create_dir_all(&temporary).expect("a folder");
        command
            .args(&self.arguments)
            .env(PROGRAM, "1")
            .env("TMPDIR", temporary)
            .env_remove("CLIPSIEVE_LOG")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub fn start(&self) -> Running {
        Running::of(self.command())
    }

    /// Runs to the end, and asserts the exit code. Returns stderr.
    pub fn expect(&self, code: i32) -> String {
        self.start().expect(code)
    }

    /// The rows of the table by `video_id`, without what differs from run to run.
    pub fn rows(&self) -> BTreeMap<u64, Json> {
        let path = self.folder.path().join(&self.table);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut rows = BTreeMap::new();
        for line in text.lines() {
            let mut row: Json = serde_json::from_str(line).expect("a row is JSON");
            let info = row["result_info"].as_object_mut().expect("result_info");
            for key in ["start_time", "end_time", "avg_cost"] {
                info.remove(key);
            }
            let number = row["video_id"].as_u64().expect("a number");
            assert!(
                rows.insert(number, row).is_none(),
                "row {number} is there twice"
            );
        }
        rows
    }

    /// How many bytes of rows are committed and not yet a table.
    pub fn partial_bytes(&self) -> u64 {
        let partial = self.path(&format!("{}.partial", self.table.display()));
        std::fs::metadata(partial).map_or(0, |about| about.len())
    }

    /// Nothing is left beside the table and what the job was given.
    pub fn is_clean(&self) {
        let names = |folder: &Path| -> Vec<String> {
            let entries = std::fs::read_dir(folder).expect("a folder");
            let mut names: Vec<_> = entries
                .map(|entry| {
                    entry
                        .expect("an entry")
                        .file_name()
                        .to_string_lossy()
                        .into_owned()
                })
                .collect();
            names.sort();
            names
        };
        assert_eq!(
            names(self.folder.path()),
            ["chaos.yaml", "out.jsonl", "rows.jsonl", "tmp"]
        );
        assert_eq!(names(&self.path("tmp")), [""; 0]);
    }
}

/// A job that goes on; killed on drop.
pub struct Running {
    child: Child,
    /// What it says, which is looked at while it goes on: in a file, so that nobody has to read it for it to go on.
    says: tempfile::NamedTempFile,
}

impl Running {
    pub fn of(mut command: Command) -> Self {
        let says = tempfile::NamedTempFile::new().expect("a file");
        let stderr = says.as_file().try_clone().expect("a descriptor");
        let child = command.stdout(Stdio::null()).stderr(stderr).spawn();
        Self {
            child: child.expect("the program starts"),
            says,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes that the supervisor has now.
    pub fn members(&self) -> Vec<i32> {
        let pid = self.pid();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }

    pub fn signal(&self, signal: i32) {
        send(self.pid().cast_signed(), signal);
    }

    pub fn is_over(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("it can be waited for")
            .is_some()
    }

    /// What it has said so far.
    pub fn stderr(&self) -> String {
        let mut bytes = Vec::new();
        let mut file = self.says.reopen().expect("the file is there");
        file.read_to_end(&mut bytes).expect("it can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for its end.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("it can be waited for");
        (status, self.stderr())
    }

    pub fn expect(self, code: i32) -> String {
        let (status, stderr) = self.end();
        assert_eq!(status.code(), Some(code), "{status:?}\n{stderr}");
        stderr
    }

    /// Waits for something to come true.
    pub fn until(&mut self, what: &str, true_yet: impl FnMut(&Running) -> bool) {
        let came = self.sees(what, true_yet);
        assert!(came, "the run ended before {what}\n{}", self.stderr());
    }

    /// Waits for something to come true; `false` if the run ends before.
    pub fn sees(&mut self, what: &str, mut true_yet: impl FnMut(&Running) -> bool) -> bool {
        let until = Instant::now() + Duration::from_secs(60);
        while !true_yet(self) {
            if self.is_over() {
                return false;
            }
            assert!(
                Instant::now() < until,
                "{what} never came\n{}",
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails when it is over.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn send(pid: i32, signal: i32) -> bool {
    // SAFETY: sends a signal to a process that this test started.
    unsafe { libc::kill(pid, signal) == 0 }
}

pub fn row(number: u64) -> Json {
    json!({ "video_id": number, "oss_bucket": "", "video_path": "none.mp4", "video_tag": "", "info": {} })
}

pub fn poisoned(number: u64, poison: &str) -> Json {
    let mut row = row(number);
    row["info"]["poison"] = poison.into();
    row
}

/// A small generator of numbers that look random: a seed gives the same torment again (SplitMix64).
pub struct Seeded(pub u64);

impl Seeded {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }
}
