# nginx with nchan: Server-Sent Events and WebSocket, published by POST. One worker, which is what is measured.

subjects+=(nchan)
label[nchan]="nchan"
can[nchan]="sse ws"
extras[nchan]="stalled channels storm idle large"

nchan_module=/usr/lib/nginx/modules/ngx_nchan_module.so

check_nchan() {
    [ -x /usr/sbin/nginx ] || { echo "nginx is not installed"; return 1; }
    [ -r "$nchan_module" ] || { echo "libnginx-mod-nchan is not installed"; return 1; }
}

prepare_nchan() {
    mkdir -p "$work/nchan.d/temp"
}

start_nchan() {
    nchan_port=$(free_port)
    cat >"$work/nchan.d/nginx.conf" <<END
load_module $nchan_module;
daemon off;
# One worker, as fanout has one loop; the master only waits for it.
worker_processes 1;
worker_rlimit_nofile 20000;
pid $work/nchan.d/nginx.pid;
error_log stderr error;
events {
    use epoll;
    # nginx closes connections that have not said anything yet when fewer than a sixteenth of these are free.
    worker_connections 22000;
    # Takes all connections that wait at once; no mutex, since there is nobody to share with.
    multi_accept on;
    accept_mutex off;
}
http {
    access_log off;
    tcp_nodelay on;
    # A publisher's connection stays, however many requests it makes.
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    # A reader that stops for the length of a run is not cut.
    send_timeout 1h;
    # Bodies never go through a file.
    client_max_body_size 1m;
    client_body_buffer_size 1m;
    client_body_temp_path $work/nchan.d/temp/body;
    proxy_temp_path $work/nchan.d/temp/proxy;
    fastcgi_temp_path $work/nchan.d/temp/fastcgi;
    uwsgi_temp_path $work/nchan.d/temp/uwsgi;
    scgi_temp_path $work/nchan.d/temp/scgi;
    # Room for every message of a run that a reader may still need: the default of 10 messages a channel would make
    # readers miss events in bursts.
    nchan_shared_memory_size 1g;
    nchan_message_buffer_length 2000;
    nchan_message_timeout 10m;
    server {
        listen 127.0.0.1:$nchan_port backlog=4096;
        location = /sub {
            nchan_subscriber websocket eventsource;
            nchan_channel_id \$arg_channel;
            # As with all others here: what is published from now on, not what is held.
            nchan_subscriber_first_message newest;
        }
        location = /pub {
            nchan_publisher http;
            nchan_channel_id \$arg_channel;
        }
    }
}
END
    start_program nchan "$nchan_port" "${on_server_core[@]}" /usr/sbin/nginx -p "$work/nchan.d" \
        -c "$work/nchan.d/nginx.conf" || return 1
    # The master listens before it has a worker.
    local tries=0
    until measured[nchan]=$(pgrep -P "${pid[nchan]}"); do
        ((++tries < 100)) || { echo "nginx has no worker" >>"$work/nchan.log"; return 1; }
        sleep 0.05
    done
}

reach_nchan() {
    local readers=http
    [ "$1" = ws ] && readers=ws
    reach=(--transport "$1" --url "$readers://127.0.0.1:$nchan_port/sub?channel={channel}" \
        --publish "http://127.0.0.1:$nchan_port/pub?channel={channel}")
}
