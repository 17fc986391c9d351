"""Starting and stopping: the ready line, standard input, signals, exit codes, and what is left behind."""

import json
import re
import signal
import socket
import subprocess

import pytest

import program
from readers import CURSOR, TRANSPORTS, open_reader
from streams import ByteStream, wait_until


def one_line(stderr):
    """An operator's error: one line that says something."""
    text = stderr.decode()
    assert text.count("\n") == 1 and text.endswith("\n") and len(text) > 20, text
    return text


@pytest.fixture
def place(directory):
    """Flags of a server that need not get as far as serving."""
    return ["--runtime-dir", directory / "run", "--listen", "127.0.0.1:0"]


# Ready


def test_ready_is_one_line_that_names_every_address(io, start_server):
    server = start_server()
    line = server.ready_line
    assert line.startswith("fanout ")
    assert f"127.0.0.1:{server.http_port}" in line and f"127.0.0.1:{server.jsonl_port}" in line
    for path in (server.events_socket, server.http_socket, server.ingest_socket):
        assert str(path) in line
    assert io in line
    assert server.stderr.text().count("ready") == 1
    assert server.stdout.text() == ""


def test_auto_chooses_io_uring_where_the_kernel_allows_it(start_server):
    line = start_server(io="auto").ready_line
    assert ("epoll" if program.io_uring_refusal() else "io_uring") in line


def test_the_environment_is_heard_and_flags_win_over_it(start_server):
    server = start_server(environment=program.clean_environment(FANOUT_IO="io_uring", FANOUT_HEARTBEAT="7"), io="epoll")
    assert "epoll" in server.ready_line
    with open_reader(server, "sse") as reader:
        assert reader.next().json()["heartbeat_s"] == 7


def test_a_configuration_file_is_heard_and_flags_win_over_it(start_server, tmp_path):
    file = tmp_path / "fanout.json"
    file.write_text(
        json.dumps(
            {"listen": "127.0.0.1:1", "io": "epoll", "channels": {"dash": {"stamp": [], "discriminator": "kind"}}}
        )
    )
    server = start_server("--config", file, io="epoll")
    with open_reader(server, "http-jsonl", channel=["dash"]) as reader:
        assert reader.next().json()["kind"] == "$hello"
        server.publish('{"kind":"x", "seq":1}', channel="dash")
        assert reader.next().text == b'{"kind":"x","seq":1}'


def test_the_runtime_directory_comes_from_the_session(start, directory):
    environment = program.clean_environment(XDG_RUNTIME_DIR=str(directory))
    server = start("serve", "--listen", "127.0.0.1:0", environment=environment)
    server.stderr.wait_for(lambda line: b"ready" in line)
    assert (directory / "fanout" / "events.socket").is_socket()
    assert (directory / "fanout").stat().st_mode & 0o077 == 0
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


# Standard input


def test_stdin_is_published_line_by_line_and_its_end_leaves_the_server_up(io, start_server):
    server = start_server("--stdin", stdin=subprocess.PIPE)
    with open_reader(server, "sse") as reader:
        reader.next_control("$hello")
        server.stdin.write(b'{"n":1}\n\nnonsense\n{"n": 2}\n{"n":3}')
        server.stdin.flush()
        assert [reader.next_event().json()["n"] for _ in range(2)] == [1, 2]
        server.stdin.close()
        assert reader.next_event().json() == {"seq": 3, "channel": "events", "n": 3}
        ack = server.publish("{}")
        assert reader.next_event().json()["seq"] == ack["seq"] == 4


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_a_file_may_be_stdin(io, start_server, tmp_path, kind):
    path = tmp_path / "events.jsonl"
    path.write_text("".join('{"n":%d,"filler":"%s"}\n' % (number, "x" * 500) for number in range(5_000)))
    if kind == "file":
        with path.open("rb") as file:
            server = start_server("--stdin", stdin=file)
    else:
        with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
            server = start_server("--stdin", stdin=cat.stdout)

    def published():
        listed = server.get("/v1/channels").json()["channels"]
        return [entry for entry in listed if entry["channel"] == "events" and entry["events"] == 5_000]

    wait_until(published, "5,000 events from standard input")


