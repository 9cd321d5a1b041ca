"""Decodes 48 uniform frames to 256x256, with clipsieve and with what Python people use, side by side.

    python decode.py [--threads 1] [--rounds 3] [--only TOOL,…] FILE…

Every measurement is a process of its own, and the tools take turns, so that a busy machine is unkind to all of them alike. Printed are
the least wall time, the least CPU time and the memory. `--threads 0` leaves the number of threads to each tool.

clipsieve is `target/release/examples/decode_bench` (`cargo build --release -p clipsieve-operators --example decode_bench`).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

FRAMES, SHORT, CROP = 48, 292, 256
ROOT = Path(__file__).resolve().parents[2]


def uniform(available: int) -> list[int]:
    return [step * (available - 1) // (FRAMES - 1) for step in range(FRAMES)]


def size(width: int, height: int) -> tuple[int, int]:
    """Width and height with a short side of SHORT."""
    if width < height:
        return SHORT, SHORT * height // width
    return SHORT * width // height, SHORT


def centre(frames):
    top, left = (frames.shape[1] - CROP) // 2, (frames.shape[2] - CROP) // 2
    return frames[:, top : top + CROP, left : left + CROP]


def with_decord(path: str, threads: int):
    import decord

    probe = decord.VideoReader(path, num_threads=threads)
    height, width, _ = probe[0].shape
    del probe
    width, height = size(width, height)
    reader = decord.VideoReader(path, width=width, height=height, num_threads=threads)
    return centre(reader.get_batch(uniform(len(reader))).asnumpy())


def with_torchcodec(path: str, threads: int):
    import torch
    from torchcodec.decoders import VideoDecoder

    if threads:
        torch.set_num_threads(threads)
    decoder = VideoDecoder(path, dimension_order="NCHW", num_ffmpeg_threads=threads)
    frames = decoder.get_frames_at(uniform(len(decoder))).data
    width, height = size(frames.shape[3], frames.shape[2])
    resized = torch.nn.functional.interpolate(frames, size=(height, width), mode="bilinear", antialias=True)
    return centre(resized.permute(0, 2, 3, 1).numpy())


def with_pyav(path: str, threads: int):
    import av
    import numpy

    with av.open(path) as container:
        packets = sum(packet.size > 0 for packet in container.demux(video=0))
    wanted, frames = set(uniform(packets)), []
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        last = None
        for number, frame in enumerate(container.decode(stream)):
            last = frame
            if number in wanted:
                width, height = size(frame.width, frame.height)
                frames.append(frame.to_ndarray(width=width, height=height, format="rgb24", interpolation="BILINEAR"))
    while len(frames) < FRAMES:
        frames.append(frames[-1])
    return centre(numpy.stack(frames))


def with_opencv(path: str, threads: int):
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = f"threads;{threads}" if threads else "threads;auto"
    import cv2
    import numpy

    if threads:
        cv2.setNumThreads(threads)
    capture = cv2.VideoCapture(path)
    available = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted, frames, number = set(uniform(available)), [], 0
    while capture.grab():
        if number in wanted:
            _, frame = capture.retrieve()
            width, height = size(frame.shape[1], frame.shape[0])
            frames.append(cv2.cvtColor(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB))
        number += 1
    while len(frames) < FRAMES:
        frames.append(frames[-1])
    return centre(numpy.stack(frames))


TOOLS = {"decord": with_decord, "torchcodec": with_torchcodec, "pyav": with_pyav, "opencv": with_opencv}


def child(tool: str, path: str, threads: int) -> None:
    """Imports first, for start-up is not what is measured."""
    {"decord": lambda: __import__("decord"), "torchcodec": lambda: __import__("torchcodec.decoders"),
     "pyav": lambda: __import__("av"), "opencv": lambda: __import__("cv2")}[tool]()
    before, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    frames = TOOLS[tool](path, threads)
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_SELF)
    assert frames.shape == (FRAMES, CROP, CROP, 3), frames.shape
    json.dump(
        {
            "wall": wall,
            "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "memory": after.ru_maxrss / 1024,
        },
        sys.stdout,
    )


def clipsieve(path: str, threads: int) -> dict:
    bench = ROOT / "target/release/examples/decode_bench"
    out = subprocess.run([bench, "--json", "--threads", str(threads), path], capture_output=True, text=True, timeout=900)
    return json.loads(out.stdout)


def measure(tool: str, path: str, threads: int) -> dict | None:
    try:
        if tool == "clipsieve":
            return clipsieve(path, threads)
        command = [sys.executable, __file__, "--child", tool, "--threads", str(threads), path]
        # PyPI's torchcodec links libraries of CUDA also where there is no GPU.
        libraries = Path(sysconfig.get_path("purelib")).glob("nvidia/*/lib")
        environment = os.environ | {"LD_LIBRARY_PATH": ":".join(map(str, libraries))}
        out = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
        return json.loads(out.stdout[out.stdout.index("{") :])
    except (ValueError, subprocess.TimeoutExpired):
        return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="clipsieve,decord,torchcodec,pyav,opencv")
    parser.add_argument("--child")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    if options.child:
        return child(options.child, options.files[0], options.threads)
    tools = options.only.split(",")
    print(f"{'file':28} {'tool':11} {'wall s':>8} {'CPU s':>8} {'MB':>6} {'wall : ours':>11} {'CPU : ours':>11}")
    for path in options.files:
        best: dict[str, dict] = {}
        for _ in range(options.rounds):
            for tool in tools:
                found = measure(tool, path, options.threads)
                if found is None:
                    continue
                held = best.setdefault(tool, found)
                held["wall"], held["cpu"] = min(held["wall"], found["wall"]), min(held["cpu"], found["cpu"])
        ours = best.get("clipsieve")
        for tool in tools:
            found = best.get(tool)
            if found is None:
                print(f"{Path(path).name:28} {tool:11} fails")
                continue
            ratios = [f"{found[key] / ours[key]:10.2f}x" if ours else "" for key in ("wall", "cpu")]
            print(
                f"{Path(path).name:28} {tool:11} {found['wall']:8.3f} {found['cpu']:8.3f} {found['memory']:6.0f} "
                f"{ratios[0]:>11} {ratios[1]:>11}",
                flush=True,
            )


main()
