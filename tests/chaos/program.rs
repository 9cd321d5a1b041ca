//! The program that is tormented: clipsieve's command line with one operator more.

use std::fs::File;
use std::io::Write;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use clipsieve_engine::operator::{
    BuildContext, Call, Executor, Fallback, Operator, OperatorError, OperatorSpec, Outcome,
    ParamSpec, ParamType, Planner, PortKind, Ports, Row, Signature, Transform, Value,
};
use clipsieve_operators::kinds::{VERDICT, Verdict};
use serde_json::{Value as Json, json};

/// Works on a row for a while, and then does what its `info.poison` says.
pub static TOIL: OperatorSpec = OperatorSpec {
    name: "toil",
    summary: "works on a row for a while, and then does what the row says",
    doc: "For tests: `info.poison` may be `segfault`, `abort`, `spin`, `eat`, `exit` or `fail`.",
    example: "toiled: { op: toil, from: videos }",
    ports: Ports::Fixed(&[Signature {
        inputs: &[PortKind::RECORD],
        output: Some(VERDICT),
    }]),
    params: &[ParamSpec {
        name: "work",
        ty: ParamType::Duration,
        fallback: Fallback::Is("5ms"),
        unit: None,
        doc: "How long.",
    }],
    executor: Executor::Cpu,
    concurrency: 0,
    check: None,
    demand: None,
    planner: Planner::NONE,
    build,
};

fn build(context: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    Ok(Operator::Transform(Box::new(Toil {
        work: context.setting.params.duration("work"),
    })))
}

struct Toil {
    work: Duration,
}

/// A file that is told of every row that is begun, by all processes.
pub const BEGUN: &str = "CLIPSIEVE_CHAOS_BEGUN";

static LOG: LazyLock<Option<File>> = LazyLock::new(|| {
    let path = std::env::var_os(BEGUN)?;
    File::options().append(true).create(true).open(path).ok()
});

/// Milliseconds that every process of the machine counts alike.
pub fn now_millis() -> u64 {
    // SAFETY: the structure is plain data, and the call fills it or fails.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
        time.tv_sec.cast_unsigned() * 1000 + time.tv_nsec.cast_unsigned() / 1_000_000
    }
}

impl Transform for Toil {
    fn apply(&self, _: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError> {
        let row: &Row = inputs[0].get()?;
        if let Some(mut log) = LOG.as_ref() {
            let line = format!("{} {}\n", std::process::id(), now_millis());
            // In one piece; who is killed meanwhile has not begun.
            let _ = log.write_all(line.as_bytes());
        }
        // Waiting and not computing: the machine is shared, and what counts is that the time is lost at a death.
        std::thread::sleep(self.work);
        let poison = row.0.get("info").and_then(|info| info["poison"].as_str());
        if let Some(poison) = poison {
            take(poison)?;
        }
        let number = row.0.get("video_id").cloned().unwrap_or(Json::Null);
        let body = json!({ "result": { "number": number }, "label": "done" });
        Ok(Outcome::value(Verdict {
            key: "toil".to_owned(),
            body: body.as_object().cloned().unwrap_or_default(),
        }))
    }
}

fn take(poison: &str) -> Result<(), OperatorError> {
    match poison {
        "segfault" => {
            let nowhere = std::hint::black_box(8_usize) as *mut u64;
            // SAFETY: it is not; that is the point. Nothing is mapped there, and the process dies.
            unsafe { nowhere.write_volatile(1) };
            Ok(())
        }
        "abort" => std::process::abort(),
        "exit" => std::process::exit(0),
        "spin" => loop {
            std::hint::black_box(Instant::now());
            // One that never looks at its deadline, and leaves the machine to others.
            std::thread::sleep(Duration::from_millis(1));
        },
        "eat" => {
            let mut eaten: Vec<Vec<u8>> = Vec::new();
            loop {
                // Asked for and never touched: it is the address space that runs out, not the machine's memory.
                eaten.push(Vec::with_capacity(64 << 20));
                std::hint::black_box(&eaten);
            }
        }
        _ => Err(OperatorError::bad_input("the row says so")),
    }
}
