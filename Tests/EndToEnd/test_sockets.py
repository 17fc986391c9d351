"""The sockets of the runtime directory: whose they are from the first moment to the last, and what is in their way."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import program
from readers import open_reader
from streams import DEADLINE_S, ByteStream, Ended, wait_until

# A server's sockets below its runtime directory, with `--channel deep/er`.
SOCKETS = ["events.socket", "http.socket", "ingest.socket", "ingest/deep/er.socket"]
OPEN_UMASK = ("sh", "-c", 'umask 0; exec "$@"', "sh")
STARTS = 400
STARTS_AT_ONCE = 40
NOBODY = 65_534


@pytest.fixture
def runtime(directory):
    """A runtime directory in which something may be put before a server comes."""
    path = directory / "run"
    path.mkdir(mode=0o700)
    return path


def serve(runtime):
    return ["serve", "--runtime-dir", runtime, "--listen", "127.0.0.1:0", "--channel", "deep/er"]


def refused(*command):
    """Runs a server that must not get as far as serving: exit 73 and one line, which is returned."""
    ended = program.run(*command)
    assert ended.returncode == 73, ended
    return one_line(ended.stderr)


def one_line(stderr):
    text = stderr.decode()
    assert text.count("\n") == 1 and text.endswith("\n") and len(text) > 20, text
    return text


def bound(path):
    """A socket file without anybody behind it, as a killed server leaves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


def identity(path):
    found = path.lstat()
    return found.st_dev, found.st_ino, found.st_mode, found.st_uid, found.st_size


def answers(server):
    """Every socket of this server leads to it: what goes in at one comes out at another."""
    with open_reader(server, "unix") as reader:
        reader.next_control("$hello")
        server.ingest(b'{"n":1}\n')
        assert reader.next_event().json()["n"] == 1
    assert server.get("/readyz", unix=True).status == 200
    return True


# The mode


def test_no_socket_can_be_opened_by_others_for_a_single_moment(directory, start):
    """Looked at as often as possible while a server starts whose umask would leave everything open."""
    modes = {}
    for attempt in range(12):
        runtime = directory / str(attempt)
        path = str(runtime / SOCKETS[attempt % len(SOCKETS)])
        server = start(*serve(runtime), through=OPEN_UMASK)
        while not server.stderr.lines:
            with contextlib.suppress(FileNotFoundError):
                modes[path] = modes.get(path, 0) | os.stat(path).st_mode
        server.stderr.wait_for(lambda line: b"ready" in line)
        for name in SOCKETS:
            modes[str(runtime / name)] = modes.get(str(runtime / name), 0) | (runtime / name).stat().st_mode
        for folder in (runtime, runtime / "ingest", runtime / "ingest/deep"):
            assert folder.stat().st_mode & 0o077 == 0, folder
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert {stat.S_IMODE(mode) for mode in modes.values()} == {0o600}, modes


def test_a_channel_declared_while_running_gets_a_socket_of_the_same_mode(start_server):
    server = start_server(through=OPEN_UMASK)
    seen, ended = [], threading.Event()

    def look():
        while not ended.is_set():
            for number in range(50):
                with contextlib.suppress(FileNotFoundError):
                    seen.append(server.channel_socket(f"c{number}").stat().st_mode)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for number in range(50):
            response = server.exchange(
                f"PUT /v1/channels?channel=c{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            )
            assert response.status == 201
        wait_until(lambda: len(seen) > 50, "the watcher to have seen some")
    finally:
        ended.set()
        watcher.join()
    assert {stat.S_IMODE(mode) for mode in seen} == {0o600}


def test_a_directory_in_which_anybody_may_replace_sockets_is_refused(runtime):
    runtime.chmod(0o777)
    ended = program.run(*serve(runtime))
    assert ended.returncode == 78, ended
    assert str(runtime) in one_line(ended.stderr)


def test_no_socket_is_in_the_abstract_namespace(io, start_server):
    server = start_server()
    links = [os.readlink(entry) for entry in Path(f"/proc/{server.process.pid}/fd").iterdir()]
    own = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}
    listed = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    paths = [entry[7] for entry in listed if entry[6] in own and len(entry) > 7]
    assert len(paths) >= 3 and not [path for path in paths if path.startswith("@")], paths


