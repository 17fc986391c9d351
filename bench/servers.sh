# Starting and stopping the servers under measurement; sourced by bench/run and Tests/many-readers.sh.
#
# start_server NAME COMMAND... starts COMMAND in the background with its standard error in $work/NAME.log and waits for
# its ready line; then ${pid[NAME]}, ${http[NAME]}, ${jsonl[NAME]}, ${events[NAME]} and ${ingest[NAME]} say where it is.
# Returns 1, the reason being in the log, if the server ends instead. $work is the caller's temporary directory.

declare -A pid http jsonl events ingest

start_server() {
    local name=$1 log=$work/$1.log line deadline=$((SECONDS + 60))
    shift
    : >"$log"
    "$@" 2>>"$log" </dev/null &
    pid[$name]=$!
    until line=$(grep -m1 ' ready · ' "$log"); do
        if ! kill -0 "${pid[$name]}" 2>/dev/null; then
            unset "pid[$name]"
            return 1
        fi
        if ((SECONDS > deadline)); then
            echo "$name is not ready after a minute" >>"$log"
            stop_server "$name"
            return 1
        fi
        sleep 0.05
    done
    http[$name]=$(place http "$line")
    jsonl[$name]=$(place jsonl "$line")
    events[$name]=$(place events "$line")
    ingest[$name]=$(place ingest "$line")
}

# The word after the first `· NAME ` in a ready line: `http` comes twice, the address before the socket.
place() {
    sed -n "s/ · $1 /\n/; s/^[^\n]*\n\([^ ]*\).*/\1/p" <<<"$2"
}

# Asks a server to stop and waits for it; returns its exit status.
stop_server() {
    local server=${pid[$1]:-}
    [ -n "$server" ] || return 0
    unset "pid[$1]"
    kill "$server" 2>/dev/null
    wait "$server"
}

# What is still running when the script ends is stopped, whatever the reason for the end.
stop_all() {
    local name
    for name in "${!pid[@]}"; do
        kill -9 "${pid[$name]}" 2>/dev/null
        wait "${pid[$name]}" 2>/dev/null
    done
    rm -rf "$work"
}
