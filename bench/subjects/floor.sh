# The floors: the least C program that does the same sends, on each I/O backend (bench/floor).

for backend in uring epoll; do
    id=floor_$backend
    subjects+=("$id")
    can[$id]="unix tcp sse ws mixed"
    extras[$id]="large deep storm idle"
    most[$id]=19500
done
label[floor_uring]="floor io_uring"
label[floor_epoll]="floor epoll"

prepare_floor_uring() { bench/floor/build .build/bench; }
prepare_floor_epoll() { bench/floor/build .build/bench; }

start_floor_uring() { start_floor uring; }
start_floor_epoll() { start_floor epoll; }

start_floor() {
    start_server "floor_$1" "${on_server_core[@]}" ".build/bench/floor-$1" "$work/floor_$1.d"
}

# Where the kernel refuses io_uring, the floor says so and ends.
check_floor_uring() {
    bench/floor/build .build/bench
    mkdir -p "$work/floor_uring.d"
    start_floor uring && stop_server floor_uring && return 0
    tail -n 1 "$work/floor_uring.log"
    return 1
}

reach_floor_uring() { reach_fanout_like floor_uring "$@"; }
reach_floor_epoll() { reach_fanout_like floor_epoll "$@"; }
