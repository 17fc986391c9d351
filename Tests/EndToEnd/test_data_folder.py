"""The data folder as an operator meets it: what a start says and refuses, what is logged, counted and kept."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

import program
from readers import open_reader
from streams import wait_until
from test_status import metrics

ROOT = Path(__file__).parents[2]
NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else, or mount")


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def rows(path, sql):
    with closing(sqlite3.connect(path)) as database:
        return database.execute(sql).fetchall()


def cursors(server):
    """The head of each channel."""
    return {each["channel"]: each["head"] for each in server.get("/v1/channels").json()["channels"]}


def epoch(server):
    return cursors(server)["events"].partition("-")[0]


def write(server, count, channel=None):
    """Events of which nobody waits for an answer, until they are numbered."""
    before = server.metric("fanout_head_seq")
    server.ingest(b'{"n":1}\n' * count, channel)
    wait_until(lambda: server.metric("fanout_head_seq") == before + count, "the events to be numbered")


def refused(tmp_path, *arguments, through=(), code):
    """A start that comes to nothing: its one line. Nothing of a server is there afterwards, not for a moment."""
    run = tmp_path / "run"
    command = [*through, program.BINARY, "serve", "--runtime-dir", run, "--listen", "127.0.0.1:0", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env=program.clean_environment(), timeout=30)
    assert ended.returncode == code, ended
    assert ended.stdout == "" and ended.stderr.startswith("fanout serve: cannot "), ended
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert not run.exists()
    return ended.stderr


def database(path, sql):
    path.mkdir()
    with closing(sqlite3.connect(path / "events.db")) as made:
        made.executescript(sql)


# Opening


def test_the_ready_line_names_the_folder_wherever_it_was_named_from(io, start_server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = start_server("--data", "data")
    assert f" · data {tmp_path}/data · {io}" in server.ready_line
    assert (tmp_path / "data/events.db").exists()
    server.stop()
    again = start_server(environment=program.clean_environment(FANOUT_DATA=str(tmp_path / "data")))
    assert f" · data {tmp_path}/data · " in again.ready_line
    assert " · data " not in start_server().ready_line


@pytest.mark.parametrize(
    "what, code, says",
    [
        ("a file in its place", 74, "ENOTDIR (Not a directory); name a folder"),
        ("no folder above it", 74, "ENOENT (No such file or directory); make the folder that it is to be in"),
        ("of another program", 78, "a database of another program; name another folder"),
        ("of a newer version", 78, "start the newer version"),
        ("damaged", 74, "is set aside as"),
        ("in use", 73, "only one server may use a data folder"),
    ],
)
def test_a_folder_that_cannot_be_used_is_said_in_a_line_before_anything_is_there(
    start_server, tmp_path, data, what, code, says
):
    if what == "a file in its place":
        data.write_text("")
    elif what == "no folder above it":
        data = data / "deeper"
    elif what == "of another program":
        database(data, "CREATE TABLE theirs(a);")
    elif what == "of a newer version":
        database(data, "PRAGMA application_id=0x66616e6f; PRAGMA user_version=99; CREATE TABLE log(a);")
    elif what == "damaged":
        data.mkdir()
        (data / "events.db").write_bytes(b"no database" * 1_000)
    else:
        start_server("--data", data, io="auto")
    line = refused(tmp_path, "--data", data, code=code)
    assert str(data) in line and says in line, line
    # As a warning it is the same line, and the server is there.
    optional = start_server("--data", data, "--data-optional", io="auto")
    assert " · data " not in optional.ready_line
    [warning] = [line for line in optional.stderr.text().splitlines() if "warning" in line]
    assert warning.startswith("fanout: warning: everything is kept in memory only: cannot ") and str(data) in warning


@needs_root
@pytest.mark.parametrize("what", ["the folder above it", "the folder", "the file"])
def test_a_user_without_the_right_is_told_so(tmp_path, data, what):
    theirs = data
    if what == "the folder above it":
        theirs = data / "deeper"
    data.mkdir(mode=0o777 if what == "the file" else 0o755)
    data.chmod(0o777 if what == "the file" else 0o755)
    if what == "the file":
        (data / "events.db").touch(0o600)
    # The test's own folder is its owner's alone.
    for folder in [tmp_path, *tmp_path.parents]:
        if folder != Path("/") and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    through = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    binary = shutil.copy(program.BINARY, tmp_path / "fanout")
    command = [*through, binary, "serve", "--runtime-dir", tmp_path / "run", "--data", theirs]
    ended = subprocess.run(command, capture_output=True, text=True, env=program.clean_environment(), timeout=30)
    assert ended.returncode == 74, ended
    assert "EACCES (Permission denied); let this user read and write" in ended.stderr, ended.stderr
    assert str(theirs) in ended.stderr and ended.stderr.count("\n") == 1


@needs_root
def test_a_read_only_file_system_and_a_full_one_are_said_for_what_they_are(start_server, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "fanout-test", disk], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not possible here: {mounted.stderr}")
    try:
        start_server("--data", disk / "data", io="auto").stop()
        (disk / "ballast").write_bytes(bytes(2 << 20)[: shutil.disk_usage(disk).free])
        line = refused(tmp_path, "--data", disk / "other", code=74)
        assert "free space on its file system" in line and str(disk / "other") in line, line
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for name in ("data", "new"):
            line = refused(tmp_path, "--data", disk / name, code=74)
            assert "EROFS (Read-only file system); make the file and its file system writable" in line, line
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_start_that_fails_at_a_port_or_a_folder_costs_no_epoch(io, start_server, tmp_path, data):
    server = start_server("--data", data)
    before = epoch(server)
    server.stop()
    with socket.create_server(("127.0.0.1", 0)) as busy:
        places = ["--runtime-dir", tmp_path / "run", "--listen", f"127.0.0.1:{busy.getsockname()[1]}"]
        ended = program.run("serve", "--data", data, "--io", io, *places)
        assert ended.returncode == 73 and b"EADDRINUSE" in ended.stderr, ended
    (tmp_path / "file").write_text("")
    ended = program.run("serve", "--data", data, "--runtime-dir", tmp_path / "file")
    assert ended.returncode == 73, ended
    assert epoch(start_server("--data", data)) == before


def test_a_new_epoch_is_said_with_its_reason_and_the_first_one_and_the_same_one_are_not(
    io, start_server, tmp_path, data
):
    def said(folder):
        server = start_server("--data", folder)
        lines = [line for line in server.stderr.text().splitlines() if "a new epoch begins" in line]
        assert all(str(folder) in line and "warning" in line for line in lines)
        return server, "".join(lines)

    server, text = said(data)
    assert text == ""
    write(server, 3)
    server.stop()
    server, text = said(data)
    assert text == ""
    server.kill()
    server, text = said(data)
    assert "behind event " in text and "the last server did not end in order" in text
    server.stop()
    shutil.copytree(data, tmp_path / "copy")
    server, text = said(tmp_path / "copy")
    assert "the database is a copy, or was moved here from another file system" in text
    server.stop()
    os.utime(data / "events.db")
    server, text = said(data)
    assert "the database was changed or put back after it was closed" in text
    server.stop()
    (data / "high-water").unlink()
    server, text = said(data)
    assert "the file high-water is missing or does not fit the database" in text


def test_what_was_set_aside_is_said_by_name(io, start_server, data):
    data.mkdir()
    (data / "events.db").write_bytes(b"no database" * 1_000)
    server = start_server("--data", data, "--new-log")
    [aside] = data.glob("events.db.corrupt-*")
    assert f"the database was damaged and is set aside as {aside}: a new log begins" in server.stderr.text()


def test_the_demo_keeps_its_events_too_and_says_where(io, start_server, start, data, directory):
    places = ["--data", data, "--runtime-dir", directory / "run", "--listen", "127.0.0.1:0", "--io", io]
    demo = start("demo", *places)
    demo.stdout.wait_for(lambda line: line.decode() == f"data       {data}\n")
    wait_until(lambda: (directory / "run/events.socket").exists(), "the demo to listen")
    pause_until_stored(data)
    demo.signal(signal.SIGTERM)
    assert demo.wait() == 0
    # Of the processor's load there is nothing to say before the second second.
    assert ("host/memory",) in rows(data / "events.db", "SELECT name FROM channel WHERE events > 0")


def pause_until_stored(data):
    """Until the write-ahead log has more than what an opening writes."""
    wal = data / "events.db-wal"
    at_first = wal.stat().st_size
    wait_until(lambda: wal.stat().st_size > at_first + 8_192, "events in the log")


# Retention


def test_retention_without_a_database_is_warned_of(io, start_server, tmp_path):
    kept = {"channels": {"a": {"retention": {"count": 1}}}}
    server = start_server(*program.configured(tmp_path, kept))
    assert "warning: the channels' retention says nothing" in server.stderr.text()
    assert "retention" not in start_server(*program.configured(tmp_path, {})).stderr.text()


def test_each_channel_keeps_what_its_pattern_says(io, start_server, tmp_path, data):
    def kept():
        found = rows(data / "events.db", "SELECT name, events, first_seq FROM channel")
        return {name: (events, first) for name, events, first in found}

    rules = {"a/*": {"retention": {"count": 5}}, "a/all": {}, "old": {"retention": {"age_s": 1}}}
    configured = program.configured(tmp_path, {"channels": rules})
    channels = ["a/few", "a/all", "old", "small"]
    declared = [part for name in channels for part in ("--channel", name)]
    server = start_server("--data", data, *configured, *declared)
    for name in channels:
        write(server, 20, name)
    wait_until(lambda: server.metric("fanout_storage_pruned_total") == 15 + 20, "retention")
    server.stop()
    assert kept() == {"a/few": (5, 16), "a/all": (20, 21), "old": (0, 0), "small": (20, 61)}
    # Of channels that are there already, and are not written to any more.
    rules["small"] = {"retention": {"bytes": "100"}}
    rules["a/*"] = {"retention": {"count": 2}}
    configured = program.configured(tmp_path, {"channels": rules})
    server = start_server("--data", data, *configured)
    wait_until(lambda: server.metric("fanout_storage_pruned_total") >= 20, "retention")
    server.stop()
    line = len('{"seq":80,"channel":"small","n":1}')
    assert kept() == {"a/few": (2, 19), "a/all": (20, 21), "old": (0, 0), "small": (100 // line, 81 - 100 // line)}


# Stopping


@pytest.mark.parametrize("flags", [[], ["--text"]], ids=["json", "text"])
def test_what_was_read_from_standard_input_is_on_the_disk_when_the_server_has_ended(io, start_server, data, flags):
    server = start_server("--data", data, "--stdin", "--exit-on-eof", *flags, stdin=subprocess.PIPE)
    server.stdin.write(b'{"n":1}\n' * 30_000)
    server.stdin.close()
    server.check_stopped()
    assert (data / "events.db-wal").stat().st_size == 0
    assert rows(data / "events.db", "SELECT count(*), min(seq), max(seq) FROM event") == [(30_000, 1, 30_000)]
    assert rows(data / "events.db", "SELECT clean, head FROM log") == [(1, 30_000)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whatever_a_reader_was_sent_is_stored_when_a_server_has_stopped(io, start_server, data, number):
    server = start_server("--data", data, *program.configured(data.parent, {"limits": {"events": 1 << 20}}))
    before = epoch(server)
    reader = open_reader(server, "unix")
    reader.next_control("$hello")
    server.ingest(b'{"n":1}\n' * 20_000)
    server.signal(number)
    last = 0
    while True:
        record = reader.next().json()
        if record.get("type") == "$bye":
            break
        last = record["seq"]
    assert (record["code"], record["last"]) == (1001, f"{before}-{last}")
    reader.close()
    server.check_stopped()
    assert rows(data / "events.db", "SELECT count(*), max(seq) FROM event") == [(last, last)]
    assert cursors(start_server("--data", data))["events"] == f"{before}-{last}"


# Figures


def test_the_figures_of_the_database_follow_it(io, start_server, data):
    server = start_server("--data", data)
    write(server, 500)
    assert server.post('{"n":1}').status == 200
    wait_until(lambda: server.metric("fanout_storage_committed_seq") == 501, "the events to be stored")
    now = metrics(server)
    assert now["fanout_storage_events_total"] == 501
    assert 1 <= now["fanout_storage_transactions_total"] <= 501
    assert now["fanout_storage_queue_events"] == now["fanout_storage_queue_bytes"] == 0
    assert now['fanout_storage_state{state="running"}'] == 1
    assert now['fanout_storage_state{state="refusing"}'] == now['fanout_storage_state{state="ended"}'] == 0
    assert now["fanout_storage_wal_bytes"] > 4_096
    assert now["fanout_storage_longest_transaction_microseconds"] > 0
    assert now["fanout_storage_refusals_total"] == 0
    server.stop()
    server = start_server("--data", data)
    now = metrics(server)
    assert now["fanout_storage_database_bytes"] == (data / "events.db").stat().st_size
    assert now["fanout_storage_committed_seq"] == now["fanout_storage_synced_seq"] == 501
    assert not [name for name in metrics(start_server()) if name.startswith("fanout_storage")]


def test_every_figure_of_the_database_is_documented(io, start_server, data):
    documented = set(re.findall(r"^\| `(fanout_storage_[a-z_]+)", (ROOT / "EVENTS.md").read_text(), re.MULTILINE))
    names = {name.partition("{")[0] for name in metrics(start_server("--data", data)) if "fanout_storage" in name}
    assert names == documented


# What is said of it


def test_the_tables_that_are_documented_are_those_of_the_file(start_server, data):
    text = (ROOT / "EVENTS.md").read_text().partition("### The file")[2]
    documented = {
        table: [name.strip("` ") for name in columns.split(",")]
        for table, columns in re.findall(r"^\| `([a-z]+)` \| ((?:`[a-z_]+`(?:, )?)+) \|", text, re.MULTILINE)
    }
    start_server("--data", data, io="auto").stop()
    found = {
        name: [column for [column] in rows(data / "events.db", f"SELECT name FROM pragma_table_info('{name}')")]
        for [name] in rows(data / "events.db", "SELECT name FROM sqlite_schema WHERE type = 'table'")
        if not name.startswith("sqlite_")
    }
    assert found == documented


def test_a_check_says_the_faults_of_retention_and_touches_no_folder(tmp_path, data):
    _, file = program.configured(tmp_path, {"data": str(data), "channels": {"a/**": {"retention": {"count": 5}}}})
    assert program.run("check", "--config", file).returncode == 0
    assert not data.exists()
    file.write_text(json.dumps({"channels": {"a": {"retention": {"count": 0, "days": 3}}}}))
    ended = program.run("check", "--config", file)
    assert ended.returncode == 78
    assert [line.partition(": ")[2] for line in ended.stderr.decode().splitlines()] == [
        "'count' must be a whole number from 1 to 1099511627776",
        "unknown key 'days': 'retention' has count, age_s, bytes",
    ]
