"""A database's life: the servers that use it one after the other, and how each of them ends."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import program
from readers import CURSOR, open_reader
from rfc6455 import upgrade_headers

FILE, LOG, HIGH_WATER = "events.db", "events.db-wal", "high-water"
ASIDE = "events.db.corrupt-*"
# How the next server finds the database: ended in order, or killed.
ENDS = ["stopped", "killed"]


class Life:
    """One data folder. `server` is the one that has it now; `begin` starts the next."""

    def __init__(self, start, folder):
        self.start = start
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self.server = None

    def begin(self, *arguments, configuration=None, **options):
        """Starts a server on the database; `configuration` stays for those that follow."""
        if configuration is not None:
            program.configured(self.folder, configuration)
        file = self.folder / "fanout.json"
        configured = ["--config", file] if file.exists() else []
        self.server = self.start("--data", self.data, *configured, *arguments, **options)
        return self.server

    def end(self, how="stopped"):
        """Ends the server, in order or by SIGKILL."""
        if how == "stopped":
            self.server.stop()
        else:
            self.server.kill()

    def again(self, how="stopped", *arguments, **options):
        """Ends the server and starts the next one."""
        self.end(how)
        return self.begin(*arguments, **options)

    def refused(self, *arguments):
        """A start that must not come to anything: its exit code, and the one line that says why."""
        ended = program.run("serve", "--data", self.data, *places(self.folder), *arguments)
        text = ended.stderr.decode()
        assert text.count("\n") == 1 and len(text) > 20, text
        assert ended.stdout == b""
        return ended.returncode, text

    def files(self):
        """What is in the folder, by name."""
        return {path.name: path.read_bytes() for path in sorted(self.data.iterdir())}

    def set_aside(self):
        """Damaged databases that were set aside, without their logs."""
        return sorted(path for path in self.data.glob(ASIDE) if not path.name.endswith("-wal"))


def forget_numbers(folder):
    """Removes what killed servers on databases below a folder have left in memory."""
    for file in Path(folder).rglob(FILE):
        status = file.stat()
        Path(f"/dev/shm/fanout-{os.geteuid()}-{status.st_dev}-{status.st_ino}").unlink(missing_ok=True)


def places(folder):
    """The flags of a server that nobody will reach."""
    return ["--runtime-dir", Path(folder) / "run", "--listen", "127.0.0.1:0"]


def epoch_of(server):
    return server.get("/v1/channels").json()["channels"][0]["head"].partition("-")[0]


def head_of(server):
    """The cursor of the newest event."""
    head = server.get("/v1/history?limit=1").json()["head"]
    assert CURSOR.match(head)
    return head


def come_back(server, transport, cursor, **query):
    """A reader that has read `$hello`, resumed as its kind does: `Last-Event-ID` on SSE, else query or `$subscribe`."""
    if "sse" in transport:
        reader = open_reader(server, transport, headers={"Last-Event-ID": cursor}, **query)
    else:
        reader = open_reader(server, transport, from_=cursor, **query)
    reader.greeting = greeting(reader)
    return reader


def greeting(reader):
    """The `$hello` of what was subscribed: before it a raw reader is sent whatever is published meanwhile."""
    while (record := reader.next().json()).get("type") != "$hello":
        pass
    return record


def gone(server, cursor):
    """That every kind of HTTP reader that wants no gap is told 410."""
    for headers in ({"Accept": "text/event-stream"}, {"Accept": program.NDJSON}, upgrade_headers()):
        response = server.get(f"/v1/events?from={cursor}&on_gap=fail", headers)
        assert (response.status, response.error_code()) == (410, "cursor_gone"), response


def rows(path, sql, *values):
    """What a copy of the database answers: the file itself is not touched."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute(sql, values).fetchall()


def copy(data, target):
    """Copies the files, as a backup does."""
    target = Path(target)
    target.mkdir(mode=0o700, exist_ok=True)
    for path in data.iterdir():
        shutil.copyfile(path, target / path.name)
    return target


def check_sound(data, folder):
    """That a copy of what a killed server left is a whole database; the copy, with its log in it."""
    target = copy(data, folder)
    [[said]] = rows(target / FILE, "PRAGMA integrity_check")
    assert said == "ok", said
    return target