def test_plain_lines_are_wrapped(io, start_server):
    server = start_server("--stdin", "--text", stdin=subprocess.PIPE)
    texts = ["hello", ' "quoted" \\ back', "tab\tbell\x07 nul\0 del\x7f", "é\u2028😀", '{"type":"x"}', "x" * 100_000]
    with open_reader(server, "unix") as reader:
        reader.next_control("$hello")
        server.stdin.write(("\n".join(texts) + "\n").encode())
        server.stdin.flush()
        for number, text in enumerate(texts):
            expected = {"seq": number + 1, "channel": "events", "type": "line", "text": text}
            assert reader.next_event().json() == expected
        server.stdin.write(b"bad \xff\xc3 bytes")
        server.stdin.close()
        assert reader.next_event().json()["text"] == "bad \ufffd\ufffd bytes"


def test_exit_on_eof_delivers_everything_and_ends(io, start_server):
    server = start_server("--stdin", "--exit-on-eof", stdin=subprocess.PIPE)
    with open_reader(server, "sse") as reader:
        reader.next_control("$hello")
        server.stdin.write(b"".join(b'{"n":%d,"filler":"%s"}\n' % (number, b"x" * 200) for number in range(2_000)))
        server.stdin.close()
        assert [reader.next_event().json()["n"] for _ in range(2_000)] == list(range(2_000))
        assert reader.next_control("$bye").json()["last"].endswith("-2000")
        assert reader.stream.rest() == b""
    assert server.wait() == 0
    assert server.socket_files() == []


def test_exit_on_eof_ends_when_there_never_was_input(start, place):
    assert start("serve", "--stdin", "--exit-on-eof", *place).wait() == 0


# Stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_says_goodbye_to_every_reader(io, start_server, number):
    server = start_server()
    opened = {transport: open_reader(server, transport) for transport in TRANSPORTS}
    for reader in opened.values():
        reader.next_control("$hello")
    ack = server.publish("{}")
    for reader in opened.values():
        reader.next_event()
    server.signal(number)
    for transport, reader in opened.items():
        bye = reader.next_control("$bye")
        members = bye.json()
        assert (members["code"], members["why"], members["last"]) == (1001, "shutdown", ack["cursor"]), transport
        assert isinstance(members["retry_ms"], int) and members["retry_ms"] > 0
        assert list(members) == ["type", "code", "why", "last", "retry_ms"], transport
        if "sse" in transport:
            assert (bye.event, bye.id, bye.retry) == ("$bye", ack["cursor"], members["retry_ms"])
        if "websocket" in transport:
            assert reader.connection.receive_close() == 1001
        assert reader.stream.rest() == b""
        reader.close()
    server.check_stopped()


def test_control_off_gets_no_goodbye(io, start_server):
    server = start_server()
    with open_reader(server, "sse", control="off") as reader:
        server.signal(signal.SIGTERM)
        assert reader.stream.rest() == b""
    server.check_stopped()


def test_idle_and_half_sent_requests_do_not_hold_a_stop_up(io, start_server):
    server = start_server()
    with server.connect() as idle, server.connect() as half, ByteStream.unix(server.ingest_socket) as ingest:
        idle.send(b"")
        half.send(b"GET /v1/ev")
        ingest.send(b'{"n":')
        server.stop()
        assert idle.rest() == b"" and ingest.rest() == b""


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_at_once(io, start_server, number, code):
    server = start_server()
    filler = json.dumps({"filler": "x" * 900})
    with open_reader(server, "tcp") as stopped:
        stopped.next_control("$hello")
        # A reader that takes nothing keeps the farewell of the first signal waiting.
        for _ in range(20):
            server.publish_batch([filler] * 1000)
        server.signal(number)
        wait_until(lambda: not accepts(server), "the server to stop accepting")
        assert server.is_running()
        server.signal(number)
        assert server.wait() == code


def accepts(server):
    try:
        server.connect().close()
        return True
    except ConnectionRefusedError:
        return False


def test_a_killed_server_leaves_nothing_that_stops_the_next_one(io, directory, start_server):
    killed = start_server("--channel", "a/b", directory=directory)
    killed.kill()
    assert killed.socket_files()
    server = start_server("--channel", "a/b", directory=directory)
    server.ingest(b"{}\n", channel="a/b")
    with open_reader(server, "unix") as reader:
        reader.next_control("$hello")


def test_a_new_start_is_a_new_epoch(io, directory, start_server):
    first = start_server(directory=directory)
    cursor = first.publish("{}")["cursor"]
    first.stop()
    second = start_server(directory=directory)
    assert CURSOR.match(cursor)
    with open_reader(second, "sse", from_=cursor) as reader:
        hello = reader.next_control("$hello").json()
        assert hello["epoch"] != cursor.split("-")[0]
        assert reader.next_control("$gap").json()["why"] == "unknown_epoch"


