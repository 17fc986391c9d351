"""A disk that does not answer any more: it holds up nobody but those who wait for it, and no operator."""

import signal
import time

import pytest

from disks import FaultyDisk, compiled
from readers import open_reader
from streams import wait_until


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def disk(tmp_path, library):
    faulty = FaultyDisk(library, tmp_path / "data", tmp_path / "control")
    yield faulty
    faulty.heal()


def begin(start_server, tmp_path, disk):
    return start_server("--data", tmp_path / "data", environment=disk.environment)


def stick(server, disk):
    """The disk does not answer from now on, and the database waits for it."""
    syncs = disk.count("syncs")
    disk.set(sync_holds=1, write_holds=1)
    server.ingest(b'{"n":1}\n')
    wait_until(lambda: server.metric("fanout_storage_queue_events") == 1, "the database to wait")
    return syncs


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once_although_the_disk_does_not_answer(io, start_server, tmp_path, disk, second):
    server = begin(start_server, tmp_path, disk)
    reader = open_reader(server, "sse")
    reader.next_control("$hello")
    stick(server, disk)
    reader.next_event()
    server.signal(signal.SIGTERM)
    assert reader.next_control("$bye").json()["code"] == 1001, "readers are told whatever the disk does"
    reader.close()
    time.sleep(0.5)
    assert server.is_running(), "what was published is waited for"
    began = time.monotonic()
    server.signal(second)
    assert server.wait() == 128 + second
    assert time.monotonic() - began < 2
    assert server.socket_files() == []


def test_a_stop_waits_for_a_slow_disk_longer_than_for_readers(io, start_server, tmp_path, disk):
    server = begin(start_server, tmp_path, disk)
    idle = open_reader(server, "unix")
    idle.next_control("$hello")
    stick(server, disk)
    server.signal(signal.SIGTERM)
    time.sleep(6)
    assert server.is_running()
    disk.heal()
    server.check_stopped()
    again = begin(start_server, tmp_path, disk)
    assert again.metric("fanout_head_seq") == 1
    assert "epoch" not in again.stderr.text()
