"""The job of `pipelines/stage2.yaml` as people write it in Python, to compare clipsieve with.

    python make_models.py MODELS
    python stage2.py all --videos FOLDER --models MODELS
    python stage2.py plain|shared --videos FOLDER --models MODELS --rows CLIPSIEVE.jsonl [--workers 2] [--torch-threads 1]

MODELS holds a model folder for each of `vfx`, `simcam`, `rotation` and `low_quality`: made ones (`make_models.py`), or `models/weights`.

`all` runs clipsieve (`target/release/clipsieve`, from its start to its end) and then both builds with several numbers of threads, each as
a process of its own, and prints a table of the best of each.

Threads fetch videos into a task queue, worker threads take them from there, a pool of six instances of each of the four models
serves the workers, and a result queue is written out.

`plain`  as it is usually written: the detector's frames, and then every filter and every window, are decoded by a decord reader
         of its own, from the file that was cropped and encoded for the upload.
`shared` by someone who has thought about it: one decode of the original gives the frames of all filters and windows.

Both look regions up in the rows of clipsieve (`--rows`) instead of detecting them: they only decode the detector's frames. That, and the
crop's rectangle, is for nothing, in Python's favour. The crop is encoded with PyAV: libx264, veryfast, crf 18, sound copied, one thread.

Prints wall and CPU seconds and the peak of memory, from the first video on (models are loaded before), and how far its
probabilities are from those of clipsieve.
"""

import argparse
import json
import os
import queue
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import av
import decord
import numpy
import torch
from safetensors.torch import load_file
from transformers import VJEPA2Config, VJEPA2ForVideoClassification, VJEPA2Model

