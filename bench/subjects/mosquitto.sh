# mosquitto: MQTT 3.1.1 over WebSocket at QoS 0, published the same way.

subjects+=(mosquitto)
label[mosquitto]="mosquitto"
can[mosquitto]="ws"
# Not large: it writes at most 4 KiB to a WebSocket in one turn of its loop, and between turns waits up to 100 ms for its
# other sockets, so that an event of 16 KiB takes 0.3 s to arrive.
extras[mosquitto]="stalled channels storm idle"

check_mosquitto() {
    PATH=$PATH:/usr/sbin command -v mosquitto >/dev/null || { echo "mosquitto is not installed"; return 1; }
}

start_mosquitto() {
    local unused_port
    mosquitto_port=$(free_port)
    until unused_port=$(free_port) && [ "$unused_port" != "$mosquitto_port" ]; do :; done
    cat >"$work/mosquitto.d/mosquitto.conf" <<END
# It does not start with WebSocket listeners alone: one that nobody uses.
listener $unused_port 127.0.0.1
listener $mosquitto_port 127.0.0.1
protocol websockets
# Without this the listener is for all addresses, whatever the line above says.
socket_domain ipv4
allow_anonymous true
max_connections -1
persistence false
set_tcp_nodelay true
# 0 is no limit: at QoS 0 whatever is beyond it is thrown away without a word.
max_queued_messages 0
max_queued_bytes 0
# No \$SYS topics, no line for each connection.
sys_interval 0
connection_messages false
log_type error
log_type warning
log_dest stderr
END
    PATH=$PATH:/usr/sbin start_program mosquitto "$mosquitto_port" "${on_server_core[@]}" \
        mosquitto -c "$work/mosquitto.d/mosquitto.conf"
}

reach_mosquitto() {
    reach=(--transport mqtt-ws --url "ws://127.0.0.1:$mosquitto_port/mqtt" \
        --publish "mqtt-ws://127.0.0.1:$mosquitto_port/mqtt")
}
