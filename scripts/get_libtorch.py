#!/usr/bin/env python3
"""Builds a CPU libtorch folder out of the pinned PyPI wheels: get_libtorch.py DESTINATION

Only the headers and the five shared objects that CPU code needs are kept (about 0.5 GB). The wheels are
checked against the SHA-256 sums in libtorch-requirements.txt, and the folder appears under its final name
only when it is whole, so an interrupted run leaves nothing that looks finished.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
VERSION = "2.11.0"
PLATFORMS = ["manylinux_2_28_x86_64", "manylinux_2_25_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]
LIBRARIES = {"libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libcudart.so.13", "libcupti.so.13"}


def fail(message):
    sys.exit(f"setup: {message}")


def download(into):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--require-hashes", "--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp",
               "--dest", str(into), "--requirement", str(HERE / "libtorch-requirements.txt")]
    for platform in PLATFORMS:
        command += ["--platform", platform]
    if subprocess.run(command).returncode:
        fail("could not download libtorch with pip (see above). Check the network and `python3 -m pip --version`, "
             "or install libtorch 2.11.0 yourself and set LIBTORCH to its folder.")


def unpack(wheels, root):
    (root / "lib").mkdir(parents=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                path = pathlib.PurePosixPath(name)
                if name.startswith("torch/include/") and not name.endswith("/"):
                    target = root / path.relative_to("torch")
                elif path.name in LIBRARIES:
                    target = root / "lib" / path.name
                else:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, open(target, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    missing = LIBRARIES - {path.name for path in (root / "lib").iterdir()}
    if missing:
        fail(f"the wheels do not hold {', '.join(sorted(missing))}")


def link_shim(root):
    """The wheel's libtorch.so is an empty object that needs libtorch_cuda; ours needs the CPU half alone."""
    command = ["cc", "-shared", "-fPIC", "-x", "c", "/dev/null", "-o", str(root / "lib/libtorch.so"),
               "-Wl,-soname,libtorch.so", "-Wl,--no-as-needed", f"-L{root / 'lib'}", "-Wl,-rpath,$ORIGIN",
               "-Wl,--allow-shlib-undefined", "-l:libtorch_cpu.so", "-l:libc10.so"]
    if subprocess.run(command).returncode:
        fail("could not link libtorch.so with `cc`")
    (root / "build-version").write_text(f"{VERSION}+cpu\n")


def main():
    if len(sys.argv) != 2:
        fail("usage: get_libtorch.py DESTINATION")
    destination = pathlib.Path(sys.argv[1])
    if (destination / "build-version").exists():
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".libtorch-") as scratch:
        scratch = pathlib.Path(scratch)
        print(f"setup: downloading libtorch {VERSION} (CPU, about 540 MB, once per user)", flush=True)
        download(scratch / "wheels")
        print(f"setup: unpacking into {destination}", flush=True)
        unpack(sorted((scratch / "wheels").glob("*.whl")), scratch / "libtorch")
        link_shim(scratch / "libtorch")
        if destination.exists():
            shutil.rmtree(destination)
        (scratch / "libtorch").rename(destination)


main()
