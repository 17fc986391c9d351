"""Further ingest sockets: at the paths that the configuration gives, one by one or as families of channels."""

import json
import os
import signal
import socket
import stat

import pytest

import http1
import program
from readers import open_reader
from streams import ByteStream

FAMILY = {"ingest": {"terok/events/{id}.sock": "terok/{id}", "one/feed.sock": "deep/er"}}
ID = "0123456789ab"


@pytest.fixture
def family(start_server, directory):
    """A server with a family; its runtime directory is `run` in `directory`."""

    def start(*flags, configuration=FAMILY, **how):
        return start_server(*program.configured(directory, configuration), *flags, directory=directory, **how)

    return start


def declare(server, method, channel):
    return server.exchange(http1.request(method, f"/v1/channels?channel={channel}", {}, b""))


def test_a_socket_of_its_own_publishes_to_its_channel_and_to_no_other(family, directory, io):
    server = family()
    path = directory / "one/feed.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert f"ingest {path}" in server.ready_line
    with open_reader(server, "unix") as reader, ByteStream.unix(path) as writer:
        reader.next_control("$hello")
        writer.send(b'{"n":1}\n{"$ack":true}\n')
        assert reader.next_event().text == b'{"seq":1,"channel":"deep/er","n":1}'
    with ByteStream.unix(path) as writer:
        writer.send(b'{"$ack":true}\n{"$publish":{"event":{},"channel":"events"}}\n')
        assert json.loads(writer.until(b"\n"))["error"]["code"] == "channel_fixed"
    server.stop()
    assert not path.parent.exists()


def test_members_of_a_family_appear_with_their_channel_and_go_with_it(family, directory, io):
    server = family("--channel", "terok/first")
    folder = directory / "terok/events"
    assert [path.name for path in folder.iterdir()] == ["first.sock"]
    assert declare(server, "PUT", f"terok/{ID}").status == 201
    assert declare(server, "PUT", f"terok/{ID}").status == 200
    assert declare(server, "PUT", "terok/a/b").status == 201
    assert declare(server, "PUT", "other").status == 201
    assert sorted(path.name for path in folder.iterdir()) == [f"{ID}.sock", "first.sock"]
    assert server.channel_socket(f"terok/{ID}").is_socket()
    with open_reader(server, "unix") as reader, ByteStream.unix(folder / f"{ID}.sock") as writer:
        reader.next_control("$hello")
        writer.send(b'{"type":"shield_up"}')
        writer.finish()
        assert reader.next_event().json()["channel"] == f"terok/{ID}"
    assert declare(server, "DELETE", f"terok/{ID}").status == 200
    assert [path.name for path in folder.iterdir()] == ["first.sock"]
    assert declare(server, "PUT", f"terok/{ID}").status == 201
    assert (folder / f"{ID}.sock").is_socket()
    server.stop()
    assert not (directory / "terok").exists()


def test_publishing_to_a_channel_that_nobody_declared_makes_no_socket(family, directory):
    server = family()
    server.publish('{"n":1}', channel=f"terok/{ID}")
    assert not (directory / "terok").exists()


def test_a_dead_server_s_sockets_are_taken_over_and_nothing_else_is(family, directory):
    server = family("--channel", f"terok/{ID}")
    path = directory / f"terok/events/{ID}.sock"
    server.signal(signal.SIGKILL)
    server.wait()
    assert path.is_socket()
    server = family("--channel", f"terok/{ID}")
    with ByteStream.unix(path) as writer:
        writer.send(b'{"$ack":true}\n{}\n')
        assert json.loads(writer.until(b"\n"))["seq"] == 1
    (directory / "terok/events/mine.sock").write_text("mine")
    answer = declare(server, "PUT", "terok/mine")
    assert (answer.status, answer.error_code()) == (503, "cannot_create")
    assert not server.channel_socket("terok/mine").exists()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(directory / "terok/events/busy.sock"))
        other.listen()
        assert declare(server, "PUT", "terok/busy").status == 503
        assert (directory / "terok/events/busy.sock").is_socket()
    assert declare(server, "PUT", "terok/" + "x" * 100).status == 503
    server.stop()
    assert (directory / "terok/events/mine.sock").read_text() == "mine"


def test_a_folder_that_was_there_stays(family, directory):
    (directory / "one").mkdir(mode=0o755)
    server = family()
    server.stop()
    assert (directory / "one").is_dir() and not os.listdir(directory / "one")


def test_a_path_that_is_too_long_is_said_at_the_start(directory):
    name = "x" * 90 + ".sock"
    ended = program.run(
        "serve", "--runtime-dir", directory / "run", "--listen", "127.0.0.1:0",
        *program.configured(directory, {"ingest": {name: "a"}}),
    )
    assert ended.returncode == 73 and b"is longer than a socket's may be" in ended.stderr, ended.stderr
