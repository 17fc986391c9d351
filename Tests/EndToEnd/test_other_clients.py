"""Clients that other people wrote: curl, jq, nc, the Python packages httpx-sse and websockets."""

import json
import os
import signal
import subprocess

import httpx
import httpx_sse
import pytest
import websockets.sync.client

from readers import events_target
from streams import DEADLINE_S, Lines


@pytest.fixture
def run_in_background():
    """Starts a client whose standard output is collected; it is killed after the test."""
    running = []

    def start(*command, **options):
        running.append(subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, **options))
        return Lines(running[-1].stdout)

    yield start
    for process in running:
        process.kill()
        process.wait()


def is_hello(line):
    return b'"$hello"' in line


def test_curl_prints_hello_at_once_and_then_each_event(server, run_in_background, channel):
    lines = run_in_background("curl", "-sN", server.url + events_target(channel=channel))
    lines.wait_for(is_hello)
    for number in range(3):
        server.publish('{"n":%d}' % number, channel=channel)
        lines.wait_for_event(n=number)
    assert len(lines.lines) == 4


def test_curl_reads_server_sent_events(server, run_in_background, channel):
    lines = run_in_background(
        "curl", "-sN", "-H", "Accept: text/event-stream", server.url + events_target(channel=channel)
    )
    lines.wait_for(is_hello)
    ack = server.publish("{}", channel=channel)
    lines.wait_for(lambda line: line == b'data: {"seq":%d,"channel":"%s"}\n' % (ack["seq"], channel.encode()))


def test_curl_reads_over_the_unix_socket(server, run_in_background, channel):
    lines = run_in_background(
        "curl", "-sN", "--unix-socket", server.http_socket, "http://fanout" + events_target(channel=channel)
    )
    lines.wait_for(is_hello)
    server.publish('{"n":1}', channel=channel)
    lines.wait_for_event(n=1)


def test_jq_picks_from_curl_as_events_arrive(server, channel):
    select = 'if .type == "$hello" then "hello" else select(.type == "started").name end'
    command = f"curl -sN '{server.url}{events_target(channel=channel)}' | jq --unbuffered -r '{select}'"
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, start_new_session=True) as pipeline:
        names = Lines(pipeline.stdout)
        names.wait_for(lambda line: line == b"hello\n")
        server.publish('{"type":"ended","name":"no"}', channel=channel)
        server.publish('{"type":"started","name":"yes"}', channel=channel)
        names.wait_for(lambda line: line == b"yes\n")
        assert names.lines == [b"hello\n", b"yes\n"]
        os.killpg(pipeline.pid, signal.SIGTERM)


def test_nc_reads_the_events_socket(server, run_in_background, channel):
    lines = run_in_background("nc", "-U", server.events_socket, stdin=subprocess.PIPE)
    lines.wait_for(is_hello)
    server.publish('{"n":1}', channel=channel)
    lines.wait_for_event(n=1, channel=channel)


def test_nc_reads_the_tcp_port(server, run_in_background, channel):
    lines = run_in_background("nc", "127.0.0.1", server.jsonl_port, stdin=subprocess.PIPE)
    lines.wait_for(is_hello)
    server.publish('{"n":1}', channel=channel)
    lines.wait_for_event(n=1, channel=channel)


def test_nc_publishes_a_line_and_hears_nothing(server, greeted):
    reader = greeted("unix")
    ended = subprocess.run(
        ["nc", "-N", "-U", server.ingest_socket], input=b'{"type":"x"}\n', capture_output=True, timeout=DEADLINE_S
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert reader.next_event().json()["type"] == "x"


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_httpx_sse_reads_the_stream(server, channel, unix):
    transport = httpx.HTTPTransport(uds=str(server.http_socket)) if unix else None
    with (
        httpx.Client(transport=transport, timeout=DEADLINE_S) as client,
        httpx_sse.connect_sse(client, "GET", server.url + events_target(channel=channel)) as source,
    ):
        events = source.iter_sse()
        assert next(events).event == "$hello"
        acks = [server.publish('{"n":%d}' % number, channel=channel) for number in range(100)]
        for number, ack in enumerate(acks):
            event = next(events)
            assert (event.event, event.id) == ("message", ack["cursor"])
            assert json.loads(event.data) == {"seq": ack["seq"], "channel": channel, "n": number}


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_websockets_reads_the_stream_and_closes_cleanly(server, channel, unix):
    target = f"ws://127.0.0.1:{server.http_port}{events_target(channel=channel)}"
    if unix:
        connection = websockets.sync.client.unix_connect(str(server.http_socket), target)
    else:
        connection = websockets.sync.client.connect(target)
    with connection:
        assert json.loads(connection.recv(DEADLINE_S))["type"] == "$hello"
        acks = [server.publish('{"n":%d}' % number, channel=channel) for number in range(100)]
        for number, ack in enumerate(acks):
            assert json.loads(connection.recv(DEADLINE_S)) == {"seq": ack["seq"], "channel": channel, "n": number}
        assert connection.ping().wait(DEADLINE_S)
        connection.close(1000, "done")
    assert connection.close_code == 1000


def test_websockets_subscribes_by_message(server, channel):
    with websockets.sync.client.connect(f"ws://127.0.0.1:{server.http_port}/v1/events") as connection:
        connection.recv(DEADLINE_S)
        connection.send(json.dumps({"$subscribe": {"channel": [channel]}}))
        assert json.loads(connection.recv(DEADLINE_S))["type"] == "$hello"
        server.publish("{}", channel=f"{channel}/other")
        ack = server.publish("{}", channel=channel)
        assert json.loads(connection.recv(DEADLINE_S))["seq"] == ack["seq"]


def test_one_producer_and_every_kind_of_viewer_at_once(server, run_in_background, channel):
    query = server.url + events_target(channel=channel)
    viewers = [
        run_in_background("curl", "-sN", query),
        run_in_background("curl", "-sN", "-H", "Accept: text/event-stream", query),
        run_in_background("nc", "-U", server.events_socket, stdin=subprocess.PIPE),
        run_in_background("nc", "127.0.0.1", server.jsonl_port, stdin=subprocess.PIPE),
    ]
    for viewer in viewers:
        viewer.wait_for(is_hello)
    with websockets.sync.client.connect(query.replace("http://", "ws://")) as connection:
        connection.recv(DEADLINE_S)
        ack = server.publish_batch(['{"n":%d}' % number for number in range(500)], channel=channel)
        last = b'{"seq":%d,"channel":"%s","n":499}' % (ack["seq"], channel.encode())
        for viewer in viewers:
            viewer.wait_for(lambda line: line.removeprefix(b"data: ").rstrip() == last)
            numbers = [json.loads(line.removeprefix(b"data: ")).get("n") for line in viewer.lines if b'"n":' in line]
            assert numbers == list(range(500))
        assert [json.loads(connection.recv(DEADLINE_S))["n"] for _ in range(500)] == list(range(500))
