"""The profile terok-hub: one-shot emitters that no hub can hurt, a socket per container, a UI that is always right."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import program
from readers import open_reader
from streams import DEADLINE_S, Lines, wait_until

HUB = Path(__file__).parents[2] / "examples/terok-hub"
sys.path.insert(0, str(HUB))
import containers  # noqa: E402
import hub_ui  # noqa: E402
import shield_event  # noqa: E402

EMITTERS = {
    "python": [sys.executable, str(HUB / "shield_event.py")],
    "swift": [str(program.BINARY.parent / "shield-event")],
}
ONE, TWO = "0123456789ab" + "c" * 52, "0123456789ff" + "c" * 52
DOSSIER = {"project": "web", "task": "fix-login", "name": 'agent "1" é'}
SHIELDS = ["shield_up", "shield_down", "shield_disengaged"]


@pytest.fixture(params=EMITTERS)
def tell(request, directory):
    """Runs an emitter to its end, with the hub's folder in its environment: `tell("shield_up", ONE, "--name", "x")`."""

    def run(*arguments, folder=None):
        environment = program.clean_environment(XDG_RUNTIME_DIR=str(folder or directory))
        command = [*EMITTERS[request.param], *arguments]
        return subprocess.run(command, env=environment, capture_output=True, timeout=DEADLINE_S, check=False)

    run.command = EMITTERS[request.param]
    return run


def flags(dossier):
    return [text for name, value in dossier.items() for text in (f"--{name}", value)]


class Hub:
    """The server of the profile, and its folder as a user's runtime directory."""

    def __init__(self, start_server, directory):
        self.directory = directory
        (directory / "run").mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (directory / "fanout").symlink_to("run")
        self.server = start_server("--config", HUB / "fanout.json", directory=directory)

    def socket_of(self, container):
        return self.directory / "terok/events" / f"{container[:12]}.sock"

    def open(self, *ids):
        for container in ids:
            containers.Hub(self.directory).open(container[:12])
            assert self.socket_of(container).is_socket()

    def reader(self, **query):
        query.setdefault("channel", ["terok/*"])
        reader = open_reader(self.server, "unix", **query)
        reader.next_control("$hello")
        return reader


@pytest.fixture
def hub(io, start_server, directory):
    return Hub(start_server, directory)


@pytest.fixture
def listener(directory):
    """A hub that is a test: its socket for the container ONE, on which nobody is accepted but here."""
    path = directory / "terok/events" / f"{ONE[:12]}.sock"
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(8)
        listening.settimeout(DEADLINE_S)
        yield listening


def heard(listening):
    """All that the next connection says."""
    connection, _ = listening.accept()
    with connection, connection.makefile("rb") as stream:
        return stream.read()


def is_silent(run):
    return run.returncode == 0 and run.stdout == b"" and run.stderr == b""


# The emitters


def test_an_emit_is_one_line_on_a_connection_of_its_own(tell, listener):
    for kind in SHIELDS:
        assert is_silent(tell(kind, ONE))
    for kind in SHIELDS:
        assert heard(listener) == f'{{"type":"{kind}","container":"{ONE}"}}\n'.encode()


def test_both_emitters_write_the_same_bytes(listener, directory):
    cases = [[], flags(DOSSIER), ["--destination", "pypi.org:443"], ["--task", "\\ \n\t\x01\x7f☃\U0001f600"]]
    environment = program.clean_environment(XDG_RUNTIME_DIR=str(directory))
    for case in cases:
        lines = []
        for command in EMITTERS.values():
            subprocess.run([*command, "connection_blocked", ONE, *case], env=environment, check=True)
            lines.append(heard(listener))
        assert lines[0] == lines[1] and lines[0].count(b"\n") == 1, case


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"project": "", "task": "", "name": ""}, None),
        ({"task": "fix-login"}, {"task": "fix-login"}),
        ({"project": "web", "task": "", "name": "a"}, {"project": "web", "name": "a"}),
        (DOSSIER, DOSSIER),
    ],
)
def test_an_empty_or_missing_dossier_leaves_the_key_out(tell, listener, given, expected):
    tell("shield_up", ONE, *flags(given))
    event = json.loads(heard(listener))
    assert event.get("dossier") == expected
    assert ("dossier" in event) is (expected is not None)


@pytest.mark.parametrize("identifier", ["", ONE[:12], ONE + "0", ONE.upper(), "x" * 64, "../" * 21 + "x"])
def test_only_a_full_container_id_is_taken(tell, listener, identifier):
    run = tell("shield_up", identifier)
    assert run.returncode == 64 and run.stderr
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_nobody_there_is_no_failure(tell, directory):
    """No folder at all, an empty one, a file that is no socket, a folder that may not be entered, a path too long."""
    path = directory / "terok/events" / f"{ONE[:12]}.sock"
    assert is_silent(tell("shield_up", ONE))
    path.parent.mkdir(parents=True)
    assert is_silent(tell("shield_up", ONE))
    path.touch()
    assert is_silent(tell("shield_up", ONE))
    path.unlink()
    path.mkdir()
    assert is_silent(tell("shield_up", ONE))
    assert is_silent(tell("shield_up", ONE, folder=directory / ("x" * 120)))


