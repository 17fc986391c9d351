# What fanout replaces: a thread and a queue of 64 events for each subscriber (bench/ThreadPerSubscriber). Bursts of more
# than the queues hold drop every reader, as the design has it: it does not take part in those.

subjects+=(threads)
label[threads]="thread per subscriber"
can[threads]="unix tcp sse ws mixed"
extras[threads]="large storm idle"

prepare_threads() { swift build -c release --static-swift-stdlib --product thread-per-subscriber >&2; }

start_threads() {
    start_server threads "${on_server_core[@]}" .build/release/thread-per-subscriber "$work/threads.d"
}

reach_threads() { reach_fanout_like threads "$@"; }
