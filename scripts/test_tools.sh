#!/usr/bin/env bash
# Installs what some tests judge by and the program does not need: Python packages, into a per-user cache. A test whose
# tool is missing says so and is skipped, so this is for CI and for whoever wants all of them. Can be run again at any time.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=$(sha256sum scripts/test-requirements.txt | cut -c1-16)
target="${XDG_CACHE_HOME:-$HOME/.cache}/clipsieve/test-python-$wanted"
if [ ! -e "$target/.complete" ]; then
  printf 'test tools: installing Python packages into %s\n' "$target"
  rm -rf "$target"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$target" \
    -r scripts/test-requirements.txt
  touch "$target/.complete"
fi
mkdir -p third_party
ln -sfn "$target" third_party/test-python
