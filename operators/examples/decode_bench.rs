//! How long it takes to decode frames of video files, with and without leaving out what they do not depend on.
//!
//! `cargo run --release -p clipsieve-operators --example decode_bench -- [--frames N] [--runs N] [--threads N] FILE…`
//! decodes uniform frames at resize_short 292, crop 256, and prints the best wall and CPU seconds of all runs. `--json` decodes one
//! file once, for `benches/peers/decode.py`.

use std::path::Path;
use std::time::{Duration, Instant};

use clipsieve_operators::media::{
    DecodeOptions, Decoded, Fit, Interrupt, MediaError, Request, Span, decode_with,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut frames, mut runs, mut threads, mut files) = (48, 3, 1, Vec::new());
    let mut is_json = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().unwrap_or_default().parse::<usize>();
        match argument.as_str() {
            "--frames" => frames = number()?,
            "--runs" => runs = number()?.max(1),
            "--threads" => threads = number()?,
            "--json" => is_json = true,
            _ => files.push(argument),
        }
    }
    if let (true, [file]) = (is_json, files.as_slice()) {
        return json(Path::new(file), frames, threads);
    }
    println!("file                            frames  skipped  passes   wall s    CPU s");
    for file in files {
        let path = Path::new(&file);
        for seek in [false, true] {
            let options = DecodeOptions { threads, seek };
            let (found, wall, cpu) = best(runs, || run(path, frames, &options))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            println!(
                "{:30} {:7} {:8} {:7} {:8.3} {:8.3}  {}",
                name.chars().take(30).collect::<String>(),
                found.frames_decoded,
                found.statistics.packets_skipped,
                found.statistics.passes,
                wall.as_secs_f64(),
                cpu.as_secs_f64(),
                if seek { "seek" } else { "full" },
            );
        }
    }
    Ok(())
}

/// Decodes once, and prints what `benches/peers/decode.py` wants to know.
fn json(path: &Path, frames: usize, threads: usize) -> Result<(), Box<dyn std::error::Error>> {
    let options = DecodeOptions {
        threads,
        seek: true,
    };
    let (found, wall, cpu) = best(1, || run(path, frames, &options))?;
    let memory = std::fs::read_to_string("/proc/self/status")?
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .unwrap_or(0.0)
        / 1024.0;
    let told = serde_json::json!({
        "wall": wall.as_secs_f64(), "cpu": cpu.as_secs_f64(), "memory": memory,
        "bytes": found.statistics.bytes_read, "skipped": found.statistics.packets_skipped,
    });
    println!("{told}");
    Ok(())
}

fn run(path: &Path, frames: usize, options: &DecodeOptions) -> Result<Decoded, MediaError> {
    let request = Request {
        span: Span::Video,
        frames,
        fit: Fit::ResizeShort {
            short: 292,
            crop: 256,
        },
    };
    decode_with(path, None, &[request], options, &Interrupt::never())
}

/// What `work` gave, and the shortest wall and CPU times it took.
fn best<T, E>(runs: usize, work: impl Fn() -> Result<T, E>) -> Result<(T, Duration, Duration), E> {
    let timed = || {
        let (wall, cpu) = (Instant::now(), cpu_time());
        work().map(|result| (result, wall.elapsed(), cpu_time().saturating_sub(cpu)))
    };
    let mut best = timed()?;
    for _ in 1..runs {
        let (result, wall, cpu) = timed()?;
        best = (result, best.1.min(wall), best.2.min(cpu));
    }
    Ok(best)
}

/// CPU time of the process so far.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock is one of the system's, and it writes one struct.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
