#!/usr/bin/env bash
# Counts that do not flake, held against bench/thresholds.json: heap allocations, system calls and user-space
# instructions per delivery, per event and per visit of a reader, memory per idle reader. Counts are differences of runs
# of the release binary that differ in readers and events only, so that start-up is left out. bench/README.md says more.
#
#   Tests/counts.sh [--only PATTERN] [--write] [--list] [--keep DIRECTORY] [--jobs N]
#
# --only   the counts whose names match the regular expression      --list  the names
# --write  makes the thresholds anew from what is counted            --keep  keeps callgrind's files
# --jobs   runs side by side (default: as many as there are processors)
# FANOUT in the environment names another program than .build/release/fanout.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fanout=${FANOUT:-.build/release/fanout}
[ -x "$fanout" ] || { echo "counts: $fanout is missing: make build" >&2; exit 1; }
for tool in valgrind strace; do
    command -v "$tool" >/dev/null || { echo "counts: $tool is missing: scripts/install-dependencies test" >&2; exit 1; }
done
# valgrind stops over Swift's debug information; function names stay.
strip -g -o "$work/fanout" "$fanout"
cc -O2 -Wall -Wextra -Werror -shared -fPIC -o "$work/allocations.so" Tests/Counts/allocations.c
python3 Tests/Counts/counts.py --fanout "$work/fanout" --preload "$work/allocations.so" --work "$work" \
    --thresholds bench/thresholds.json "$@"