def running(processes):
    return sum(each.is_running() for each in processes)


# One server


def test_the_lock_does_not_hang_on_the_socket_files(io, start_server):
    server = start_server()
    reader = open_reader(server, "unix")
    reader.next_control("$hello")
    for name in server.socket_files():
        (server.runtime / name).unlink()
    assert str(server.runtime) in refused("serve", "--runtime-dir", server.runtime, "--listen", "127.0.0.1:0")
    assert server.socket_files() == [], "who is refused must not put anything there"
    server.publish('{"n":1}')
    assert reader.next_event().json()["n"] == 1
    reader.close()


def test_four_hundred_starts_at_once_leave_one_server(directory):
    """Forty wait at a gate and start as one; the other 360 follow, forty at a time, while the winner runs."""
    gate, opener = os.pipe()
    at_gate = ("sh", "-c", 'read -r _; exec "$@" </dev/null', "sh")
    started = []

    def launch(number, through=(), stdin=subprocess.DEVNULL):
        command = [*through, program.BINARY, *map(str, serve(directory / "run"))]
        with (directory / f"said-{number}").open("wb") as said:
            environment = program.clean_environment()
            process = subprocess.Popen(command, stdin=stdin, stdout=said, stderr=said, env=environment)
        started.append((process, directory / f"said-{number}"))
        return process

    def launch_late(number):
        with contextlib.suppress(subprocess.TimeoutExpired):
            launch(number).wait(DEADLINE_S)

    try:
        for number in range(STARTS_AT_ONCE):
            launch(number, through=at_gate, stdin=gate)
        os.close(opener)
        wait_until(lambda: sum(process.poll() is None for process, _ in started) <= 1, "all but one to give up")
        with ThreadPoolExecutor(STARTS_AT_ONCE) as pool:
            list(pool.map(launch_late, range(STARTS_AT_ONCE, STARTS)))
        assert len(started) == STARTS
        ended = [(process.returncode, said) for process, said in started if process.poll() is not None]
        assert len(ended) == STARTS - 1, [(code, said.read_text()) for code, said in ended if code != 73]
        for code, said in ended:
            assert code == 73, said.read_text()
            assert str(directory / "run") in one_line(said.read_bytes())
        ((winner, said),) = [(process, said) for process, said in started if process.poll() is None]
        assert "ready" in said.read_text()
        for name in SOCKETS:
            with ByteStream.unix(directory / "run" / name):
                assert stat.S_IMODE((directory / "run" / name).stat().st_mode) == 0o600
        winner.terminate()
        assert winner.wait(DEADLINE_S) == 0
        assert not [path for path in (directory / "run").rglob("*") if path.is_socket()]
    finally:
        os.close(gate)
        for process, _ in started:
            if process.poll() is None:
                process.kill()
                process.wait()


def test_several_starts_on_what_a_killed_server_left_leave_one_server(directory, start):
    """The stale sockets are there to be fought for; ten rounds of eight."""
    for _ in range(10):
        started = [start(*serve(directory / "run")) for _ in range(8)]
        wait_until(lambda started=started: running(started) <= 1, "all but one to give up")
        (winner,) = [each for each in started if each.is_running()]
        winner.stderr.wait_for(lambda line: b"ready" in line)
        for loser in started:
            assert loser is winner or loser.wait() == 73, loser.said()
        for name in SOCKETS:
            ByteStream.unix(directory / "run" / name).close()
        winner.kill()
        assert [name for name in SOCKETS if (directory / "run" / name).is_socket()] == SOCKETS


def test_who_goes_does_not_take_the_sockets_of_who_comes(directory, start_server):
    """A new server is started again and again while the old one ends: the new one's sockets stay."""
    old = start_server(directory=directory)
    for _ in range(8):
        old.signal(signal.SIGTERM)
        new = wait_until(lambda: started_unless_refused(start_server, directory), "the place to be free")
        assert old.wait() == 0, old.said()
        assert new.socket_files() == ["events.socket", "http.socket", "ingest.socket"]
        assert answers(new)
        old = new


