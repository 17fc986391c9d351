"""Fixtures: servers on both I/O backends, each with its own runtime directory, each of which must end cleanly."""

import itertools
import signal
import tempfile
from pathlib import Path

import pytest

import program
import readers
from stored import Life, forget_numbers
from streams import ByteStream

pytest_plugins = ["browser"]

_numbers = itertools.count(1)

# What a script runs in the background has SIGINT ignored, and so would have every server that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def binary():
    assert program.BINARY.exists(), f"{program.BINARY} is not there: run `make build` first"


@pytest.fixture(scope="session", params=["io_uring", "epoll"])
def io(request):
    """The I/O backend. Skipped, with the kernel's reason, where io_uring is refused."""
    if request.param == "io_uring" and (refusal := program.io_uring_refusal()):
        pytest.skip(f"io_uring is refused here: {refusal}")
    return request.param


class _Shared:
    """A server that the tests of one module use in turn; a new one takes the place of one that died."""

    def __init__(self, io):
        self.io = io
        self.server = None

    def running(self):
        if self.server is None or not self.server.is_running():
            self.discard()
            self.server = program.Server("--channel", "declared", "--channel", "deep/er", io=self.io)
        return self.server

    def discard(self):
        if self.server is not None:
            self.server.remove()
            self.server = None


@pytest.fixture(scope="module")
def _shared(io):
    shared = _Shared(io)
    yield shared
    try:
        if shared.server is not None and shared.server.is_running():
            shared.server.stop()
    finally:
        shared.discard()


@pytest.fixture
def server(_shared):
    """A running server that earlier tests may have used: numbers do not start at 1, channels should be one's own."""
    running = _shared.running()
    yield running
    if not running.is_running():
        pytest.fail(
            f"the server died in this test (exit {running.process.returncode}): {running.stderr.text()[-4000:]}"
        )


@pytest.fixture
def start_server(request):
    """Starts servers of this test's own; those that still run at its end must stop cleanly."""
    started = []

    def start(*arguments, **options):
        if "io" in request.fixturenames:
            options.setdefault("io", request.getfixturevalue("io"))
        started.append(program.Server(*arguments, **options))
        return started[-1]

    yield start
    # A server that stops gives those who do not leave two seconds: here it would be two seconds of each test.
    ByteStream.close_all()
    try:
        for server in started:
            if server.is_running():
                server.stop()
    finally:
        for server in started:
            server.remove()


@pytest.fixture
def life(start_server, tmp_path):
    """A data folder, and the servers that use it one after the other."""
    yield Life(start_server, tmp_path)
    forget_numbers(tmp_path)


@pytest.fixture
def start(request):
    """Starts any command; what still runs at the test's end is killed."""
    started = []

    def launch(*arguments, **options):
        started.append(program.Process(*arguments, **options))
        return started[-1]

    yield launch
    for process in started:
        process.kill()


@pytest.fixture
def directory():
    """An empty folder whose path is short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="fanout-") as name:
        yield Path(name)


@pytest.fixture
def channel():
    """The name of a channel that no other test uses."""
    return f"test-{next(_numbers)}"


@pytest.fixture
def read(server):
    """Opens subscribers of the shared server and closes them after the test: `read("sse", channel=…)`."""
    opened = []

    def open_reader(transport, **query):
        opened.append(readers.open_reader(server, transport, **query))
        return opened[-1]

    yield open_reader
    for reader in opened:
        reader.close()


@pytest.fixture
def greeted(read):
    """As `read`, with `$hello` already read, so the subscription stands."""

    def open_reader(transport, **query):
        reader = read(transport, **query)
        reader.next_control("$hello")
        return reader

    return open_reader
