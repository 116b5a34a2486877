#!/usr/bin/env bash
# The layout of every C++ source by the repository's .clang-format: `format.sh` changes files, `format.sh --check` only tells.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(-i)
[ "${1-}" = --check ] && mode=(--dry-run -Werror)
folders=()
for folder in src tests bench fuzz; do
  [ -d $folder ] && folders+=($folder)
done
find "${folders[@]}" -name testdata -prune -o \( -name '*.h' -o -name '*.cc' \) -print0 |
  xargs -0 -r -n 20 -P 2 clang-format-19 "${mode[@]}"