def test_a_socket_that_a_killed_hub_left_behind_is_no_failure(tell, listener):
    listener.close()
    assert is_silent(tell("shield_up", ONE))


def test_a_hub_whose_queue_is_full_is_not_waited_for(tell, directory):
    path = directory / "terok/events" / f"{ONE[:12]}.sock"
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening, contextlib.ExitStack() as waiting:
        listening.bind(str(path))
        listening.listen(0)
        with pytest.raises(BlockingIOError):
            while True:
                client = waiting.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(str(path))
        # Who waited would wait for ever: `tell` would run into its deadline.
        assert is_silent(tell("shield_up", ONE))


def test_a_hub_that_is_stopped_is_not_waited_for_and_hears_it_later(tell, hub):
    hub.open(ONE)
    with hub.reader() as reader:
        hub.server.signal(signal.SIGSTOP)
        try:
            for kind in SHIELDS:
                assert is_silent(tell(kind, ONE))
        finally:
            hub.server.signal(signal.SIGCONT)
        assert sorted(reader.next_event().json()["type"] for _ in SHIELDS) == sorted(SHIELDS)


def test_a_hub_that_was_killed_is_no_failure(tell, hub):
    hub.open(ONE)
    hub.server.process.kill()
    hub.server.process.wait()
    assert hub.socket_of(ONE).is_socket()
    assert is_silent(tell("shield_down", ONE))


def test_the_python_emitter_needs_nothing_but_the_standard_library(listener, directory):
    """Copied elsewhere and run without site packages, it says the same."""
    copy = directory / "mirror.py"
    copy.write_bytes((HUB / "shield_event.py").read_bytes())
    environment = program.clean_environment(XDG_RUNTIME_DIR=str(directory))
    subprocess.run([sys.executable, "-I", "-S", copy, "shield_up", ONE], env=environment, check=True)
    assert heard(listener) == shield_event.event_line("shield_up", ONE)


# The hub


def test_each_container_has_a_socket_of_its_own_away_from_those_of_the_uis(hub):
    hub.open(ONE, TWO)
    server = hub.server
    assert sorted(path.name for path in (hub.directory / "terok/events").iterdir()) == [
        f"{ONE[:12]}.sock",
        f"{TWO[:12]}.sock",
    ]
    for path in (server.events_socket, server.http_socket, server.ingest_socket):
        assert path.parent == server.runtime and path.is_socket()
    assert hub.socket_of(ONE).stat().st_mode & 0o777 == 0o600


def test_the_full_id_selects_the_destination(tell, hub):
    hub.open(ONE, TWO)
    with hub.reader() as everything, hub.reader(channel=[f"terok/{TWO[:12]}"]) as second:
        tell("shield_up", ONE)
        assert everything.next_event().json()["channel"] == f"terok/{ONE[:12]}"
        tell("shield_up", TWO)
        tell("shield_down", "f" * 64)
        tell("shield_down", TWO)
        for reader in (everything, second):
            for kind in ("shield_up", "shield_down"):
                event = reader.next_event().json()
                assert (event["type"], event["channel"], event["container"]) == (kind, f"terok/{TWO[:12]}", TWO)


def test_what_the_reader_blocks_has_the_dossier_of_its_containers_shield(tell, hub):
    hub.open(ONE)
    with hub.reader() as reader:
        for kind in SHIELDS:
            tell(kind, ONE, *flags(DOSSIER))
            event = reader.next_event().json()
            assert event == {
                "seq": event["seq"],
                "channel": f"terok/{ONE[:12]}",
                "type": kind,
                "container": ONE,
                "dossier": DOSSIER,
            }
        tell("connection_blocked", ONE, *flags(DOSSIER), "--destination", "crates.io:443")
        blocked = reader.next_event().json()
        assert (blocked["type"], blocked["destination"]) == ("connection_blocked", "crates.io:443")
        assert blocked["dossier"] == DOSSIER


def test_a_container_that_ends_takes_its_socket_with_it(hub):
    hub.open(ONE, TWO)
    containers.Hub(hub.directory).close(ONE[:12], 0)
    assert not hub.socket_of(ONE).exists() and hub.socket_of(TWO).is_socket()
    hub.server.stop()
    assert not hub.socket_of(TWO).exists()


# The containers' life and the UI


def live(directory, seed, emitter=None):
    """A whole life; all that was said in it, in order."""
    host = containers.Host(seed, emitter, directory)
    host.live(5, pace=0)
    return host.said


def test_a_life_is_the_same_with_a_hub_and_without_one(hub, directory):
    with_hub = live(directory, 3)
    hub.server.stop()
    assert live(directory, 3) == with_hub
    assert {event["type"] for event in with_hub} == {*SHIELDS, "connection_blocked"}
    assert live(directory, 4) != with_hub


