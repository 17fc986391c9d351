# redis-server: subscribed over TCP, published over its unix socket (RESP2).

subjects+=(redis)
label[redis]="redis"
can[redis]="tcp"
extras[redis]="stalled channels storm idle large deep"

check_redis() {
    command -v redis-server >/dev/null || { echo "redis-server is not installed"; return 1; }
}

start_redis() {
    redis_port=$(free_port)
    cat >"$work/redis.d/redis.conf" <<END
bind 127.0.0.1
port $redis_port
# For the publisher, as fanout has one.
unixsocket $work/redis.d/redis.socket
protected-mode no
daemonize no
dir $work/redis.d
loglevel warning
# No persistence.
save ""
appendonly no
# Redis keeps 32 descriptors for itself, of the 20,000 that a process has here.
maxclients 19900
tcp-backlog 4096
timeout 0
# A subscriber that is behind is not cut: the default is 32 MiB, or 8 MiB for a minute.
client-output-buffer-limit pubsub 0 0 0
client-output-buffer-limit normal 0 0 0
# What is measured for each command, and kept of slow ones.
latency-tracking no
slowlog-log-slower-than -1
# io-threads stays at its default of 1: redis' own documentation advises more only with four cores or more.
END
    start_program redis "$redis_port" "${on_server_core[@]}" redis-server "$work/redis.d/redis.conf"
}

reach_redis() {
    local at="redis://127.0.0.1:$redis_port"
    reach=(--transport redis --url "$at" --publish "redis+unix:$work/redis.d/redis.socket")
}
