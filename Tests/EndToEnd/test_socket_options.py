"""What the kernel may hold for a reader, and how long it waits for one: asked of the kernel itself."""

import contextlib
import ctypes
import errno
import os
import socket
from pathlib import Path

import pytest

import program
from endings import lines, open_with_small_buffer
from readers import open_reader
from streams import wait_until

PIDFD_GETFD = 438  # pidfd_getfd(2), which Python does not know
TCP_USER_TIMEOUT = 18  # tcp(7)
# Thirty seconds for $bye, and a little.
BEYOND_AGE_MS = 35_000


@contextlib.contextmanager
def sockets_of(process):
    """Duplicates of all sockets of a process. They are closed at once: a socket lives as long as any of them."""
    held = []
    try:
        pidfd = os.pidfd_open(process.process.pid)
    except OSError as fault:
        pytest.skip(f"the kernel does not let a process look at another's sockets here: {fault}")
    try:
        for link in Path(f"/proc/{process.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if not os.readlink(link).startswith("socket:"):
                    continue
                descriptor = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, pidfd, int(link.name), 0)
                if descriptor < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
                    reason = os.strerror(ctypes.get_errno())
                    pytest.skip(f"the kernel does not let a process look at another's sockets here: {reason}")
                if descriptor >= 0:
                    held.append(socket.socket(fileno=descriptor))
        yield held
    finally:
        for each in held:
            each.close()
        os.close(pidfd)


def is_listening(of):
    return of.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def user_timeout(server, reader):
    """That of the server's end of this reader's connection."""
    mine = reader.stream.socket.getsockname()
    with sockets_of(server) as held:
        for each in held:
            if each.family == socket.AF_INET and not is_listening(each) and each.getpeername() == mine:
                return each.getsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT)
    raise AssertionError("the server has no such connection")


def test_the_kernel_holds_no_more_than_the_documented_buffer_for_each_reader(io, start_server):
    server = start_server()
    readers = [open_reader(server, transport) for transport in ("unix", "tcp", "sse", "http.socket-websocket")]
    for reader in readers:
        reader.next_control("$hello")
    most = int(Path("/proc/sys/net/core/wmem_max").read_text())
    buffers = {socket.AF_INET: [], socket.AF_UNIX: []}
    with sockets_of(server) as held:
        for each in held:
            if not is_listening(each):
                buffers[each.family].append(each.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))
    # Linux doubles what is asked for, and caps it before that.
    assert buffers[socket.AF_INET] == [2 * min(262_144, most)] * 2
    assert buffers[socket.AF_UNIX] == [2 * min(65_536, most)] * 2


def test_the_kernel_waits_longer_than_the_server_and_for_skipping_readers_without_end(io, start_server, tmp_path):
    configuration = {
        "limits": {"age_ms": 10_000},
        "channels": {"slow": {"limits": {"age_ms": 60_000}}},
        "listeners": {"jsonl": {"limits": {"age_ms": 20_000}}},
    }
    server = start_server(*program.configured(tmp_path, configuration))
    for transport in ("http-jsonl", "sse", "websocket"):
        reader = open_with_small_buffer(server, transport)
        assert user_timeout(server, reader) == 60_000 + BEYOND_AGE_MS, "the largest age limit of a channel"
        reader = open_with_small_buffer(server, transport, on_lag="gap")
        assert user_timeout(server, reader) == 0
        reader = open_with_small_buffer(server, transport, on_lag="gap", on_gap="fail")
        assert user_timeout(server, reader) == 60_000 + BEYOND_AGE_MS, "whoever wants no gap does not skip"
    reader = open_with_small_buffer(server, "tcp")
    assert user_timeout(server, reader) == 20_000 + BEYOND_AGE_MS, "the listener's own"
    assert user_timeout(server, open_with_small_buffer(server, "tcp", on_lag="gap")) == 0
    with sockets_of(server) as held:
        listening = [each for each in held if each.family == socket.AF_INET and is_listening(each)]
        timeouts = sorted(each.getsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT) for each in listening)
    assert timeouts == [20_000 + BEYOND_AGE_MS, 60_000 + BEYOND_AGE_MS]


def test_a_subscription_that_replaces_a_skipping_one_has_the_kernels_usual_patience(io, start_server):
    server = start_server("--on-lag", "gap")
    for transport in ("tcp", "websocket"):
        reader = open_with_small_buffer(server, transport)
        assert user_timeout(server, reader) == 0
        reader.subscribe(on_lag="close")
        reader.next_control("$hello")
        assert user_timeout(server, reader) == 10_000 + BEYOND_AGE_MS


def test_once_the_server_has_decided_its_own_deadline_counts(io, start_server, tmp_path):
    """The kernel may have counted from long before: `$bye` waits its thirty seconds all the same."""
    limits = {"events": 200, "bytes": 262_144, "age_ms": 60_000}
    server = start_server(*program.configured(tmp_path, {"limits": limits}))
    reader = open_with_small_buffer(server, "sse")
    assert user_timeout(server, reader) == 60_000 + BEYOND_AGE_MS

    def is_cut():
        server.publish_batch(lines(20, 3_000))
        return server.metric("fanout_laggards_total") == 1

    wait_until(is_cut, "the reader to be cut")
    assert user_timeout(server, reader) == 0
