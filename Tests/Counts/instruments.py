"""A server that is counted: its memory, its allocations, its system calls (strace), its instructions (callgrind)."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

READY_S = 60


class Unavailable(Exception):
    """This machine does not allow the count: the reason in words."""


class Tools:
    """The programs and folders of one invocation."""

    def __init__(self, fanout, preload, work, keep):
        self.fanout = Path(fanout).absolute()
        self.preload = Path(preload).absolute()
        self.work = Path(work)
        self.keep = keep and Path(keep)


class Server:
    """`fanout serve` under one instrument; `counts()` is there after `stop()`."""

    def __init__(self, tools, io):
        self.tools = tools
        self.folder = Path(tempfile.mkdtemp(dir=tools.work))
        self.log = self.folder / "log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FANOUT")}
        command = [
            *self.wrapping(),
            *[str(tools.fanout), "serve", "--listen", "127.0.0.1:0", "--jsonl", "127.0.0.1:0"],
            *["--runtime-dir", str(self.folder / "d"), "--io", io, "--heartbeat", "3600"],
        ]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**environment, **self.additions()}
            )
        try:
            self.ready = self.wait_for_ready()
            self.state = open(f"/proc/{self.pid}/stat", "rb", buffering=0)
            self.await_sleep()
        except BaseException:
            self.end()
            raise

    def wrapping(self):
        return []

    def additions(self):
        return {}

    def wait_for_ready(self):
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            text = self.log.read_text(errors="replace")
            for line in text.splitlines(keepends=True):
                if " ready · " in line and line.endswith("\n"):
                    return line
            if self.process.poll() is not None:
                for line in text.splitlines():
                    if "refused" in line or "not permitted" in line:
                        raise Unavailable(line)
                raise RuntimeError(f"the server ended before it was ready: {text[-500:]}")
            time.sleep(0.01)
        raise RuntimeError("the server was not ready in a minute")

    def place(self, name):
        """The word behind ` · name ` in the ready line."""
        return re.search(f" · {name} (\\S+)", self.ready)[1]

    @property
    def pid(self):
        """The server's own process."""
        return self.process.pid

    def await_sleep(self):
        """Returns when the server waits for something to happen, all that was given to it being done."""
        deadline = time.monotonic() + READY_S
        # proc(5): the state follows the command's name in parentheses.
        while os.pread(self.state.fileno(), 512, 0).rpartition(b") ")[2][:1] != b"S":
            if time.monotonic() > deadline:
                raise RuntimeError("the server has not come to rest in a minute")
            time.sleep(0.00002)

    def begin(self):
        """What is given to the server from here to `finish` is what is counted, where the instrument can tell."""

    def finish(self):
        """See `begin`."""

    def memory_bytes(self):
        """Memory that is the server's own, page by page: RSS in /proc/PID/statm is late by hundreds of KiB."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Anonymous: +(\d+) kB", text, re.MULTILINE)[1]) * 1024

    def stop(self):
        os.kill(self.pid, signal.SIGTERM)
        status = self.process.wait(READY_S)
        if status != 0:
            raise RuntimeError(f"the server ended with status {status}: {self.log.read_text()[-500:]}")

    def end(self):
        """Leaves nothing behind, whatever has happened."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def counts(self):
        return {}


class Allocating(Server):
    """Counts heap allocations and mappings."""

    def additions(self):
        return {"LD_PRELOAD": str(self.tools.preload), "FANOUT_ALLOCATIONS": str(self.folder / "counts")}

    def begin(self):
        self.before = self.reading()

    def finish(self):
        self.after = self.reading()

    def reading(self):
        return int.from_bytes((self.folder / "counts").read_bytes(), sys.byteorder)

    def counts(self):
        return {"allocations": self.after - self.before}


class Traced(Server):
    """Counts system calls, with strace."""

    def wrapping(self):
        return ["strace", "-f", "-c", "-U", "calls,name", "-o", str(self.folder / "calls")]

    @property
    def pid(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def counts(self):
        rows = (line.split() for line in (self.folder / "calls").read_text().splitlines())
        calls = {row[1]: int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit()}
        return {"system calls": calls["total"]}


class Emulated(Server):
    """Counts instructions in user space, with callgrind."""

    def wrapping(self):
        profile = "/dev/null"
        if self.tools.keep:
            self.tools.keep.mkdir(parents=True, exist_ok=True)
            profile = str(self.tools.keep.absolute() / f"callgrind.{self.folder.name}")
        self.profile = profile
        return [
            *["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}"],
            f"--log-file={self.folder / 'valgrind'}",
        ]

    def counts(self):
        text = (self.folder / "valgrind").read_text()
        return {"instructions": int(re.search(r"Collected : (\d+)", text)[1])}


INSTRUMENTS = {"allocations": Allocating, "system calls": Traced, "instructions": Emulated}
