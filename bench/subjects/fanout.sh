# fanout itself, with its default limits, on each I/O backend; and with `--before PROGRAM` an earlier build of it.

for io in io_uring epoll; do
    id=fanout_$io
    subjects+=("$id")
    label[$id]="fanout $io"
    can[$id]="unix tcp sse ws mixed"
    extras[$id]="large deep stalled channels storm idle ingest_unix ingest_http"
    if [ -n "$before" ]; then
        subjects+=("before_$io")
        label[before_$io]="before $io"
        can[before_$io]=${can[$id]}
        extras[before_$io]=${extras[$id]}
    fi
done

check_fanout_io_uring() { can_serve fanout_io_uring; }
check_fanout_epoll() { can_serve fanout_epoll; }
check_before_io_uring() { can_serve before_io_uring; }
check_before_epoll() { can_serve before_epoll; }

# Where the kernel refuses io_uring, the server says why and ends.
can_serve() {
    mkdir -p "$work/$1.d"
    "start_$1" && stop_server "$1" && return 0
    tail -n 1 "$work/$1.log"
    return 1
}

start_fanout_io_uring() { start_fanout fanout_io_uring "$fanout" io_uring; }
start_fanout_epoll() { start_fanout fanout_epoll "$fanout" epoll; }
start_before_io_uring() { start_fanout before_io_uring "$before" io_uring; }
start_before_epoll() { start_fanout before_epoll "$before" epoll; }

start_fanout() {
    start_server "$1" "${on_server_core[@]}" "$2" serve --listen 127.0.0.1:0 --jsonl 127.0.0.1:0 \
        --runtime-dir "$work/$1.d" --io "$3"
}

reach_fanout_io_uring() { reach_fanout_like fanout_io_uring "$@"; }
reach_fanout_epoll() { reach_fanout_like fanout_epoll "$@"; }
reach_before_io_uring() { reach_fanout_like before_io_uring "$@"; }
reach_before_epoll() { reach_fanout_like before_epoll "$@"; }

# Also for the floors, which say fanout's ready line and speak its protocols.
reach_fanout_like() {
    local id=$1 transport=$2 purpose=$4
    local stream=http://${http[$id]}/v1/events
    case $purpose-$transport in
    ingest-http) reach=(--url "$stream" --publish "$stream") ;;
    ingest-unix) reach=(--url "$stream" --publish "unix:${ingest[$id]}") ;;
    *)
        reach=(--publish "unix:${ingest[$id]}")
        case $transport in
        unix) reach+=(--transport jsonl --url "unix:${events[$id]}") ;;
        tcp) reach+=(--transport jsonl --url "tcp://${jsonl[$id]}") ;;
        sse | ws) reach+=(--transport "$transport" --url "$stream") ;;
        mixed) reach+=(--transport mixed --url "$stream") ;;
        esac
        ;;
    esac
}
