"""Disks for tests: small ones that fill up, and one that is slow or broken when a test says so."""

import contextlib
import mmap
import os
import struct
import subprocess
from pathlib import Path
from urllib.parse import urlencode

import pytest

import http1
import program

SHIM = Path(__file__).with_name("disk_faults.c")


def compiled(folder):
    """`disk_faults.c` as a library; made once for all tests."""
    library = Path(folder) / "disk_faults.so"
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", library, SHIM], check=True)
    return library


class FaultyDisk:
    """A folder whose files fail or wait as `fail`, `hold` and `slow` say, for programs with `environment`."""

    FIELDS = ["write_error", "sync_error", "write_holds", "sync_holds", "sync_delay_ms", "reads_to_fail"]
    COUNTS = ["syncs", "writes_failed", "syncs_failed", "reads_failed"]

    SIZE = 8 * (len(FIELDS) + len(COUNTS))

    def __init__(self, library, folder, control):
        control.write_bytes(bytes(self.SIZE))
        with open(control, "r+b") as file:
            self._shared = mmap.mmap(file.fileno(), self.SIZE)
        self.environment = program.clean_environment(
            LD_PRELOAD=str(library), FANOUT_DISK_FOLDER=str(folder), FANOUT_DISK_CONTROL=str(control)
        )

    def set(self, **fields):
        for name, value in fields.items():
            struct.pack_into("q", self._shared, 8 * self.FIELDS.index(name), value)

    def heal(self):
        self.set(**dict.fromkeys(self.FIELDS, 0))

    def count(self, name):
        return struct.unpack_from("q", self._shared, 8 * (len(self.FIELDS) + self.COUNTS.index(name)))[0]


@contextlib.contextmanager
def small_disk(folder, mebibytes):
    """A tmpfs of that size, mounted on the folder; the test is skipped where nobody may mount."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    how = ["-t", "tmpfs", "-o", f"size={mebibytes}m,mode=700", "fanout-test", folder]
    try:
        mounted = subprocess.run(["mount", *how], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not possible here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazily: whatever a failed test has left open there goes with its last user.
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill_up(path, leaving=0):
    """Takes all the space that is left, but for so many bytes."""
    with open(path, "ab", buffering=0) as file:
        for size in (65_536, 4_096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
        file.truncate(max(0, file.tell() - leaving))


def take(path, mebibytes):
    """A file that takes so much space."""
    path.write_bytes(bytes(mebibytes << 20))
    assert os.stat(path).st_blocks * 512 >= mebibytes << 20


class Question:
    """A publish whose answer may have to wait: asked at once, answered whenever it is."""

    def __init__(self, server, body, media="application/json", headers=(), **query):
        target = "/v1/events" + (f"?{urlencode(query)}" if query else "")
        fields = {"Content-Type": media, **dict(headers)}
        self.stream = server.connect()
        self.stream.send(http1.request("POST", target, fields, body.encode()))

    def answer(self, within=None):
        """The response; None where there is none within so many seconds."""
        if within is not None:
            self.stream.socket.settimeout(within)
        try:
            self.stream.pending = self.stream.pending or self.stream.socket.recv(1 << 16)
        except TimeoutError:
            return None
        finally:
            self.stream.socket.settimeout(30)
        return http1.read_response(self.stream)
