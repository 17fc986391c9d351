#!/usr/bin/env bash
# Bugs planted in the server: does the simulation find them? Makes the build that has them (Sources/Planted), runs the
# worlds without any bug, which must pass, and then with each bug in a process of its own, which must not: a failed
# check or a trap, within as many worlds. Prints the first seed that found each.
#
#   Tests/planted.sh [BUG...]               all of them, or these
#   Tests/planted.sh replay SEED [BUG]      one world again, with a bug or without
#
# SEEDS=2000: how many worlds. SECONDS_MAX=300: how long one bug may take.
set -euo pipefail
cd "$(dirname "$0")/.."

seeds=${SEEDS:-2000}
seconds_max=${SECONDS_MAX:-300}
scratch=.build/planted
worlds=SimulationTests.SimulationTests/worlds
# Worlds of readers that know a state: where to look for the bugs of that section first, and for the others last.
kept=SimulationTests.KeptWorldTests/worlds
# A backtrace of an optimised build takes minutes and says less than the seed.
export SWIFT_BACKTRACE=enable=no

say() { printf '%s\n' "$*"; }

build() {
    say "planted: building"
    FANOUT_PLANTED=1 swift build -c release -Xswiftc -enable-testing --build-tests --scratch-path "$scratch" \
        >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
    tests=$(ls "$scratch"/release/*PackageTests.xctest)
}

run() { "$tests" --testing-library swift-testing --filter "$1"; }

# Runs the worlds with one bug; one line, and status 0 if it was found.
try_bug() {
    case " $kept_first " in
        *" $1 "*) try_in "$kept" "$1" || try_in "$worlds" "$1" ;;
        *) try_in "$worlds" "$1" || try_in "$kept" "$1" ;;
    esac
}

try_in() {
    local worlds=$1 bug=$2 log=$work/$2.log status=0 line
    FANOUT_PLANTED_BUG=$bug FANOUT_SIMULATION_SEEDS=$seeds timeout "$seconds_max" \
        "$tests" --testing-library swift-testing --filter "$worlds" >"$log" 2>&1 || status=$?
    if line=$(grep -a -m1 "^planted: $bug: seed" "$log"); then
        say "found: $bug by ${line#"planted: $bug: "}"
    elif line=$(grep -a -m1 -o 'stopped in seed [0-9]*' "$log") && [ "$status" -ge 128 ]; then
        say "found: $bug by ${line#stopped in }: the process was stopped: $(grep -a -m1 -o 'Fatal error.*' "$log" || echo "status $status")"
    else
        say "NOT FOUND: $bug in $seeds worlds of ${worlds#*.} (status $status)"
        tail -n 3 "$log"
        return 1
    fi
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build

if [ "${1:-}" = replay ]; then
    status=0
    for suite in "$worlds" "$kept"; do
        FANOUT_SIMULATION_SEED=$2 FANOUT_PLANTED_BUG=${3:-} run "$suite" || status=1
    done
    exit "$status"
fi

bugs=("$@")
for bug in "${bugs[@]}"; do
    grep -q "^ *case $bug$" Sources/Planted/Planted.swift || { say "planted: $bug is no bug of Sources/Planted"; exit 64; }
done
if [ ${#bugs[@]} -eq 0 ]; then
    mapfile -t bugs < <(sed -n 's/^ *case \([a-zA-Z0-9]*\)$/\1/p' Sources/Planted/Planted.swift)
    say "planted: $seeds worlds without a bug"
    FANOUT_SIMULATION_SEEDS=$seeds run SimulationTests >"$work/clean.log" 2>&1 || { cat "$work/clean.log"; exit 1; }
    grep -a '^simulation: ' "$work/clean.log"
fi

kept_first=$(sed -n '/\/\/ Readers of a state/,/^$/s/^ *case \([a-zA-Z0-9]*\)$/\1/p' Sources/Planted/Planted.swift | tr '\n' ' ')
export -f try_bug try_in say
export seeds seconds_max worlds kept kept_first work tests
status=0
printf '%s\n' "${bugs[@]}" | xargs -P "$(nproc)" -I{} bash -c 'try_bug {} >"$work/{}.line"' || status=1
for bug in "${bugs[@]}"; do cat "$work/$bug.line"; done
[ "$status" -eq 0 ] || { say "planted: FAILED: not every bug was found"; exit 1; }
say "planted: all ${#bugs[@]} found"
