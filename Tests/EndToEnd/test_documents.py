"""EVENTS.md and README.md tell the truth: every sample in them is executed and compared byte for byte.

A `console` block is a terminal: `$ ` begins a command, what follows is what it prints. Each block meets a server that
has just started, unless it starts one itself with `fanout serve`. A command that ends in ` &` runs on while those below
it run, and everything it prints stands beneath it. Ports, paths and the epoch of the real server are replaced by those
of the document before anything is compared; `PLACEHOLDERS` is all else that may differ.
"""

import contextlib
import http.server
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import http1
import program
from browser import needs_chromium
from streams import DEADLINE_S, ByteStream, Lines, wait_until

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["EVENTS.md", "README.md"]
# In front of a block that is not executed; anything else than these languages needs it.
NOT_RUN = "(not run by the tests)"
EXECUTED = {"console", "js", "swift"}
PICTURES = {"text"}

PLACEHOLDERS = {
    "<ms>": r"[0-9]+",
    "<pid>": r"[0-9]+",
    "<n>": r"[0-9]+",
    "<date>": r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
    "<time>": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z",
    "<backend>": r"(?:io_uring|epoll) \([^)]*\)",
    "<ready>": r"fanout 0\.1\.0 ready · [^\n]*",
}
READY = re.compile(r"ready · http 127\.0\.0\.1:(\d+)(?: · jsonl 127\.0\.0\.1:(\d+))? .* · pid (\d+)\n")
DOCUMENTED_RUNTIME = "/run/user/1000"
READERS = ("jsonl_unix", "jsonl_tcp", "jsonl_http", "sse", "websocket")


@dataclass
class Block:
    """A fenced block of a document."""

    document: str
    line: int
    language: str
    text: str
    before: str = ""

    @property
    def name(self):
        return f"{self.document}:{self.line}"


@dataclass
class Command:
    text: str
    output: list = field(default_factory=list)

    @property
    def runs_on(self):
        return self.text.endswith(" &")

    @property
    def is_server(self):
        return re.search(r"\bfanout (?:serve|demo)\b", self.text) is not None

    @property
    def greetings(self):
        """The `$hello`s that the output begins with: once they have come the subscription stands."""
        count = 0
        for line in self.output:
            if not line.startswith(("{", "event:", "id:", "data:")) or (line[0] == "{" and "$hello" not in line):
                break
            count += '"$hello"' in line
        return count


def blocks(document):
    """The fenced blocks of a document, each with the paragraph in front of it."""
    found = []
    current = None
    paragraph, was_text = "", False
    for number, line in enumerate((ROOT / document).read_text().splitlines(), 1):
        if current is None and line.startswith("```"):
            current = Block(document, number, line[3:].strip(), "", paragraph)
        elif current is not None and line == "```":
            found.append(current)
            current, paragraph = None, ""
        elif current is not None:
            current.text += line + "\n"
        else:
            paragraph = f"{paragraph} {line}" if line and was_text else line or paragraph
        was_text = current is None and line != "" and not line.startswith("```")
    assert current is None, f"{current.name}: the block has no end"
    return found


ALL = [block for document in DOCUMENTS for block in blocks(document)]


def those_in(language):
    return [pytest.param(block, id=block.name) for block in ALL if block.language == language]


def commands(block):
    """The commands of a console block with the lines that each prints."""
    found = []
    open_end = None
    for line in block.text.splitlines():
        if open_end is not None:
            found[-1].text += "\n" + line
            finished = line == open_end if open_end else not line.endswith("\\")
            open_end = None if finished else open_end
        elif line.startswith("$ "):
            found.append(Command(line[2:]))
            here = re.search(r"<< '(\w+)'", line)
            # A here-document goes on to its last line, a backslash to the next one.
            open_end = here[1] if here else "" if line.endswith("\\") else None
        else:
            assert found, f"{block.name}: output stands before the first command"
            found[-1].output.append(line)
    return found


