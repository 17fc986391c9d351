#!/usr/bin/env bash
# 5,000 readers of mixed transports get 1,000 events each, every delivery checked byte for byte, on each I/O backend.
# Before that: filters, four channels, a publisher over HTTP, large events, and more events than readers can take, where
# each $gap must cover exactly what is missing. At the end the server is asked to stop: every reader must get its $bye
# and the end of its stream, the server must exit 0 and leave no socket behind.
#
#   Tests/many-readers.sh [BACKEND...]      default: io_uring epoll; needs the release build
set -euo pipefail
cd "$(dirname "$0")/.."
source bench/servers.sh

fanout=${FANOUT:-.build/release/fanout}
readers=${FANOUT_READERS:-.build/release/fanout-readers}
backends=("$@")
[ ${#backends[@]} -gt 0 ] || backends=(io_uring epoll)
work=$(mktemp -d)
trap stop_all EXIT
ulimit -Sn "$(ulimit -Hn)"
passed=0 failed=0 skipped=0

check() {
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "passed: $what"
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
    fi
}

# The reader's command line for the server NAME, its own options following.
read_from() {
    local name=$1
    shift
    "$readers" --jsonl-unix "${events[$name]}" --jsonl-tcp "${jsonl[$name]}" --http "${http[$name]}" \
        --server-pid "${pid[$name]}" "$@"
}

stopped_cleanly() {
    local name=$1 status=0
    stop_server "$name" || status=$?
    [ "$status" -eq 0 ] || { echo "exit status $status; its last words: $(tail -n 5 "$work/$name.log")"; return 1; }
    [ -z "$(find "$work/$name" -type s)" ] || { echo "sockets left: $(find "$work/$name" -type s)"; return 1; }
}

for io in "${backends[@]}"; do
    mkdir -p "$work/$io"
    if ! start_server "$io" "$fanout" serve --listen 127.0.0.1:0 --jsonl 127.0.0.1:0 --runtime-dir "$work/$io" \
        --io "$io" --on-lag gap; then
        if [ "$io" = io_uring ] && grep -q 'io_uring.*refused' "$work/$io.log"; then
            skipped=$((skipped + 1))
            echo "skipped: $io: $(tail -n 1 "$work/$io.log")"
        else
            failed=$((failed + 1))
            echo "FAILED: $io: the server does not start: $(tail -n 3 "$work/$io.log")"
        fi
        continue
    fi
    echo "server: $(grep -m1 ' ready · ' "$work/$io.log")"
    check "$io: 1,000 readers with filters, 400 events over four channels published by POST" \
        read_from "$io" --mix unix=200,tcp=200,ndjson=200,sse=200,ws=200 --publish http --expect 400 --burst 8 \
        --channel a --channel b/c --channel b/d --channel e --filter mixed
    check "$io: 1,000 readers, half of them with a types filter, 100 events of 16 KiB" \
        read_from "$io" --mix unix=200,tcp=200,ndjson=200,sse=200,ws=200 --publish "unix:${ingest[$io]}" --expect 100 \
        --bytes 16384 --burst 2 --channel a --channel b --filter types
    check "$io: 200 readers, 20,000 events faster than they can be read" \
        read_from "$io" --mix unix=40,tcp=40,ndjson=40,sse=40,ws=40 --publish "unix:${ingest[$io]}" --expect 20000 \
        --bytes 1000 --rate 200000 --allow-gaps
    check "$io: 5,000 readers, 1,000 events each, then \$bye 1001" \
        read_from "$io" --mix unix=1000,tcp=1000,ndjson=1000,sse=1000,ws=1000 --publish "unix:${ingest[$io]}" \
        --expect 1000 --burst 16 --stop-server
    check "$io: the server stopped cleanly" stopped_cleanly "$io"
done
echo "many-readers: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
