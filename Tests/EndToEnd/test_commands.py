"""`tail`, `emit` and `demo` as a person at a terminal uses them, together with a running server."""

import json
import re
import signal
import socket
import subprocess
import time

import pytest

import program
from readers import open_reader
from streams import DEADLINE_S, Lines, has_members, wait_until

ACK = re.compile(
    r'\{"cursor":"[0-9a-f]{16}-[0-9]+","seq":([0-9]+),"level":"accepted","dup":false,"subscribers":([0-9]+),"behind":0\}\n'
)


def wait_until_printed(lines, server, channel):
    """Publishes events of the kind `probe` until one has gone all the way to what a command prints."""

    def printed():
        server.publish('{"type":"probe"}', channel=channel)
        return any(b"probe" in line for line in lines.lines)

    wait_until(printed, f"an event of {channel} to be printed")


# tail


@pytest.fixture
def tail(server, start, channel):
    """Starts `fanout tail` and waits until it prints what is published on the test's channel."""

    def launch(*arguments):
        tailing = start("tail", *arguments)
        wait_until_printed(tailing.stdout, server, channel)
        return tailing

    return launch


def test_tail_prints_each_event_as_the_line_it_was(server, tail, channel):
    tailing = tail("--runtime-dir", server.runtime)
    ack = server.publish('{ "type" : "x", "n" : 1.0 }', channel=channel)
    line = tailing.stdout.wait_for(lambda line: has_members(line, {"type": "x"}))
    assert line == b'{"seq":%d,"channel":"%s","type":"x","n":1.0}\n' % (ack["seq"], channel.encode())


def test_tail_takes_a_socket_or_a_url_in_any_form(server, tail, channel):
    for place in (
        server.events_socket,
        server.url,
        f"{server.url}/",
        f"{server.url}/v1/events",
        f"{server.url}/v1/events?channel={channel}",
    ):
        tailing = tail(place)
        server.publish('{"type":"x"}', channel=channel)
        tailing.stdout.wait_for_event(type="x")
        tailing.kill()
        wait_until(lambda: server.publish("{}", channel=channel)["subscribers"] == 0, "tail to be gone")


@pytest.mark.parametrize("by", ["socket", "url"])
def test_tail_picks_channels_and_kinds(server, tail, channel, by):
    place = ["--runtime-dir", server.runtime] if by == "socket" else ["--url", server.url]
    tailing = tail(*place, "--channel", f"{channel}/*", "--channel", channel, "--types", "a,probe")
    server.publish('{"type":"a","n":1}', channel="elsewhere")
    server.publish('{"type":"b","n":2}', channel=channel)
    server.publish('{"type":"a","n":3}', channel=f"{channel}/x")
    server.publish('{"type":"a","n":4}', channel=channel)
    tailing.stdout.wait_for_event(n=4)
    numbers = [json.loads(line).get("n") for line in tailing.stdout.lines]
    assert [number for number in numbers if number is not None] == [3, 4]


def test_tail_comes_back_when_the_server_does(directory, start, start_server):
    server = start_server(directory=directory)
    tailing = start("tail", "--runtime-dir", server.runtime)
    wait_until_printed(tailing.stdout, server, "before")
    server.stop()
    assert tailing.is_running()
    again = start_server(directory=directory)
    wait_until(
        lambda: again.publish("{}", channel="after") and b'"after"' in tailing.stdout.lines[-1],
        "tail to print an event of the new server",
    )