@pytest.mark.parametrize("emitter", EMITTERS)
def test_the_hub_hears_a_life_word_for_word(hub, directory, emitter):
    with hub.reader() as reader:
        said = live(directory, 5, EMITTERS["swift"][0] if emitter == "swift" else None)
        heard_here = [reader.next_event().json() for _ in said]
    for container in {event["container"] for event in said}:
        # Connections of one container are read in turn; between containers the hub decides.
        mine = [event for event in heard_here if event["channel"] == f"terok/{container[:12]}"]
        stamped = [{name: value for name, value in event.items() if name not in ("seq", "channel")} for event in mine]
        assert stamped == [event for event in said if event["container"] == container]
    assert list(directory.rglob("*.sock")) == [], "every container has ended"


def rendered(events):
    lines = []
    ui = hub_ui.HubUI(lines.append)
    for event in events:
        ui.take(event)
    return ui, lines


def test_one_container_is_always_rendered_the_same():
    dossier = {"project": "web", "task": "fix-login", "name": "a1"}
    blocked = {"type": "connection_blocked", "container": ONE, "destination": "crates.io:443"}
    _, lines = rendered(
        [
            {"type": "shield_up", "container": ONE, "dossier": dossier},
            {**blocked, "dossier": dossier},
            blocked,
            {"type": "shield_down", "container": ONE},
            {"type": "shield_up", "container": TWO},
        ]
    )
    assert lines == [
        "   shield  web/fix-login (a1) is up",
        "#1 open    web/fix-login (a1) is kept from crates.io:443",
        "#2 open    web/fix-login (a1) is kept from crates.io:443",
        "   shield  web/fix-login (a1) is down",
        "#1 closed  web/fix-login (a1) may reach crates.io:443 now",
        "#2 closed  web/fix-login (a1) may reach crates.io:443 now",
        f"   shield  {TWO[:12]} is up",
    ]


@pytest.mark.parametrize("kind", ["shield_down", "shield_disengaged"])
def test_a_shield_that_goes_down_closes_its_containers_notifications_and_no_others(kind):
    blocked = [
        {"type": "connection_blocked", "container": container, "destination": f"d{number}:1"}
        for number, container in enumerate([ONE, TWO, ONE])
    ]
    ui, _ = rendered([*blocked, {"type": "shield_up", "container": ONE}, {"type": "hub_renamed", "container": ONE}])
    assert {container: len(pending) for container, pending in ui.pending.items()} == {ONE: 2, TWO: 1}
    ui.take({"type": kind, "container": ONE})
    assert ui.pending == {TWO: [(2, "d1:1")]}


@pytest.fixture
def ui(hub):
    """The UI as a process, once it has the present state."""
    process = subprocess.Popen(
        [sys.executable, HUB / "hub_ui.py", "--socket", hub.server.events_socket],
        stdout=subprocess.PIPE,
        env=program.clean_environment(),
    )
    lines = Lines(process.stdout)
    lines.process = process
    try:
        lines.wait_for(lambda line: b"live" in line)
        yield lines
    finally:
        process.kill()
        process.wait()


def test_the_ui_shows_a_life_and_is_left_with_no_notification_open(hub, ui, directory):
    said = live(directory, 6)
    _, expected = rendered(said)
    wait_until(lambda: len(ui.lines) == len(expected) + 1, "the UI to have shown everything")
    shown = [line.decode().rstrip("\n") for line in ui.lines[1:]]

    def of_each(lines):
        """What is shown of each container, in order, without the numbers that all containers share."""
        titles = sorted({rendered([{**event, "type": "shield_up"}])[1][0][11:-6] for event in said})
        return {title: [line.lstrip("#0123456789 ") for line in lines if title in line] for title in titles}

    assert of_each(shown) == of_each(expected)
    assert sum(" open " in line for line in shown) == sum(" closed " in line for line in shown) > 0


def test_a_ui_that_starts_later_knows_every_shield_and_goes_on_from_there(tell, hub, directory):
    hub.open(ONE, TWO)
    with hub.reader() as reader:
        for kind, container in (("shield_up", ONE), ("shield_up", TWO), ("shield_down", ONE)):
            tell(kind, container)
            reader.next_event()
    with open_reader(hub.server, "unix", channel=["terok/*"], from_="snapshot") as late:
        late.next_control("$hello")
        assert late.next_control("$snapshot").json()["count"] == 2
        rows = [late.next_event().json() for _ in range(2)]
        assert [(row["type"], row["container"]) for row in rows] == [("shield_up", TWO), ("shield_down", ONE)]
        late.next_control("$live")
        tell("shield_disengaged", ONE)
        assert late.next_event().json()["type"] == "shield_disengaged"


def test_the_ui_comes_back_to_a_hub_that_was_restarted(hub, ui, start_server, directory):
    hub.open(ONE)
    shield_event.emit("connection_blocked", ONE, DOSSIER, "crates.io:443", directory)
    ui.wait_for(lambda line: b"#1 open" in line)
    hub.server.stop()
    again = Hub(start_server, directory)
    again.open(ONE)
    ui.wait_for(lambda line: b"live" in line, after=2)
    shield_event.emit("shield_down", ONE, DOSSIER, runtime_dir=directory)
    assert ui.wait_for(lambda line: b"#1 closed" in line)
    ui.process.send_signal(signal.SIGINT)
    assert ui.process.wait(DEADLINE_S) == 0
