# nats-server: its own protocol over TCP, and the same inside of WebSocket frames. Published over TCP.

subjects+=(nats)
label[nats]="nats"
can[nats]="tcp ws"
extras[nats]="stalled channels storm idle large deep"

check_nats() {
    command -v nats-server >/dev/null || { echo "nats-server is not installed"; return 1; }
}

start_nats() {
    nats_port=$(free_port)
    until nats_ws_port=$(free_port) && [ "$nats_ws_port" != "$nats_port" ]; do :; done
    cat >"$work/nats.d/nats.conf" <<END
listen: "127.0.0.1:$nats_port"
websocket {
    listen: "127.0.0.1:$nats_ws_port"
    no_tls: true
    compression: false
}
max_connections: 65536
max_payload: 1048576
# A reader that stops for the length of a run is not cut: as much as fits into memory may wait for it, and a write that
# does not end is given up after ten minutes instead of ten seconds.
max_pending: 1073741824
write_deadline: "10m"
END
    # Pinned to one core, the Go runtime runs one thread of Go code at a time (GOMAXPROCS follows the affinity).
    start_program nats "$nats_port" "${on_server_core[@]}" nats-server --config "$work/nats.d/nats.conf"
}

reach_nats() {
    local at="nats://127.0.0.1:$nats_port"
    case $1 in
    ws) reach=(--transport nats-ws --url "ws://127.0.0.1:$nats_ws_port/" --publish "$at") ;;
    *) reach=(--transport nats --url "$at" --publish "$at") ;;
    esac
}
