#!/usr/bin/env bash
# Makes a machine ready to build clipsieve: the compiler, FFmpeg's headers (apt) and libtorch (a per-user cache).
# Does only what is missing, says what it does, and can be run again at any time.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- what has to be there before us
have cargo || fail "no Rust toolchain: install one (rustup, stable 1.91 or newer) and make sure \`cargo\` is on PATH"

# --- system packages
needed=()
have cc || needed+=(build-essential)
have pkg-config || needed+=(pkg-config)
# The certificates that stores behind https are judged by.
[ -e /etc/ssl/certs/ca-certificates.crt ] || needed+=(ca-certificates)
if ! have clang || ! compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null; then needed+=(clang libclang-dev); fi
for library in avcodec avformat avutil swscale swresample avfilter avdevice; do
  if ! have pkg-config || ! pkg-config --exists "lib$library"; then needed+=("lib$library-dev"); fi
done
if [ -z "${LIBTORCH:-}" ]; then
  have python3 || needed+=(python3)
  python3 -m pip --version >/dev/null 2>&1 || needed+=(python3-pip)
fi
if [ ${#needed[@]} -gt 0 ]; then
  have apt-get || fail "these packages are missing and there is no apt-get to install them: ${needed[*]}"
  sudo=()
  if [ "$(id -u)" != 0 ]; then
    have sudo || fail "these packages are missing; run as root: apt-get install ${needed[*]}"
    sudo=(sudo)
  fi
  say "installing with apt: ${needed[*]}"
  "${sudo[@]}" apt-get -o Acquire::Retries=3 update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${needed[@]}" >/dev/null
fi

# --- libtorch: third_party/libtorch is a link, so that every checkout of a user shares one copy at one path
if [ -n "${LIBTORCH:-}" ]; then
  [ -e "$LIBTORCH/lib/libtorch_cpu.so" ] || fail "LIBTORCH=$LIBTORCH holds no lib/libtorch_cpu.so; unset it to use the download"
  libtorch=$(cd "$LIBTORCH" && pwd)
else
  [ "$(uname -sm)" = "Linux x86_64" ] || fail "the libtorch download is for Linux x86-64; on $(uname -sm) install libtorch 2.11.0 and set LIBTORCH"
  libtorch="${XDG_CACHE_HOME:-$HOME/.cache}/clipsieve/libtorch-2.11.0-cpu"
  python3 scripts/get_libtorch.py "$libtorch"
fi
mkdir -p third_party
[ "$(readlink third_party/libtorch || true)" = "$libtorch" ] || ln -sfn "$libtorch" third_party/libtorch