# Refusals


def test_a_busy_port_is_73_and_named(place):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = program.run("serve", *place[:2], "--listen", f"127.0.0.1:{port}")
    assert ended.returncode == 73
    assert str(port) in one_line(ended.stderr)


def test_a_second_server_in_the_same_place_is_73(start_server):
    server = start_server()
    ended = program.run("serve", "--runtime-dir", server.runtime, "--listen", "127.0.0.1:0")
    assert ended.returncode == 73
    assert str(server.runtime) in one_line(ended.stderr)
    assert server.publish("{}")
    with open_reader(server, "unix") as reader:
        reader.next_control("$hello")


def test_a_file_in_a_sockets_place_is_not_removed(place):
    directory = place[1]
    directory.mkdir(parents=True)
    (directory / "events.socket").write_text("mine")
    ended = program.run("serve", *place)
    assert ended.returncode == 73
    assert "events.socket" in one_line(ended.stderr)
    assert (directory / "events.socket").read_text() == "mine"


@pytest.mark.parametrize("address", ["0.0.0.0:7575", "[::]:7575", "192.0.2.1:7575"])
def test_an_address_that_others_can_reach_is_refused_with_the_flag_that_allows_it(place, address):
    ended = program.run("serve", *place[:2], "--listen", address)
    assert ended.returncode == 78
    assert "--insecure" in one_line(ended.stderr)


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["serve", "--lisen", "127.0.0.1:0"], "--lisen"),
        (["serve", "--io", "kqueue"], "kqueue"),
        (["serve", "--listen", "nonsense"], "nonsense"),
        (["serve", "--heartbeat", "soon"], "soon"),
        (["serve", "--channel", "a//b"], "a//b"),
        (["serve", "--listen"], "--listen"),
        (["serve", "surplus"], "surplus"),
        (["srve"], "srve"),
        (["tail", "--form", "now"], "--form"),
        (["emit", "--nope"], "--nope"),
    ],
)
def test_a_mistake_on_the_command_line_is_64_and_named(place, arguments, named):
    ended = program.run(*arguments)
    assert ended.returncode == 64
    assert named in one_line(ended.stderr)
    assert ended.stdout == b""


def test_no_command_at_all_is_64(place):
    ended = program.run()
    assert ended.returncode == 64
    assert b"serve" in ended.stderr


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["tail"], ["emit"], ["demo"], ["check"]], ids=lambda value: " ".join(value) or "fanout"
)
def test_help_is_on_standard_output(command):
    ended = program.run(*command, "--help")
    assert (ended.returncode, ended.stderr) == (0, b"")
    text = ended.stdout.decode()
    assert "fanout" in text and len(text.splitlines()) >= 5
    assert max(map(len, text.splitlines())) <= 120


def test_the_version_is_said():
    ended = program.run("--version")
    assert ended.returncode == 0
    assert re.fullmatch(rb"fanout \d+\.\d+\.\d+\n", ended.stdout)


# Configuration


def test_check_accepts_a_good_configuration(tmp_path):
    file = tmp_path / "good.json"
    file.write_text(
        '{"listen": "127.0.0.1:7575", "channels": {"dash/**": {"stamp": ["seq", "channel"], "discriminator": "kind"}}}'
    )
    ended = program.run("check", "--config", file)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    "text, named",
    [
        ('{"lisen": "127.0.0.1:7575"}', "lisen"),
        ('{\n "io": "kqueue"}', "2:"),
        ('{\n\n  "channels": {"a//b": {}}}', "3:"),
        ('{"channels": {"a": {"stamp": ["sequence"]}}}', "sequence"),
        ('{"listen": ', "1:"),
    ],
)
def test_check_names_every_fault_with_its_place(tmp_path, text, named):
    file = tmp_path / "bad.json"
    file.write_text(text)
    for command in (["check"], ["serve", "--runtime-dir", tmp_path / "run"]):
        ended = program.run(*command, "--config", file)
        assert ended.returncode == 78
        said = (ended.stdout + ended.stderr).decode()
        assert "bad.json" in said and named in said, said


def test_a_configuration_that_is_not_there_is_named(tmp_path):
    ended = program.run("check", "--config", tmp_path / "absent.json")
    assert ended.returncode in (66, 78)
    assert "absent.json" in one_line(ended.stderr)