FRAMES_OF_DETECTOR, LENGTH, STRIDE, INSTANCES = 16, 4.0, 3.0, 6
FILTERS = ["vfx", "simcam", "rotation", "low_quality"]
MEAN, STD = [torch.tensor(values).view(1, 3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]


def uniform(available: int, wanted: int) -> list[int]:
    return [step * (available - 1) // max(wanted - 1, 1) for step in range(wanted)]


def windows(times: list[float], duration: float) -> list[tuple[int, int]]:
    """First and last-plus-one frame of each window."""
    found, start = [], 0.0
    while True:
        inside = [at for at, time in enumerate(times) if start <= time < start + LENGTH]
        first, last = (inside[0], inside[-1] + 1) if inside else (len(times) - 1, len(times))
        found.append((first, last))
        if start + LENGTH >= duration or start + STRIDE >= duration:
            return found
        start += STRIDE


class Mean(torch.nn.Module):
    """The mean over a backbone's tokens, then a linear layer: how clips are commonly classified."""

    def __init__(self, config: VJEPA2Config):
        super().__init__()
        self.vjepa2, self.head = VJEPA2Model(config), torch.nn.ModuleDict({"linear": torch.nn.Linear(config.hidden_size, config.num_labels)})

    def forward(self, pixel_values_videos: torch.Tensor) -> torch.Tensor:
        tokens = self.vjepa2(pixel_values_videos=pixel_values_videos, skip_predictor=True).last_hidden_state
        return self.head["linear"](tokens.mean(1))


class Attentive(VJEPA2ForVideoClassification):
    def forward(self, pixel_values_videos: torch.Tensor) -> torch.Tensor:
        return super().forward(pixel_values_videos=pixel_values_videos).logits


def load(folder: Path, config: dict) -> torch.nn.Module:
    names = ["crop_size", "patch_size", "tubelet_size", "frames_per_clip", "hidden_size", "num_attention_heads"]
    names += ["num_hidden_layers", "mlp_ratio", "layer_norm_eps", "qkv_bias", "num_pooler_layers"]
    # The predictor of the self-supervised training is not run; it is kept as small as the configuration allows.
    predictor = dict(pred_hidden_size=48, pred_num_attention_heads=4, pred_num_hidden_layers=1)
    sizes = {name: config[name] for name in names} | predictor
    kind = Mean if config["head"] == "linear" else Attentive
    model = kind(VJEPA2Config(**sizes, num_labels=len(config["id2label"]), attn_implementation="sdpa"))
    tensors = load_file(folder / "model.safetensors")
    if "backbone" in config:
        tensors |= {f"vjepa2.{name}": tensor for name, tensor in load_file(folder / config["backbone"]).items()}
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected and all(".predictor." in name for name in missing), (missing, unexpected)
    return model.eval()


class Models:
    """A pool of instances of each model."""

    def __init__(self, folder: Path):
        self.pools, self.frames, sides = {}, {}, set()
        for name in FILTERS:
            config = json.loads((folder / name / "config.json").read_text())
            self.pools[name] = queue.Queue()
            for _ in range(INSTANCES):
                self.pools[name].put(load(folder / name, config))
            self.frames[name] = config["preprocess"]["frames"]
            sides.add((config["preprocess"]["size"], config["preprocess"]["resize_short"]))
        ((self.side, self.short),) = sides

    def prepare(self, frames: numpy.ndarray) -> torch.Tensor:
        """[frames, height, width, 3] bytes to what a model takes."""
        short = self.short
        height, width = frames.shape[1:3]
        size = (short, short * width // height) if height <= width else (short * height // width, short)
        clip = torch.from_numpy(frames).permute(0, 3, 1, 2)
        clip = torch.nn.functional.interpolate(clip, size=size, mode="bilinear", antialias=True)
        top, left = (size[0] - self.side) // 2, (size[1] - self.side) // 2
        return clip[:, :, top : top + self.side, left : left + self.side]

    @torch.inference_mode()
    def judge(self, name: str, clip: torch.Tensor) -> list[float]:
        model = self.pools[name].get()
        try:
            pixels = (clip.float() / 255 - MEAN) / STD
            return model(pixels.unsqueeze(0)).softmax(-1)[0].tolist()
        finally:
            self.pools[name].put(model)


def encode_crop(path: str, box: list[int], out: str) -> None:
    """Decodes, crops, encodes; the sound is copied."""
    left, top, right, bottom = box
    with av.open(path) as source, av.open(out, "w") as target:
        video = source.streams.video[0]
        video.codec_context.thread_count = 1
        sound = source.streams.audio[0] if source.streams.audio else None
        stream = target.add_stream("libx264", rate=video.average_rate, options={"preset": "veryfast", "crf": "18", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = right - left, bottom - top, "yuv420p"
        stream.codec_context.time_base = video.time_base
        copied = target.add_stream_from_template(sound, opaque=True) if sound else None
        graph = av.filter.Graph()
        steps = [
            graph.add_buffer(template=video),
            graph.add("format", "yuv420p"),
            graph.add("crop", f"{right - left}:{bottom - top}:{left}:{top}:exact=1"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*steps).configure()
        for packet in source.demux([stream for stream in (video, sound) if stream]):
            if packet.stream is sound:
                if packet.dts is not None:
                    packet.stream = copied
                    target.mux(packet)
                continue
            for frame in packet.decode():
                graph.push(frame)
                cut = graph.pull()
                cut.pict_type = 0
                target.mux(stream.encode(cut))
        target.mux(stream.encode())


def plain(path: str, row: dict, models: Models, folder: Path) -> dict:
    """A reader for each filter and window."""
    reader = decord.VideoReader(path, num_threads=1)
    reader.get_batch(uniform(len(reader), FRAMES_OF_DETECTOR)).asnumpy()
    box = row["info"]["abnormal_region_crop"]["box"]
    if box:
        cropped = str(folder / "crop.mp4")
        encode_crop(path, box, cropped)
        path = cropped

    def judge(name: str, first: int, last: int | None, is_reversed: bool = False) -> list[float]:
        reader = decord.VideoReader(path, num_threads=1)
        indices = [first + at for at in uniform((last or len(reader)) - first, models.frames[name])]
        # Turned round afterwards: decord would seek anew for each frame before the last one.
        clip = models.prepare(reader.get_batch(indices).asnumpy())
        return models.judge(name, clip.flip(0) if is_reversed else clip)

    result = {f"{name}_filter": judge(name, 0, None) for name in ("vfx", "simcam", "rotation")}
    reader = decord.VideoReader(path, num_threads=1)
    stamps = reader.get_frame_timestamp(range(len(reader)))
    origin = stamps[0][0]
    spans = windows([float(begin - origin) for begin, _ in stamps], float(stamps[-1][1] - origin))
    for key, name in [("seg_simcam", "simcam"), ("seg_low_quality", "low_quality"), ("inverse_seg_simcam", "simcam")]:
        result[f"{key}_filter"] = [judge(name, *span, key.startswith("inverse")) for span in spans]
    return result


def shared(path: str, row: dict, models: Models, folder: Path) -> dict:
    """One decode for all samplers, another for the detector, another for the crop."""
    with av.open(path) as container:
        video = container.streams.video[0]
        stamps = sorted((packet.pts, packet.duration) for packet in container.demux(video) if packet.pts is not None)
        base = float(video.time_base)
    times = [(pts - stamps[0][0]) * base for pts, _ in stamps]
    duration = times[-1] + stamps[-1][1] * base
    reader = decord.VideoReader(path, num_threads=1)
    reader.get_batch(uniform(len(reader), FRAMES_OF_DETECTOR)).asnumpy()
    box = row["info"]["abnormal_region_crop"]["box"]
    if box:
        encode_crop(path, box, str(folder / "crop.mp4"))
    # The frames of the whole video for each filter, then those of each window.
    picks = [uniform(len(times), models.frames[name]) for name in ("vfx", "simcam", "rotation")]
    picks += [[first + at for at in uniform(last - first, models.frames["simcam"])] for first, last in windows(times, duration)]
    wanted, kept = {number for pick in picks for number in pick}, {}
    with av.open(path) as container:
        video = container.streams.video[0]
        video.codec_context.thread_count = 1
        for number, frame in enumerate(container.decode(video)):
            if number in wanted:
                pixels = frame.to_ndarray(format="rgb24")
                if box:
                    pixels = pixels[box[1] : box[3], box[0] : box[2]]
                kept[number] = models.prepare(numpy.ascontiguousarray(pixels[None]))[0]
    last = max(kept)
    clips = [torch.stack([kept.get(number, kept[last]) for number in pick]) for pick in picks]
    whole = dict(zip(("vfx", "simcam", "rotation"), clips))
    result = {f"{name}_filter": models.judge(name, clip) for name, clip in whole.items()}
    result["seg_simcam_filter"] = [models.judge("simcam", clip) for clip in clips[3:]]
    result["seg_low_quality_filter"] = [models.judge("low_quality", clip) for clip in clips[3:]]
    result["inverse_seg_simcam_filter"] = [models.judge("simcam", clip.flip(0)) for clip in clips[3:]]
    return result


def difference(result: dict, row: dict) -> float:
    """The largest difference of a probability from those of a row of clipsieve."""
    worst, info = 0.0, row["info"]
    keys = {"rotation_filter": "rotate_vertical_filter"}
    for key, found in result.items():
        entry = info[keys.get(key, key)]
        if isinstance(found[0], float):
            worst = max(worst, *(abs(a - b) for a, b in zip(found, entry["result"].values())))
            continue
        if len(found) != len(entry):
            return 1.0
        for at, probabilities in enumerate(found):
            said = next(value for name, value in entry[str(at)].items() if name != "duration")
            worst = max(worst, *(abs(a - b) for a, b in zip(probabilities, said["result"].values())))
    return worst


def peak_kb(pid: int) -> int:
    """The peaks of a process and of all that it started, added up."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = max((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), default=0)
    return own + sum(peak_kb(int(child)) for child in children)


def clipsieve(options, rows: Path) -> dict:
    root = Path(__file__).resolve().parents[2]
    command = [root / "target/release/clipsieve", "run", root / "pipelines/stage2.yaml", "--progress=none"]
    sets = {"input": options.videos, "output": rows, "crops": rows.parent / "crops"}
    sets |= {f"{name}_model": options.models / name for name in FILTERS}
    for key, value in sets.items():
        command += ["--set", f"{key}={value}"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak, ended = 0, 0
    while not ended:
        # What wait4 calls the peak is at least this process's own: it was forked from it.
        peak = max(peak, peak_kb(process.pid))
        time.sleep(0.05)
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    made = [json.loads(line) for line in open(rows)]
    return {
        "kind": "clipsieve",
        "videos": sum(row["result_info"]["succeed"] == "true" for row in made),
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": round(peak / 1024),
        "median_difference": 0.0,
    }


def compare(options) -> None:
    scratch = tempfile.TemporaryDirectory()
    rows = Path(scratch.name) / "rows.jsonl"
    best: dict[str, dict] = {}

    def note(setting: str, found: dict) -> None:
        print(setting, json.dumps(found), flush=True)
        if found["wall_seconds"] < best.get(found["kind"], found)["wall_seconds"] or found["kind"] not in best:
            best[found["kind"]] = found

    for round_ in range(options.rounds):
        note("default threads", clipsieve(options, rows))
        for kind in ("shared", "plain"):
            for workers, threads in [(1, 2), (2, 1), (3, 1)]:
                command = [sys.executable, __file__, kind, "--videos", options.videos, "--models", options.models]
                command += ["--rows", rows, "--workers", str(workers), "--torch-threads", str(threads)]
                out = subprocess.run(command, capture_output=True, text=True)
                if out.returncode:
                    sys.exit(out.stderr)
                note(f"{workers} workers, torch {threads}", json.loads(out.stdout.splitlines()[-1]))
    ours = best["clipsieve"]
    print(f"{'':10} {'videos':>6} {'wall s':>8} {'CPU s':>8} {'MB':>6} {'wall : ours':>12} {'CPU : ours':>11} {'MB : ours':>10}")
    for kind, found in best.items():
        ratios = [f"{found[key] / ours[key]:.2f}" for key in ("wall_seconds", "cpu_seconds", "peak_mb")]
        print(
            f"{kind:10} {found['videos']:6} {found['wall_seconds']:8.1f} {found['cpu_seconds']:8.1f} {found['peak_mb']:6} "
            f"{ratios[0]:>12} {ratios[1]:>11} {ratios[2]:>10}"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["all", "plain", "shared"])
    parser.add_argument("--videos", required=True)
    parser.add_argument("--models", required=True, type=Path)
    parser.add_argument("--rows")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--torch-threads", type=int, default=1)
    options = parser.parse_args()
    if options.kind == "all":
        return compare(options)
    torch.set_num_threads(options.torch_threads)
    rows = {row["video_id"]: row for row in map(json.loads, open(options.rows)) if row["result_info"]["succeed"] == "true"}
    models = Models(options.models)
    work = {"plain": plain, "shared": shared}[options.kind]
    tasks, results = queue.Queue(maxsize=8), queue.Queue()
    scratch = tempfile.TemporaryDirectory()
    videos = [path for path in sorted(Path(options.videos).iterdir()) if path.stem in rows]

    def fetch() -> None:
        for number, path in enumerate(videos):
            folder = Path(scratch.name) / str(number)
            folder.mkdir()
            tasks.put((path.stem, shutil.copy(path, folder), folder))
        for _ in range(options.workers):
            tasks.put(None)

    def worker() -> None:
        while (task := tasks.get()) is not None:
            name, path, folder = task
            try:
                results.put((name, work(path, rows[name], models, folder)))
            except Exception as error:
                results.put((name, error))
            shutil.rmtree(folder)

    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    threads = [threading.Thread(target=target, daemon=True) for target in [fetch] + [worker] * options.workers]
    for thread in threads:
        thread.start()
    worst, failed = {}, {}
    for _ in videos:
        name, result = results.get()
        if isinstance(result, Exception):
            failed[name] = str(result).splitlines()[0][:80]
        else:
            worst[name] = difference(result, rows[name])
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        json.dumps(
            {
                "kind": options.kind,
                "videos": len(videos),
                "failed": failed,
                "wall_seconds": round(wall, 2),
                "cpu_seconds": round(cpu, 2),
                "peak_mb": round(after.ru_maxrss / 1024),
                "median_difference": round(float(numpy.median(list(worst.values()))), 5),
                "worst": sorted(((round(value, 4), name) for name, value in worst.items()), reverse=True)[:4],
            }
        )
    )


if __name__ == "__main__":
    main()
    # decord's and torch's threads do not all end well.
    sys.stdout.flush()
    os._exit(0)
