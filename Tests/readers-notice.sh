#!/usr/bin/env bash
# The checker checked: the floor on epoll, changed in one place, is a server with one fault. bench/Readers must pass the
# unchanged one and find out each of the others, blaming only the readers that were hit.
set -euo pipefail
cd "$(dirname "$0")/.."
source bench/servers.sh

readers=${FANOUT_READERS:-.build/release/fanout-readers}
work=$(mktemp -d)
trap stop_all EXIT
passed=0 failed=0

# notice NAME PASSING SED: how many of 50 readers (10 of each transport) may pass when the floor is changed by SED.
notice() {
    local name=$1 wanted=$2 change=$3 totals dir=$work/run
    rm -rf "$work/floor" "$dir"
    mkdir "$dir"
    cp -r bench/floor "$work/floor"
    [ -z "$change" ] || sed -i "$change" "$work/floor/floor.c" "$work/floor/epoll.c"
    if [ -n "$change" ] && diff -qr bench/floor "$work/floor" >/dev/null; then
        echo "FAILED: $name: the change does not apply any more"
        failed=$((failed + 1))
        return
    fi
    "$work/floor/build" "$work" -O1 -w
    start_server faulty "$work/floor-epoll" "$dir"
    totals=$("$readers" --mix unix=10,tcp=10,ndjson=10,sse=10,ws=10 --expect 60 --stall 5 --quiet \
        --jsonl-unix "${events[faulty]}" --jsonl-tcp "${jsonl[faulty]}" --http "${http[faulty]}" \
        --publish "unix:${ingest[faulty]}" 2>"$work/faults") || true
    stop_server faulty || true
    if [ "$(tail -n 1 <<<"$totals")" = "$wanted passed, $((50 - wanted)) failed" ]; then
        passed=$((passed + 1))
        echo "passed: $name: $(head -n 1 "$work/faults" | cut -c 1-90)"
    else
        failed=$((failed + 1))
        echo "FAILED: $name: $(tail -n 1 <<<"$totals"), expected $wanted passed: $(head -n 1 "$work/faults")"
    fi
}

each='        ssize_t sent = sendNow(fd, bytes, count);'
notice "no fault" 50 ''
notice "a hole for one reader of each format" 47 "s/^$each/if (seq == 30 \&\& index == 3) continue; &/"
notice "one event twice" 47 "s/^$each/if (seq == 30 \&\& index == 3) sendNow(fd, bytes, count); &/"
notice "the last event twice" 47 "s/^$each/if (seq == 60 \&\& index == 3) sendNow(fd, bytes, count); &/"
notice "one bit of one delivery" 47 "s/^$each/char *hit = stream->log + stream->end - 60; \
    *hit ^= seq == 30 \&\& index == 2; & *hit ^= seq == 30 \&\& index == 2;/"
notice "one bit for all" 0 's/memcpy(text + at, line + 1, end - line - 1);/& text[120] ^= seq == 30;/'
notice "a number left out" 0 's/(unsigned long long)++seq/(unsigned long long)(seq += seq == 30 ? 2 : 1)/'
notice "a number twice" 0 's/(unsigned long long)++seq/(unsigned long long)(seq += seq != 30)/'
notice "the wrong channel" 0 's/channel\\":\\"events/channel\\":\\"eventz/'
notice "white space in an object" 0 's/{\\"seq\\":%llu,/{\\"seq\\": %llu,/'
notice "an SSE id that names another event" 40 \
    's/epoch, (unsigned long long)id);/epoch, (unsigned long long)id + (id == 30));/'
notice "a record without its empty line" 40 's/if (format == sse) out/if (format == sse \&\& id != 30) out/'
notice "a carriage return" 10 "s/    if (format < ws) out/    if (format < ws \&\& id == 30) out[at++] = 13;\n&/"
notice "a WebSocket length not in its least form" 40 's/count < 126/count < 80/'
notice "a masked WebSocket frame" 40 's/out\[at++\] = 126;/out[at++] = (char)254;/'
notice "a WebSocket fragment" 40 's/(char)0x81/(char)0x01/'
notice "two hellos" 0 's/^    sendHello(.*/&\n&/'
notice "a hello of another epoch" 49 's/if (!stream->helloBytes\[hasHead\])/if (1)/
    s/^        int count = sprintf(text, .*/        int odd = stream == streams \&\& stream->count == 12;\
        const char *epoch = odd ? "00000000f1004002" : "00000000f1004000";\n&/'
notice "the wrong Sec-WebSocket-Accept" 40 's/kYGzzhZRbK/kYGzzhZRbk/'
notice "a stream closed early" 47 "s/^$each/if (seq == 30 \&\& index == 4) { shutdown(fd, 2); continue; } &/"
echo "readers-notice: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
