#!/usr/bin/env bash
# Runs the Autobahn WebSocket test suite (301 cases, without compression) against examples/echo, once on io_uring and once
# on epoll. Every case must end OK, NON-STRICT or INFORMATIONAL and close cleanly, and none may be missing.
#
# The suite needs Python 2.7. Where there is none this says so and succeeds. PYTHON27=... names one that is not found.
set -euo pipefail
cd "$(dirname "$0")/.."

cases_expected=301
suite=autobahntestsuite==25.10.1
place=.build/autobahn
wstest=$place/python2/bin/wstest

find_python27() {
    local candidate
    for candidate in "${PYTHON27:-}" python2.7 "$HOME"/.pyenv/versions/2.7*/bin/python2.7; do
        # A shim may be there that leads to nothing, so each candidate has to run.
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; assert sys.version_info[:2] == (2, 7)' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

install_suite() {
    [ -x "$wstest" ] && return
    local python27
    if ! python27=$(find_python27); then
        echo "autobahn: skipped: the suite needs Python 2.7, and there is none (PYTHON27=... can name one)"
        exit 0
    fi
    echo "autobahn: installing $suite below $place"
    rm -rf "$place"
    mkdir -p "$place"
    {
        python3 -m venv "$place/python3"
        "$place/python3/bin/pip" install --quiet virtualenv==20.21.1
        "$place/python3/bin/virtualenv" --quiet -p "$python27" "$place/python2"
        "$place/python2/bin/pip" install --quiet "$suite"
    } >"$place/install.log" 2>&1 || {
        tail -n 20 "$place/install.log" >&2
        echo "autobahn: cannot install the suite; see $place/install.log" >&2
        exit 1
    }
}

# The server under test, stopped whatever happens.
server=
stop_server() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
trap stop_server EXIT

# Starts the server on one backend and sets `port`.
start_server() {
    local log=$place/$1.log
    .build/release/echo-server --listen 127.0.0.1:0 --io "$1" 2>"$log" &
    server=$!
    for _ in $(seq 100); do
        port=$(sed -n 's|.*ws://127\.0\.0\.1:\([0-9]*\)/echo.*|\1|p' "$log")
        [ -n "$port" ] && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    echo "autobahn: the server did not start on $1: $(cat "$log")" >&2
    exit 1
}

# Runs all cases over one backend; its report goes to $place/<backend>.
run_cases() {
    local reports=$place/$1
    rm -rf "$reports"
    start_server "$1"
    cat >"$place/$1.json" <<END
{"outdir": "$reports", "servers": [{"agent": "$1", "url": "ws://127.0.0.1:$port/echo", "options": {"version": 18}}],
 "cases": ["*"], "exclude-cases": ["12.*", "13.*"], "exclude-agent-cases": {}}
END
    # wstest succeeds whatever happens, and stops without a word at a refused connection: only the report counts.
    "$wstest" -m fuzzingclient -s "$place/$1.json" >"$place/$1.output" 2>&1 || true
    stop_server
}

# Says what each backend's report holds and adds them up; fails unless everything passed.
judge() {
    python3 - "$place" "$cases_expected" "$@" <<'END'
import collections, json, os, sys

place, expected, backends = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
legal = {"OK", "NON-STRICT", "INFORMATIONAL"}
passed = failed = 0
for backend in backends:
    path = os.path.join(place, backend, "index.json")
    cases = json.load(open(path)).get(backend, {}) if os.path.exists(path) else {}
    bad = [case for case, result in cases.items()
           if result["behavior"] not in legal or result["behaviorClose"] not in {"OK", "INFORMATIONAL"}]
    counts = collections.Counter(result["behavior"] for result in cases.values())
    print(f"autobahn on {backend}: {len(cases)} cases: " + ", ".join(f"{n} {name}" for name, n in counts.most_common()))
    for case in bad:
        print(f"  {case}: {cases[case]['behavior']}, close {cases[case]['behaviorClose']}")
    for case, result in cases.items():
        if result["behavior"] == "NON-STRICT":
            print(f"  {case}: NON-STRICT")
    if len(cases) != expected:
        print(f"  {len(cases)} cases ran, {expected} were expected; see {place}/{backend}.output")
    passed += len(cases) - len(bad)
    failed += len(bad) + max(0, expected - len(cases))
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed or passed != expected * len(backends) else 0)
END
}

install_suite
swift build -c release --static-swift-stdlib --product echo-server
for backend in io_uring epoll; do run_cases "$backend"; done
judge io_uring epoll