def started_unless_refused(start_server, directory):
    with contextlib.suppress(Ended):
        return start_server(directory=directory)


# What is in the way


def a_file(path):
    path.write_text("mine")


def a_directory(path):
    path.mkdir()
    (path / "mine").write_text("mine")


def a_pipe(path):
    os.mkfifo(path)


def a_link_to_nowhere(path):
    path.symlink_to(path.parent / "nowhere")


def a_link_to_a_file(path):
    (path.parent / "target").write_text("mine")
    path.symlink_to(path.parent / "target")


def a_link_to_a_socket(path):
    bound(path.parent / "target")
    path.symlink_to(path.parent / "target")


def somebody_elses_socket(path):
    if os.geteuid() != 0:
        pytest.skip("only root can make a socket that belongs to somebody else")
    bound(path)
    os.chown(path, NOBODY, NOBODY)


@pytest.mark.parametrize("name", SOCKETS)
@pytest.mark.parametrize(
    "put",
    [a_file, a_directory, a_pipe, a_link_to_nowhere, a_link_to_a_file, a_link_to_a_socket, somebody_elses_socket],
    ids=lambda put: put.__name__.replace("_", " "),
)
def test_what_is_not_an_own_socket_is_left_alone(runtime, name, put):
    path = runtime / name
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path)
    before = {each: identity(each) for each in path.parent.iterdir()}
    assert name.rpartition("/")[2] in refused(*serve(runtime))
    assert {each: identity(each) for each in path.parent.iterdir() if each in before} == before
    left = [str(each.relative_to(runtime)) for each in runtime.rglob("*") if each.is_socket() and each not in before]
    assert left == [], "a server that does not start leaves no sockets"


def test_a_socket_on_which_another_program_listens_is_left_alone(runtime, start):
    """It is a socket and of this user, but not stale: only what a killed server left may be replaced."""
    path = runtime / "events.socket"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        before = identity(path)
        server = start(*serve(runtime))
        assert b" ready " not in server.stderr.wait_for(lambda _: True)
        assert server.wait() == 73
        assert identity(path) == before


def test_a_file_where_a_folder_of_sockets_goes_is_left_alone(runtime):
    (runtime / "ingest").write_text("mine")
    assert "ingest" in refused(*serve(runtime))
    assert (runtime / "ingest").read_text() == "mine"


def test_stale_sockets_are_replaced(io, runtime, start_server):
    for name in SOCKETS:
        bound(runtime / name)
    before = {name: identity(runtime / name) for name in SOCKETS}
    server = start_server("--channel", "deep/er", directory=runtime.parent)
    assert answers(server)
    assert [name for name in SOCKETS if identity(runtime / name) == before[name]] == []


# At the end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sockets_that_somebody_put_in_place_of_ones_own_stay(io, start_server, number):
    server = start_server("--channel", "deep/er")
    replaced, moved = server.runtime / "events.socket", server.runtime / "ingest/deep/er.socket"
    replaced.unlink()
    bound(replaced)
    moved.unlink()
    moved.write_text("mine")
    (server.runtime / "http.socket").unlink()
    server.signal(number)
    assert server.wait() == 0, server.said()
    assert server.socket_files() == ["events.socket"]
    assert moved.read_text() == "mine"


def test_a_socket_taken_away_is_missed_by_nobody_at_the_end(io, start_server):
    server = start_server("--channel", "deep/er")
    for name in SOCKETS:
        (server.runtime / name).unlink()
    server.stop()


def test_a_server_that_cannot_get_its_port_takes_its_sockets_away(directory):
    with socket.create_server(("127.0.0.1", 0)) as other:
        command = ["serve", "--runtime-dir", directory / "run", "--listen", f"127.0.0.1:{other.getsockname()[1]}"]
        refused(*command)
    assert not [path for path in directory.rglob("*") if path.is_socket()]
