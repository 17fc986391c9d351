"""SIGHUP: the configuration file is read again while readers and writers go on; all of it holds, or nothing."""

import json
import os
import signal

import pytest

import http1
from readers import open_reader
from streams import ByteStream, wait_until


class Configured:
    """A server with a file that the test rewrites."""

    def __init__(self, start_server, tmp_path, configuration, *flags, **how):
        self.path = tmp_path / "fanout.json"
        self.write(configuration)
        self.server = start_server("--config", self.path, *flags, **how)

    def write(self, configuration):
        text = configuration if isinstance(configuration, str) else json.dumps(configuration)
        # As an editor does: the server never finds half a file.
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.rename(self.path)

    def reload(self, configuration=None):
        """Writes the file and has it read; what the log says of it."""
        if configuration is not None:
            self.write(configuration)
        lines = self.server.stderr.text().count("reloaded")
        self.server.signal(signal.SIGHUP)
        wait_until(lambda: self.server.stderr.text().count("reloaded") > lines, "the reload is logged")
        return [line for line in self.server.stderr.text().splitlines() if "reloaded" in line][-1]


@pytest.fixture
def configured(start_server, tmp_path):
    return lambda configuration, *flags, **how: Configured(start_server, tmp_path, configuration, *flags, **how)


def test_a_reader_and_a_writer_live_through_it_and_changed_rules_hold_for_the_next_event(configured):
    it = configured({})
    with open_reader(it.server, "sse", channel="a") as reader, ByteStream.unix(it.server.ingest_socket) as writer:
        reader.next_control("$hello")
        writer.send(b'{"$ack":true}\n{"$publish":{"event":{"n":1},"channel":"a"}}\n')
        writer.until(b"\n")
        assert reader.next_event().text == b'{"seq":1,"channel":"a","n":1}'
        assert it.reload({"channels": {"a": {"stamp": ["seq"]}}}).endswith(f"info: reloaded {it.path}")
        writer.send(b'{"$publish":{"event":{"n":2},"channel":"a"}}\n')
        writer.until(b"\n")
        assert reader.next_event().text == b'{"seq":2,"n":2}'
    assert it.server.metric("fanout_reloads_total", result="ok") == 1


def test_a_faulty_file_changes_nothing_and_its_first_fault_is_said(configured):
    it = configured({"routes": {"/feed": "news"}})
    said = it.reload('{\n  "routes": {"/other": "news"},\n  "lisen": 1,\n  "limits": []\n}')
    assert f"error: not reloaded: {it.path}:3:3: unknown key 'lisen', did you mean 'listen'? (and 1 more: " in said
    body = http_post(it.server, "/feed")
    assert body["seq"] == 1
    assert it.server.metric("fanout_reloads_total", result="refused") == 1


def test_a_file_that_is_gone_changes_nothing(configured):
    it = configured({"routes": {"/feed": "news"}})
    it.path.unlink()
    assert "No such file" in it.reload()
    assert http_post(it.server, "/feed")["seq"] == 1


def http_post(server, path, body=b'{"n":1}'):
    response = server.exchange(http1.request("POST", path, {"Content-Type": "application/json"}, body))
    return response.json() if response.status == 200 else response.status


def test_a_changed_address_refuses_the_whole_and_flags_win_as_at_the_start(configured):
    it = configured({})
    # --listen and --jsonl are flags: what the file says of them changes nothing.
    assert it.reload({"listen": "127.0.0.1:1", "routes": {"/feed": "news"}}).endswith(f"reloaded {it.path}")
    assert http_post(it.server, "/feed")["seq"] == 1
    said = it.reload({"heartbeat_s": 3, "routes": {"/other": "news"}})
    assert "not reloaded: only a restart can change 'heartbeat_s'" in said
    assert http_post(it.server, "/feed")["seq"] == 2
    assert http_post(it.server, "/other") == 404


def test_without_a_file_it_ends_nothing(start_server, io):
    server = start_server()
    server.signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP changes nothing" in server.stderr.text(), "it is logged")
    assert server.get("/healthz").status == 200


def test_it_is_heard_under_nohup_too_where_there_is_a_file(configured):
    it = configured({}, through=["nohup"])
    it.reload({})
    assert it.server.get("/readyz").status == 200


def test_a_pipe_in_the_file_s_place_stops_nothing(configured):
    it = configured({})
    it.path.unlink()
    os.mkfifo(it.path)
    assert "is not a regular file" in it.reload()
    assert it.server.get("/healthz").status == 200


def test_many_signals_under_load_lose_nothing(configured, io):
    it = configured({"channels": {"a": {"stamp": ["seq"]}}}, io=io)
    with open_reader(it.server, "unix") as reader, ByteStream.unix(it.server.ingest_socket) as writer:
        reader.next_control("$hello")
        for number in range(200):
            writer.send(b'{"n":%d}\n' % number)
            if number % 10 == 0:
                it.write({"channels": {"a": {"stamp": ["seq"]}}, "limits": {"events": 4096 + number}})
                it.server.signal(signal.SIGHUP)
        assert [reader.next_event().json()["n"] for _ in range(200)] == list(range(200))
    assert it.server.metric("fanout_reloads_total", result="refused") == 0


def test_ingest_sockets_come_and_go_with_it(configured, directory):
    it = configured({"ingest": {"old/a.sock": "a", str(directory / "b.sock"): "b"}}, directory=directory / "srv")
    sockets = directory / "srv"
    assert (sockets / "old/a.sock").is_socket() and (directory / "b.sock").is_socket()
    with ByteStream.unix(sockets / "old/a.sock") as writer, open_reader(it.server, "unix") as reader:
        reader.next_control("$hello")
        it.reload({"ingest": {"new/a.sock": "a", str(directory / "b.sock"): "c"}})
        assert not (sockets / "old").exists() and (sockets / "new/a.sock").is_socket()
        # Who had come in there goes on.
        writer.send(b'{"n":1}\n')
        assert reader.next_event().json()["channel"] == "a"
        with ByteStream.unix(directory / "b.sock") as other:
            other.send(b'{"n":2}\n')
            assert reader.next_event().json()["channel"] == "c"
        # One that cannot be made refuses the whole.
        (sockets / "file").write_text("mine")
        said = it.reload({"ingest": {"new2/a.sock": "a", "file": "x"}})
        assert "is in the way" in said
        assert not (sockets / "new2").exists() and (sockets / "new/a.sock").is_socket()
    it.server.stop()
    assert (sockets / "file").read_text() == "mine"
    assert not (sockets / "new").exists() and not (directory / "b.sock").exists()
