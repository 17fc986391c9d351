"""The profiles below examples/: their configurations, their programs as a user starts them, and their pages."""

import functools
import http.server
import importlib.util
import json
import subprocess
import sys
import threading
from pathlib import Path

from program import clean_environment
from readers import open_reader
from streams import DEADLINE_S, Ended, Lines

EXAMPLES = Path(__file__).parents[2] / "examples"
SHARED = EXAMPLES / "shared"


def profile(name):
    """The flags of a server with this profile's configuration."""
    return "--config", EXAMPLES / name / "fanout.json"


def schema_of(name):
    return json.loads((EXAMPLES / name).read_text())


def command(program, url, *arguments):
    return [sys.executable, EXAMPLES / program, "--url", url, *map(str, arguments)]


def run_example(program, server, *arguments):
    """Runs a program of the examples to its end; what it printed."""
    ended = subprocess.run(
        command(program, server.url, *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=clean_environment(PYTHONDONTWRITEBYTECODE="1"),
        timeout=2 * DEADLINE_S,
    )
    assert ended.returncode == 0, ended.stderr.decode()[-4000:]
    assert ended.stderr == b""
    return ended.stdout.decode()


class Example:
    """A program of the examples that runs beside the test."""

    def __init__(self, program, server, *arguments):
        self.process = subprocess.Popen(
            command(program, server.url, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(PYTHONDONTWRITEBYTECODE="1"),
        )
        self.stdout, self.stderr = Lines(self.process.stdout), Lines(self.process.stderr)

    def finish(self):
        """Waits until it ends by itself; what it printed."""
        assert self.process.wait(2 * DEADLINE_S) == 0, self.stderr.text()[-4000:]
        self.stdout.wait_for_end()
        return self.stdout.text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.stdout.wait_for_end()
        self.stderr.wait_for_end()


def load(program):
    """A program of the examples as a module, with those beside it in reach."""
    path = EXAMPLES / program
    for folder in (str(SHARED), str(path.parent)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def kind(event):
    return event.get("kind", event.get("type", ""))


def is_control(event):
    return kind(event).startswith("$")


class Follower(threading.Thread):
    """Reads a subscription in a thread until it ends; every record in order, as objects."""

    def __init__(self, server, transport, **query):
        super().__init__(daemon=True)
        self.reader = open_reader(server, transport, **query)
        self.records = []
        self.start()

    def run(self):
        try:
            while True:
                record = self.reader.next().json()
                if kind(record) != "$ping":
                    self.records.append(record)
        except (Ended, AssertionError, OSError):
            # The end of the stream; on a WebSocket it is a close frame, which is no text.
            pass

    def finish(self):
        """Waits for the stream's end, which somebody else must bring about."""
        self.join(DEADLINE_S)
        assert not self.is_alive(), f"the stream goes on; last: {self.records[-1:]}"
        self.reader.close()
        return self.records

    def events(self):
        return [record for record in self.records if not is_control(record)]


class Pages:
    """A folder of the examples, served on an origin of its own."""

    def __init__(self, folder):
        handler = functools.partial(_Quiet, directory=str(EXAMPLES / folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def end_headers(self):
        self.send_header("Cache-Control", "no-store")
        super().end_headers()
