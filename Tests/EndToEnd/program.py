"""The release binary as a process: a server with its addresses, or any other command."""

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlencode

import http1
from streams import DEADLINE_S, ByteStream, Lines

BINARY = Path(os.environ.get("FANOUT", Path(__file__).parents[2] / ".build/release/fanout"))
NDJSON = "application/x-ndjson"


def clean_environment(**additions):
    """This process's environment without anything that fanout would listen to."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FANOUT", "XDG_RUNTIME"))}
    return {**kept, **additions}


def run(*arguments, input=b"", environment=None, timeout=DEADLINE_S):
    """Runs a command to its end."""
    return subprocess.run(
        [BINARY, *map(str, arguments)],
        input=input,
        capture_output=True,
        env=environment or clean_environment(),
        timeout=timeout,
    )


def io_uring_refusal():
    """Why the kernel refuses io_uring to this process, None if it does not: asked of the kernel, not of the server."""
    parameters = ctypes.create_string_buffer(120)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(425, 4, parameters)
    if descriptor < 0:
        return os.strerror(ctypes.get_errno())
    os.close(descriptor)
    return None


def configured(folder, configuration):
    """The flags of a server with this configuration, whose file is put into that folder."""
    path = Path(folder) / "fanout.json"
    path.write_text(json.dumps(configuration))
    return "--config", path


class Process:
    """A running command whose output is collected line by line."""

    def __init__(self, *arguments, stdin=subprocess.DEVNULL, environment=None, through=()):
        """`through` is a command that becomes this one, such as `prlimit --nofile=256`."""
        self.process = subprocess.Popen(
            [*through, BINARY, *map(str, arguments)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment or clean_environment(),
        )
        self.stdin = self.process.stdin
        self.stdout = Lines(self.process.stdout)
        self.stderr = Lines(self.process.stderr)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """The exit code, once the process has ended and its output is complete."""
        code = self.process.wait(DEADLINE_S)
        self.stdout.wait_for_end()
        self.stderr.wait_for_end()
        return code

    def is_running(self):
        return self.process.poll() is None

    def said(self):
        """Everything printed so far, on either stream."""
        return self.stdout.text() + self.stderr.text()

    def kill(self):
        if self.is_running():
            self.process.kill()
            self.process.wait()


class Server(Process):
    """`fanout serve` (or `demo`) in a runtime directory of its own, on ports that the kernel chose."""

    def __init__(self, *arguments, io="auto", command="serve", listen="127.0.0.1:0", directory=None, **process):
        self.owns_directory = directory is None
        self.directory = Path(directory or tempfile.mkdtemp(prefix="fanout-"))
        self.runtime = self.directory / "run"
        places = ["--runtime-dir", self.runtime, "--listen", listen, "--jsonl", "127.0.0.1:0", "--io", io]
        super().__init__(command, *places, *arguments, **process)
        self.events_socket = self.runtime / "events.socket"
        self.http_socket = self.runtime / "http.socket"
        self.ingest_socket = self.runtime / "ingest.socket"
        if command == "serve":
            try:
                self._wait_for_addresses()
            except BaseException:
                self.remove()
                raise

    def _wait_for_addresses(self):
        self.ready_line = self.stderr.wait_for(lambda line: b"ready" in line).decode()
        self.http_port = self._port("http")
        self.jsonl_port = self._port("jsonl")
        self.url = f"http://127.0.0.1:{self.http_port}"

    def _port(self, name):
        match = re.search(rf"\b{name} (?:\w+://)?127\.0\.0\.1:(\d+)", self.ready_line)
        assert match, f"no address of {name} in the ready line: {self.ready_line}"
        return int(match[1])

    def channel_socket(self, channel):
        return self.runtime / "ingest" / f"{channel}.socket"

    def socket_files(self):
        """Every socket below the runtime directory."""
        return sorted(str(path.relative_to(self.runtime)) for path in self.runtime.rglob("*") if path.is_socket())

    def stop(self, number=signal.SIGTERM):
        """Ends the server as an operator would: it must go with exit 0 and leave no socket behind."""
        if self.is_running():
            self.signal(number)
        self.check_stopped()

    def check_stopped(self):
        """After the first signal: a second one would end the server at once, with another code."""
        code = self.wait()
        assert code == 0, f"exit {code}: {self.stderr.text()[-4000:]}"
        assert self.socket_files() == []

    def remove(self):
        """After the test, whatever happened in it."""
        self.kill()
        if self.owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    # HTTP, one request per connection

    def connect(self, unix=False):
        return ByteStream.unix(self.http_socket) if unix else ByteStream.tcp(self.http_port)

    def exchange(self, request, unix=False):
        """Sends these bytes on a new connection and reads one response."""
        with self.connect(unix) as stream:
            stream.send(request)
            return http1.read_response(stream)

    def get(self, target, headers=(), **how):
        return self.exchange(http1.request("GET", target, headers), **how)

    def metric(self, name, **labels):
        """A figure of `/metrics`: the sum of the samples that have this name and these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        total = 0.0
        text = self.get("/metrics").body.decode()
        assert f"\n# TYPE {name} " in text, f"no figure has the name {name}"
        for line in text.splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(pair in sample for pair in wanted):
                total += float(value)
        return total

    def post(self, body, media="application/json", headers=(), unix=False, **query):
        """`POST /v1/events` with this body, a str or bytes."""
        body = body.encode() if isinstance(body, str) else body
        target = "/v1/events" + (f"?{urlencode(query, safe='/')}" if query else "")
        fields = ({"Content-Type": media} if media else {}) | dict(headers)
        return self.exchange(http1.request("POST", target, fields, body), unix=unix)

    def publish(self, event, **query):
        """Publishes one event, which must be accepted; the ack."""
        response = self.post(event, **query)
        assert response.status == 200, response
        return response.json()

    def publish_batch(self, lines, **query):
        response = self.post("".join(f"{line}\n" for line in lines), media=NDJSON, **query)
        assert response.status == 200, response
        return response.json()

    def ingest(self, data, channel=None):
        """A connection to an ingest socket that writes this and closes its side; what came back."""
        path = self.ingest_socket if channel is None else self.channel_socket(channel)
        with ByteStream.unix(path) as stream:
            stream.send(data)
            stream.finish()
            return stream.rest()
