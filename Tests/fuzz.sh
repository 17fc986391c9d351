#!/usr/bin/env bash
# Fuzzes Wire and TypeDefinition with libFuzzer; Tests/Fuzz holds the targets and their corpora, Tests/README.md says what each asks.
#
#   Tests/fuzz.sh SECONDS            every target in turn, SECONDS each; what it finds and learns stays below .build/fuzz
#   Tests/fuzz.sh smoke              the committed corpora, then 5 seconds a target; and the bounds are shown to be kept
#   Tests/fuzz.sh replay TARGET FILE one input
#   Tests/fuzz.sh merge              puts what longer runs have learnt into the committed corpora, as few inputs as do
#
# TARGETS="names encoders" restricts any of them to some targets. A toolchain without libFuzzer is a skip, and a success.
set -euo pipefail
cd "$(dirname "$0")/.."

targets=(${TARGETS:-request-head chunked-body websocket-frames lines-json encoders names schemas})
# The canary's inputs, and what each must be reported as.
canaries=(
    "claim:a claim that does not hold" "trap:deadly signal" "overflow:heap-buffer-overflow"
    "time:an input took [0-9]* ms" "memory:an input took [0-9]* MiB"
)
place=.build/fuzz
corpora=Tests/Fuzz/Corpora
dictionaries=Tests/Fuzz/Dictionaries
fuzzer=$place/release/fuzz
input_bytes_max=1024
smoke_seconds=5

# Swift's own crash reporter can hang under the sanitizer.
export SWIFT_BACKTRACE=enable=no
# What costs time and is no use here: remembering where memory was allocated, filling it, keeping much of it freed.
export ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=8:malloc_context_size=0:max_malloc_fill_size=0

build() {
    if ! has_libfuzzer; then
        echo "fuzz: skipped: this Swift toolchain has no libFuzzer for this platform"
        exit 0
    fi
    mkdir -p "$place"
    swift build --package-path Tests/Fuzz --scratch-path "$place" -c release >"$place/build.log" 2>&1 || {
        cat "$place/build.log" >&2
        echo "fuzz: the fuzzers do not build" >&2
        exit 1
    }
}

# The compiler refuses the flag where the library that it stands for is missing.
has_libfuzzer() {
    echo | swiftc -parse-as-library -sanitize=fuzzer,address -typecheck - >/dev/null 2>&1
}

# run TARGET LOG ARGUMENT...
run() {
    local target=$1 log=$2
    shift 2
    "$fuzzer" "--target=$target" -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=64 \
        "-artifact_prefix=$place/findings/$target-" "$@" >"$log" 2>&1
}

# fuzz TARGET SECONDS FOLDER: says in one line what came of it. New inputs go to FOLDER. The committed ones come first, and
# whole; new ones are kept short, for speed.
fuzz() {
    local target=$1 seconds=$2 folder=$3 log=$place/$1.log status=0
    mkdir -p "$folder"
    run "$target" "$log" -runs=0 "$corpora/$target" &&
        run "$target" "$log" "-max_total_time=$seconds" "-max_len=$input_bytes_max" -print_final_stats=1 \
            "-dict=$dictionaries/$target.txt" "$folder" "$corpora/$target" || status=$?
    local executions covered edges
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    edges=$(sed -n 's/.*Loaded .* modules *(\([0-9]*\) .*/\1/p' "$log")
    printf '%-17s %9s executions, %s of the %s edges in Wire, %s inputs in the corpus: %s\n' "$target" \
        "${executions:-0}" "${covered:-0}" "${edges:-?}" "$(ls "$corpora/$target" | wc -l)" \
        "$([ "$status" -eq 0 ] && echo "nothing found" || reason "$log")"
    total=$((total + ${executions:-0}))
    if [ "$status" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

# Why a run stopped, and how to see it again.
reason() {
    sed -n 's/^fuzz: //p; s/.*Fatal error: /trap: /p; s/^SUMMARY: //p' "$1" | head -n 1
    sed -n 's/.*Test unit written to \(.*\)/    \1/p' "$1" | tail -n 1
    echo "    its log is $1; Tests/fuzz.sh replay runs that input alone"
}

# Each bound is broken on purpose: a fuzzer that finds nothing must be one that would have found something.
check_canaries() {
    local canary name expected unnoticed=()
    for canary in "${canaries[@]}"; do
        name=${canary%%:*} expected=${canary#*:}
        printf %s "$name" >"$place/canary-input"
        if run canary "$place/canary.log" "$place/canary-input" || ! grep -q "$expected" "$place/canary.log"; then
            unnoticed+=("$name")
        fi
    done
    rm -f "$place"/findings/canary-*
    if [ ${#unnoticed[@]} -eq 0 ]; then
        printf '%-17s %9s faults planted, all found\n' canary ${#canaries[@]}
        passed=$((passed + 1))
    else
        printf '%-17s not found: %s\n' canary "${unnoticed[*]}"
        failed=$((failed + 1))
    fi
}

fuzz_all() {
    local target
    for target in "${targets[@]}"; do fuzz "$target" "$1" "$2/$target"; done
    echo "$total executions in all"
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}

# Inputs with names of their own were chosen by people and stay; the others are kept only for what they cover.
merge() {
    local target folder file
    for target in "${targets[@]}"; do
        folder=$place/merged/$target
        rm -rf "$folder"
        mkdir -p "$folder" "$place/corpus/$target" "$corpora/$target"
        find "$corpora/$target" -type f -name '*[!0-9a-f]*' -exec cp -t "$folder" {} +
        run "$target" "$place/$target-merge.log" -set_cover_merge=1 "$folder" "$corpora/$target" "$place/corpus/$target" || {
            tail -n 20 "$place/$target-merge.log" >&2
            exit 1
        }
        rm -rf "${corpora:?}/$target"
        mv "$folder" "$corpora/$target"
        echo "$target: $(ls "$corpora/$target" | wc -l) inputs, $(du -sb "$corpora/$target" | cut -f 1) bytes"
    done
}

total=0 passed=0 failed=0
mkdir -p "$place/findings"
case ${1:-} in
    smoke)
        build
        check_canaries
        rm -rf "$place/smoke"
        fuzz_all "$smoke_seconds" "$place/smoke"
        ;;
    replay)
        build
        ASAN_OPTIONS=detect_leaks=0 "$fuzzer" "--target=${2:?a target}" "${3:?a file}"
        ;;
    merge)
        build
        merge
        ;;
    *[!0-9]* | '')
        sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' "$0" >&2
        exit 64
        ;;
    *)
        build
        fuzz_all "$1" "$place/corpus"
        ;;
esac
