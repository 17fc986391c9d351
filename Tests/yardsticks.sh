#!/usr/bin/env bash
# What fanout is held against must deliver, too: a floor that lost events would be cheap. The C floors and the server
# with a thread for each subscriber are read by the strict checker: one event at a time, bursts that make one send, and,
# on the floors, bursts larger than the readers' socket buffers, so that the rest of a batch must wait.
#
#   Tests/yardsticks.sh [NAME...]      needs the release build; default: floor-epoll floor-uring thread-per-subscriber
#                                      thread-per-subscriber-gather
set -euo pipefail
cd "$(dirname "$0")/.."
source bench/servers.sh

readers=${FANOUT_READERS:-.build/release/fanout-readers}
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(floor-epoll floor-uring thread-per-subscriber thread-per-subscriber-gather)
mix=unix=40,tcp=40,ndjson=40,sse=40,ws=40
work=$(mktemp -d)
trap stop_all EXIT
passed=0 failed=0

# check NAME WHAT OPTION...: 200 readers of the server NAME, with further options for them.
check() {
    local name=$1 what=$2 totals
    shift 2
    if totals=$("$readers" --jsonl-unix "${events[$name]}" --jsonl-tcp "${jsonl[$name]}" --http "${http[$name]}" \
        --mix "$mix" --publish "unix:${ingest[$name]}" --quiet "$@" 2>"$work/faults"); then
        passed=$((passed + 1))
        echo "passed: $name: $what"
    else
        failed=$((failed + 1))
        echo "FAILED: $name: $what: $(tail -n 1 <<<"$totals"); $(head -n 1 "$work/faults")"
        echo "        its last words: $(tail -n 1 "$work/$name.log")"
    fi
}

bench/floor/build "$work"
for name in "${names[@]}"; do
    case $name in
    floor-*) command=("$work/$name" "$work/$name.d") ;;
    *) command=(.build/release/thread-per-subscriber "$work/$name.d") ;;
    esac
    [[ $name != *-gather ]] || command+=(--gather)
    mkdir "$work/$name.d"
    if ! start_server "$name" "${command[@]}"; then
        failed=$((failed + 1))
        echo "FAILED: $name does not start: $(tail -n 1 "$work/$name.log")"
        continue
    fi
    check "$name" "200 readers, 100 events one at a time" --expect 100
    check "$name" "again, in bursts of 16" --expect 160 --burst 16
    [[ $name != floor-* ]] || check "$name" "again, 256 events of 16 KiB at once" \
        --expect 256 --burst 256 --bytes 16384
    stop_server "$name" || true
done
echo "yardsticks: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