class Running:
    """A command that runs on. Its group is its own, so that all of a pipeline can be ended."""

    def __init__(self, terminal, command, text):
        self.terminal = terminal
        self.command = command
        self.process = terminal.popen(text.removesuffix(" &"))
        self.lines = Lines(self.process.stdout)

    def output(self):
        return self.terminal.as_documented(self.lines.text())

    def has_ended(self):
        return self.lines.ended

    def end(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(DEADLINE_S)


class Terminal:
    """Where the commands of one block are typed."""

    def __init__(self, directory, io):
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir()
        (self.home / "examples").symlink_to(ROOT / "examples")
        self.environment = program.clean_environment(
            PATH=f"{program.BINARY.resolve().parent}:{os.environ['PATH']}",
            XDG_RUNTIME_DIR=str(directory),
            FANOUT_IO=io,
            LC_ALL="C.UTF-8",
        )
        self.running = []
        self.shown = []
        self.status = 0
        self.asked = 0
        self.http_port = self.jsonl_port = self.pid = self.epoch = None

    def popen(self, text):
        script = f"(exit {self.status})\n{text}\n"
        return subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def as_typed(self, command):
        """The command's text with the addresses of the real server."""
        text = command.text
        if command.is_server:
            # A server that is to be refused keeps the address it is refused for.
            text = re.sub(r"\b127\.0\.0\.1:757[56]\b", "127.0.0.1:0", text)
            return re.sub(r"\b(fanout (?:serve|demo))\b(?!.*--listen)", r"\1 --listen 127.0.0.1:0", text)
        for documented, real in (("7575", self.http_port), ("7576", self.jsonl_port)):
            text = re.sub(rf"\b{documented}\b", str(real), text)
        return text.replace("<epoch>", self.epoch or "").replace("<pid>", str(self.pid))

    def as_documented(self, output):
        """What was printed, with the addresses of the document."""
        for documented, real in (("7575", self.http_port), ("7576", self.jsonl_port)):
            if real:
                output = re.sub(rf"\b{real}\b", documented, output)
        output = output.replace(str(self.directory), DOCUMENTED_RUNTIME)
        return output.replace(self.epoch, "<epoch>") if self.epoch else output

    def serve(self, command, is_shown=True):
        """Starts a server and finds out where it is. What it prints counts only if the document shows it."""
        server = Running(self, command, self.as_typed(command))
        self.running.append(server)
        self.shown += [server] * is_shown
        ready = server.lines.wait_for(lambda line: READY.search(line.decode())).decode()
        http_port, jsonl_port, pid = READY.search(ready).groups()
        self.http_port, self.jsonl_port, self.pid = int(http_port), jsonl_port and int(jsonl_port), int(pid)
        self.epoch = self.get("/v1/channels").json()["channels"][0]["head"].partition("-")[0]

    def get(self, target):
        request = http1.request("GET", target, {"Connection": "close"})
        self.asked += len(request)
        # From an address that no command has: where an address may have one connection, this must not be it.
        with ByteStream.tcp(self.http_port, source="127.0.0.2") as stream:
            stream.send(request)
            return http1.read_response(stream)

    def clients(self):
        """How many subscribers the server has, and how many bytes it has got from everyone but this."""
        metrics = self.get("/metrics").body.decode()

        def value(name):
            return int(re.search(rf"^fanout_{name} (\d+)$", metrics, re.MULTILINE)[1])

        return sum(value(f'connections{{transport="{name}"}}') for name in READERS), (
            value("bytes_received_total") - self.asked
        )

    def start(self, command):
        """Starts a command that runs on; a subscriber is waited for until its subscription stands."""
        subscribers, said = self.clients()
        running = Running(self, command, self.as_typed(command))
        self.running.append(running)
        self.shown.append(running)

        def stands():
            now, said_now = self.clients()
            # What tail asks for follows its connection, and only the server tells that it has come.
            has_asked = said_now > said or "fanout tail" not in command.text
            greetings = running.output().count('"$hello"')
            return running.has_ended() or (now > subscribers and has_asked and greetings >= command.greetings)

        wait_until(stands, f"the subscription of: {command.text}")

    def run(self, command):
        """Runs a command to its end and compares what it printed."""
        process = self.popen(self.as_typed(command))
        try:
            output, _ = process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        self.status = process.returncode
        compare(command, self.as_documented(output.decode()))

    def finish(self):
        """Waits for what the commands that run on have yet to print, and compares it."""
        for running in self.shown:
            expected = sum(len(line) + 1 for line in running.command.output)
            wanted = len(running.command.output)
            if expected:
                wait_until(
                    lambda: running.has_ended() or running.output().count("\n") >= wanted,
                    f"{wanted} lines of: {running.command.text}\n{running.output()}",
                )
            compare(running.command, running.output())

    def close(self):
        for running in reversed(self.running):
            running.end()


def compare(command, output):
    """Insists that this is what the document says, where only placeholders may differ."""
    expected = "".join(line + "\n" for line in command.output)
    pattern = re.escape(expected)
    for placeholder, form in PLACEHOLDERS.items():
        pattern = pattern.replace(re.escape(placeholder), form)
    if not re.fullmatch(pattern, output):
        assert output == expected, command.text


@pytest.mark.parametrize("block", those_in("console"))
def test_a_terminal_shows_what_the_document_shows(io, block):
    with tempfile.TemporaryDirectory(prefix="fanout-") as name:
        terminal = Terminal(Path(name), io)
        try:
            typed = commands(block)
            if not any(command.is_server and command.runs_on for command in typed):
                terminal.serve(Command("fanout serve &"), is_shown=False)
            for command in typed:
                if command.is_server and command.runs_on:
                    terminal.serve(command)
                elif command.runs_on:
                    terminal.start(command)
                else:
                    terminal.run(command)
            terminal.finish()
        finally:
            terminal.close()


class FilesHandler(http.server.SimpleHTTPRequestHandler):
    """Serves examples/, as `python3 -m http.server --directory examples` does, and says nothing."""

    def __init__(self, *arguments):
        super().__init__(*arguments, directory=ROOT / "examples")

    def log_message(self, *_):
        pass


@pytest.fixture
def other_origin():
    """A web server on a port of its own, hence another origin, with the examples on it."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), FilesHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(DEADLINE_S)


def publish_until_read(server, channel, condition, what):
    """Publishes until the page shows one: nothing outside of it tells when its subscription stands."""
    wait_until(lambda: server.publish('{"type":"deploy.started"}', channel=channel) and condition(), what)


@needs_chromium
@pytest.mark.parametrize("block", those_in("js"))
def test_what_a_page_may_say_works(start_server, chromium, block):
    server = start_server()
    chromium.get(server.url)
    chromium.execute_script("window.said = []; console.log = text => said.push(text)")
    chromium.execute_script(block.text)
    said = "return said.some(text => text.endsWith(arguments[0]))"
    event = ',"channel":"deploys","type":"deploy.started"}'
    publish_until_read(server, "deploys", lambda: chromium.execute_script(said, event), f"what {block.name} logs")
    chromium.get("about:blank")


@needs_chromium
def test_the_example_page_reads_and_publishes_from_another_origin(start_server, chromium, other_origin):
    server = start_server("--allow-origin", other_origin)
    chromium.get(f"{other_origin}/browser.html?server={server.url}")
    shows = "return document.querySelector('#events').textContent.includes(arguments[0])"
    event = '"channel":"deploys","type":"deploy.started"}'
    publish_until_read(server, "deploys", lambda: chromium.execute_script(shows, event), "an event on the page")
    assert chromium.execute_script("return document.querySelector('#state').textContent") == "live"
    chromium.execute_script("document.querySelector('#publish').click()")
    for text in ('"type":"button.pressed"', "published "):
        wait_until(lambda: chromium.execute_script(shows, text), f"{text} on the page")
    chromium.get("about:blank")


@pytest.mark.parametrize("block", those_in("swift"))
def test_swift_stands_in_a_program_that_every_build_compiles(block):
    sources = [path.read_text() for path in (ROOT / "examples").rglob("*.swift")]
    assert any(block.text in source for source in sources), block.text


def test_a_log_can_be_followed(start_server, tmp_path):
    log = tmp_path / "app.log"
    log.touch()
    directory = tempfile.mkdtemp(prefix="fanout-")
    environment = program.clean_environment(
        PATH=f"{program.BINARY.resolve().parent}:{os.environ['PATH']}", XDG_RUNTIME_DIR=directory
    )
    process = subprocess.Popen(
        [ROOT / "examples/follow-log.sh", log, "--listen", "127.0.0.1:0"],
        env=environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        Lines(process.stderr).wait_for(lambda line: b"ready" in line)
        with ByteStream.unix(Path(directory) / "fanout/events.socket") as stream:
            assert b"$hello" in stream.until(b"\n")
            stream.socket.settimeout(0.2)

            def has_come():
                # Until tail has opened the file, it may take a line for one of those before its time.
                with log.open("a") as file:
                    file.write("GET /\n")
                with contextlib.suppress(TimeoutError):
                    return stream.until(b"\n")

            line = wait_until(has_come, "a line of the log")
            assert line.endswith(b',"channel":"events","type":"line","text":"GET /"}\n'), line
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(DEADLINE_S)
        shutil.rmtree(directory, ignore_errors=True)


def test_every_block_is_executed_or_says_that_it_is_not():
    silent = [
        block.name
        for block in ALL
        if block.language not in EXECUTED | PICTURES and not block.before.rstrip(".:").endswith(NOT_RUN)
    ]
    assert silent == []


@pytest.mark.parametrize("document", [*DOCUMENTS, "CHANGELOG.md", "examples/README.md"])
def test_links_lead_somewhere(document):
    text = (ROOT / document).read_text()
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = target.partition("#")
        if path.startswith("http"):
            continue
        file = (ROOT / document).parent / path if path else ROOT / document
        if not file.exists():
            missing.append(target)
        elif heading and heading not in anchors(file.read_text()):
            missing.append(target)
    assert missing == []


def anchors(text):
    """What the headings of a document are called in links to them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