def test_tail_ends_when_nobody_reads_what_it_prints(server, channel):
    command = f"'{program.BINARY}' tail --runtime-dir '{server.runtime}' --channel {channel} --types a | head -n 1"
    pipeline = subprocess.Popen(
        ["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=program.clean_environment()
    )
    wait_until(
        lambda: server.publish('{"type":"a"}', channel=channel) and pipeline.poll() is not None, "the pipeline to end"
    )
    assert pipeline.stdout.read().count(b"\n") == 1
    assert pipeline.stderr.read() == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_tail_ends_on_a_signal_without_a_complaint(server, tail, channel, number):
    tailing = tail("--runtime-dir", server.runtime)
    tailing.signal(number)
    assert tailing.wait() in (0, 128 + number, -number)
    assert tailing.stderr.text() == ""


def test_tail_says_what_it_cannot_reach(directory):
    for arguments in (["--runtime-dir", directory], [directory / "no.socket"], ["--url", "http://127.0.0.1:1"]):
        ended = program.run("tail", *arguments)
        assert ended.returncode == 69
        assert ended.stderr.count(b"\n") == 1 and len(ended.stderr) > 20
        assert ended.stdout == b""


# emit


@pytest.mark.parametrize("by", ["socket", "url"])
def test_emit_publishes_one_event_and_prints_the_ack(server, greeted, by):
    reader = greeted("unix")
    place = ["--runtime-dir", server.runtime] if by == "socket" else ["--url", server.url]
    ended = program.run("emit", *place, '{"type":"hello"}')
    assert (ended.returncode, ended.stderr) == (0, b"")
    ack = ACK.fullmatch(ended.stdout.decode())
    assert reader.next_event().text == b'{"seq":%s,"channel":"events","type":"hello"}' % ack[1].encode()


def test_emit_publishes_lines_from_standard_input(server, greeted):
    reader = greeted("unix")
    lines = b"".join(b'{"n":%d}\n' % number for number in range(500))
    ended = program.run("emit", "--runtime-dir", server.runtime, "-", input=lines + b"\n")
    assert ended.returncode == 0
    acks = ended.stdout.decode().splitlines(keepends=True)
    assert len(acks) == 500 and all(ACK.fullmatch(line) for line in acks)
    assert [reader.next_event().json()["n"] for _ in range(500)] == list(range(500))


def test_emit_answers_line_by_line_while_its_input_goes_on(server):
    process = subprocess.Popen(
        [program.BINARY, "emit", "--runtime-dir", server.runtime, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=program.clean_environment(),
    )
    answers = Lines(process.stdout)
    for number in range(3):
        process.stdin.write(b'{"n":%d}\n' % number)
        process.stdin.flush()
        answers.wait_for(lambda line: ACK.fullmatch(line.decode()), after=number)
    process.stdin.close()
    assert process.wait(DEADLINE_S) == 0


def test_emit_names_a_channel(server, greeted, channel):
    reader = greeted("unix", channel=[channel])
    for place in (["--runtime-dir", server.runtime], ["--url", server.url]):
        assert program.run("emit", *place, "--channel", channel, "{}").returncode == 0
        assert reader.next_event().json()["channel"] == channel


@pytest.mark.parametrize("text", ["{", "hello", "[]", '{"type":1}', '{"seq":1}', '{"type":"$x"}'])
def test_emit_says_what_is_wrong_with_an_event(server, text):
    ended = program.run("emit", "--runtime-dir", server.runtime, text)
    assert ended.returncode == 65
    assert ended.stderr.count(b"\n") == 1 and len(ended.stderr) > 20
    assert ended.stdout == b""


def test_emit_says_what_it_cannot_reach(directory):
    for arguments in (["--runtime-dir", directory], ["--url", "http://127.0.0.1:1"]):
        ended = program.run("emit", *arguments, "{}")
        assert ended.returncode == 69
        assert ended.stderr.count(b"\n") == 1 and len(ended.stderr) > 20


def test_emit_quiet_if_absent_is_silent_when_nobody_is_there(directory):
    for arguments in (["--runtime-dir", directory], ["--url", "http://127.0.0.1:1"]):
        ended = program.run("emit", *arguments, "--quiet-if-absent", "{}")
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_emit_quiet_if_absent_does_not_wait_for_a_server_that_hangs(directory):
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(directory / "ingest.socket"))
        hanging.listen(1)
        started = time.monotonic()
        ended = program.run("emit", "--runtime-dir", directory, "--quiet-if-absent", "{}")
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
        # 250 ms by default; the rest is for a busy machine.
        assert time.monotonic() - started < 10


def test_emit_quiet_if_absent_publishes_when_somebody_is_there(server, greeted):
    reader = greeted("unix")
    ended = program.run("emit", "--runtime-dir", server.runtime, "--quiet-if-absent", '{"n":1}')
    assert ended.returncode == 0
    assert reader.next_event().json()["n"] == 1


# demo


@pytest.fixture(scope="module")
def demo():
    server = program.Server(command="demo")

    def page_address():
        return re.search(r"http://127\.0\.0\.1:(\d+)/", server.said())

    server.http_port = int(wait_until(page_address, "the address of the page")[1])
    server.url = f"http://127.0.0.1:{server.http_port}"
    yield server
    server.stop(signal.SIGINT)
    server.remove()


def test_demo_says_where_to_look_and_what_to_type(demo):
    wait_until(lambda: "Ctrl-C" in demo.said(), "the last line of the welcome")
    for words in (f"{demo.url}/", "curl -N", "ws://", "fanout emit", "host/cpu", "host/process"):
        assert words in demo.said(), words


@pytest.mark.parametrize("name", ["host/cpu", "host/memory", "host/network", "host/disk"])
def test_demo_feeds_tail_with_facts_about_this_host(demo, start, name):
    tailing = start("tail", "--url", demo.url, "--channel", name)
    first, second = (
        json.loads(tailing.stdout.wait_for(lambda line: has_members(line, {"channel": name}), after=n)) for n in (0, 1)
    )
    assert second["seq"] > first["seq"]
    assert isinstance(first["type"], str)
    assert any(isinstance(value, (int, float, dict, list)) for member, value in first.items() if member != "seq")


def test_demo_reports_processes_that_start_and_end_to_curl_and_jq(demo):
    curl = ["curl", "-sN", f"{demo.url}/v1/events?channel=host/process"]
    select = [
        "jq",
        "--unbuffered",
        "-r",
        'select(.type | startswith("process.") or . == "probe") | "\\(.type) \\(.name)"',
    ]
    with (
        subprocess.Popen(curl, stdout=subprocess.PIPE) as fetching,
        subprocess.Popen(select, stdin=fetching.stdout, stdout=subprocess.PIPE) as picking,
    ):
        names = Lines(picking.stdout)
        wait_until_printed(names, demo, "host/process")
        with subprocess.Popen(["sleep", "600"]) as sleeping:
            names.wait_for(lambda line: line == b"process.started sleep\n")
            sleeping.kill()
        names.wait_for(lambda line: line == b"process.ended sleep\n")
        fetching.kill()
        picking.kill()


def test_demo_shows_what_is_published_to_it(demo):
    with open_reader(demo, "sse", channel=["events"]) as reader:
        reader.next_control("$hello")
        ended = program.run("emit", "--runtime-dir", demo.runtime, '{"type":"hello"}')
        assert ended.returncode == 0
        assert reader.next_event().json()["type"] == "hello"
