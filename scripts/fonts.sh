#!/usr/bin/env bash
# Installs the fonts (SIL Open Font Licence and the like) that `clipsieve-training regions` writes subtitles, logos and
# watermarks with. Only training needs them.
set -euo pipefail
fonts=(fonts-dejavu fonts-liberation2 fonts-freefont-ttf fonts-noto-core fonts-noto-cjk)
sudo=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "fonts: run as root: apt-get install ${fonts[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
echo "fonts: installing with apt: ${fonts[*]}"
"${sudo[@]}" apt-get -o Acquire::Retries=3 update -qq
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${fonts[@]}" >/dev/null
