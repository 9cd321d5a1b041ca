"""Makes the long files of the decode benchmark: a clip encoded anew, and its packets over and over again.

    python make_files.py CLIP FOLDER

makes FOLDER/{h264,hevc,vp9,av1}-10min.mp4 (720p, or the clip's size if that is less), FOLDER/h264-60min-1080p.mp4, and of each
the clip once (…-once.mp4). Files that are there already are left alone. Needs PyAV alone.
"""

import sys
from pathlib import Path

import av

ENCODERS = {
    "h264": ("libx264", {"preset": "veryfast", "crf": "23"}),
    "hevc": ("libx265", {"preset": "ultrafast", "crf": "28", "x265-params": "log-level=none:bframes=4:b-adapt=0:b-pyramid=1"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "7", "crf": "34", "b": "0", "row-mt": "1", "g": "128"}),
    "av1": ("libsvtav1", {"preset": "11", "crf": "38", "g": "128"}),
}


def encode(clip: Path, out: Path, codec: str, height: int) -> None:
    name, options = ENCODERS[codec]
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        video = source.streams.video[0]
        video.thread_type = "AUTO"
        height = min(height, 1080) & ~1
        width = round(video.width * height / video.height / 2) * 2
        stream = target.add_stream(name, rate=video.average_rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        number = 0
        for frame in source.decode(video):
            frame = frame.reformat(width, height, "yuv420p")
            frame.pts, frame.time_base = number, 1 / video.average_rate
            frame.pict_type = 0
            number += 1
            target.mux(stream.encode(frame))
        target.mux(stream.encode())


def repeat(once: Path, out: Path, seconds: float) -> None:
    with av.open(str(once)) as source:
        length = source.streams.video[0].duration
        times = max(1, round(seconds / float(length * source.streams.video[0].time_base)))
    with av.open(str(out), "w") as target:
        stream = None
        for turn in range(times):
            with av.open(str(once)) as source:
                video = source.streams.video[0]
                if stream is None:
                    stream = target.add_stream_from_template(video, opaque=True)
                for packet in source.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts += turn * length
                    packet.dts += turn * length
                    packet.stream = stream
                    target.mux(packet)


def main() -> None:
    clip, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for codec, height, minutes, label in [
        ("h264", 720, 10, "10min"),
        ("hevc", 720, 10, "10min"),
        ("vp9", 720, 10, "10min"),
        ("av1", 720, 10, "10min"),
        ("h264", 1080, 60, "60min-1080p"),
    ]:
        out = folder / f"{codec}-{label}.mp4"
        once = folder / f"{codec}-{label}-once.mp4"
        for path, make in [(once, lambda at: encode(clip, at, codec, height)), (out, lambda at: repeat(once, at, minutes * 60))]:
            if not path.exists():
                part = path.with_suffix(".part.mp4")
                make(part)
                part.rename(path)
        print(out, f"{out.stat().st_size / 1e6:.0f} MB", flush=True)


main()
