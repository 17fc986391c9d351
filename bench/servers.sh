# Starting and stopping the servers under measurement; sourced by bench/compare and the reader checks in Tests.
#
# start_server NAME COMMAND... starts COMMAND in the background with its standard error in $work/NAME.log and waits for
# its ready line; then ${pid[NAME]}, ${http[NAME]}, ${jsonl[NAME]}, ${events[NAME]} and ${ingest[NAME]} say where it is.
# start_program NAME PORT COMMAND... is for programs without a ready line: it waits until 127.0.0.1:PORT accepts.
# ${measured[NAME]} are the processes whose time and memory count: the one that was started, unless a subject says more.
# Both return 1, the reason being in the log, if the server ends instead. $work is the caller's temporary directory.

declare -A pid http jsonl events ingest measured

start_server() {
    local name=$1 line
    shift
    launch "$name" "$@"
    wait_for "$name" 60 is_ready || return 1
    line=$(grep -m1 ' ready · ' "$work/$name.log")
    http[$name]=$(place http "$line")
    jsonl[$name]=$(place jsonl "$line")
    events[$name]=$(place events "$line")
    ingest[$name]=$(place ingest "$line")
}

start_program() {
    local name=$1 port=$2
    shift 2
    launch "$name" "$@"
    wait_for "$name" 10 accepts "$port"
}

launch() {
    local name=$1
    shift
    : >"$work/$name.log"
    "$@" >>"$work/$name.log" 2>&1 </dev/null &
    pid[$name]=$!
    measured[$name]=$!
}

# wait_for NAME SECONDS CONDITION [ARGUMENT]: until the condition holds for the server that was launched.
wait_for() {
    local name=$1 seconds=$2 condition=$3 deadline=$((SECONDS + $2))
    until "$condition" "${4:-$name}"; do
        if ! kill -0 "${pid[$name]}" 2>/dev/null; then
            unset "pid[$name]"
            return 1
        fi
        if ((SECONDS > deadline)); then
            stop_server "$name" || true
            echo "$name is not ready after $seconds seconds" >>"$work/$name.log"
            return 1
        fi
        sleep 0.02
    done
}

is_ready() {
    grep -q ' ready · ' "$work/$1.log"
}

accepts() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A port below those that the kernel gives to clients, so that no connection takes it before the server does.
free_port() {
    local port
    while true; do
        port=$((10000 + RANDOM % 20000))
        accepts "$port" || break
    done
    echo "$port"
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
        # shellcheck disable=SC2086 # a list of processes
        kill -9 "${pid[$name]}" ${measured[$name]:-} 2>/dev/null || true
        wait "${pid[$name]}" 2>/dev/null || true
    done
    rm -rf "$work"
}
