"""examples/exlab-wizard: a wizard's two WebSockets, whose frames are what its own server would send, and nothing else."""

import json
import threading
from datetime import datetime

import pytest
from selenium.webdriver.support.ui import WebDriverWait

import profiles
from browser import faults, needs_chromium
from http1 import request
from profiles import Example, load, profile, run_example
from readers import open_http_reader, open_reader
from rfc6455 import WebSocket
from streams import DEADLINE_S, ByteStream, Ended, wait_until

WIZARD = "exlab-wizard/wizard.py"
SESSION_UNION = profiles.schema_of("exlab-wizard/session.jtd.json")["mapping"]
PROBLEMS_UNION = profiles.schema_of("exlab-wizard/problems.jtd.json")["mapping"]
PHASES = ["validate", "collect", "metadata", "copy", "verify", "register"]
AUDIT = "/api/v1/problems/events"
LONG = ("--fast", "--seed", 1, "--seconds", 400, "--report")
AT = "2026-01-01T00:00:00.000Z"

DONE = {"kind": "done", "result": {"path": "archive/x", "files": 3, "bytes": 12.5}}
FAILED = {"kind": "failed", "phase": "copy", "error": {"code": "quota_exceeded", "message": "too large"}}
FRAMES = [
    {"kind": "phase", "phase": "validate", "at": AT},
    {"kind": "progress", "phase": "collect", "current": 1, "total": 3},
    {"kind": "input_required", "fields": [{"name": "operator", "label": "Who?"}], "reason": "r", "plugin": "p"},
    {"kind": "warning", "phase": "verify", "message": "m"},
    DONE,
    FAILED,
]


def route(session):
    return f"/api/v1/sessions/{session}/events"


def connect(server, target):
    return WebSocket(ByteStream.tcp(server.http_port), target)


def frames_until_close(socket):
    """All text frames up to the close frame, and its code."""
    code = socket.receive_close()
    socket.close()
    return [json.loads(text) for text in socket.texts_before_close], code


def publish(server, frame, channel):
    return server.publish(frame if isinstance(frame, str) else json.dumps(frame), channel=channel)


def put_snapshot(server, row, **query):
    target = "/v1/snapshot?" + "&".join(f"{name}={value}" for name, value in {"channel": "problems", **query}.items())
    return server.exchange(request("PUT", target, {"Content-Type": "application/json"}, json.dumps(row).encode()))


def sessions_of(server):
    """Every run, by its channel, oldest first; whether it has ended."""
    channels = server.get("/v1/channels").json()["channels"]
    runs = [entry for entry in channels if entry["channel"].startswith("sessions/")]
    return {entry["channel"].removeprefix("sessions/"): entry.get("ended", False) for entry in runs}


@pytest.fixture
def server(io, start_server):
    return start_server(*profile("exlab-wizard"))


# One session


def test_the_frames_are_the_wizards_own_bytes_and_nothing_else(server):
    """No hello, no numbers, nothing in front: what a client of the original's would get."""
    with connect(server, route("a")) as socket:
        texts = ['{"kind":"phase","phase":"validate","at":"2026-01-01T00:00:00.000Z"}',
                 '{"kind":"progress","phase":"collect","current":1,"total":3}',
                 '{"kind":"warning","phase":"collect","message":"Pr\\u00e4parat"}']  # fmt: skip
        for text in texts:
            publish(server, text, "sessions/a")
            assert socket.receive_text() == text.encode()


@pytest.mark.parametrize("end", [DONE, FAILED], ids=["done", "failed"])
def test_a_terminal_frame_ends_the_session(server, end):
    early, late = connect(server, route("a")), None
    other = connect(server, route("b"))
    for frame in FRAMES[:4]:
        publish(server, frame, "sessions/a")
    late = connect(server, route("a"))
    publish(server, end, "sessions/a")
    after = connect(server, route("a"))
    for socket in (early, late, after):
        assert frames_until_close(socket) == ([*FRAMES[:4], end], 1000)
    refused = server.post(json.dumps(FRAMES[0]), channel="sessions/a")
    assert (refused.status, refused.error_code()) == (409, "channel_ended")
    # The others go on.
    publish(server, FRAMES[0], "sessions/b")
    assert json.loads(other.receive_text()) == FRAMES[0]
    other.close()
    assert sessions_of(server) == {"a": True, "b": False}


def test_nothing_can_be_said_behind_a_terminal_frame(server):
    """Not even in the same breath: such a batch is refused as a whole, and the session goes on."""
    with connect(server, route("a")) as socket:
        lines = "".join(json.dumps(frame) + "\n" for frame in [FRAMES[0], DONE, FRAMES[1]])
        refused = server.post(lines, media="application/x-ndjson", channel="sessions/a")
        assert (refused.status, refused.error_code()) == (409, "channel_ended")
        server.publish_batch([json.dumps(FRAMES[0]), json.dumps(DONE)], channel="sessions/a")
        assert frames_until_close(socket) == ([FRAMES[0], DONE], 1000)


def test_the_routes_are_there_for_every_transport(server):
    for frame in FRAMES[:3]:
        publish(server, frame, "sessions/a")
    publish(server, DONE, "sessions/a")
    sse = server.get(route("a"), {"Accept": "text/event-stream"})
    assert (sse.status, sse.header("content-type").split(";")[0]) == (200, "text/event-stream")
    data = [line[6:] for line in sse.body.decode().splitlines() if line.startswith("data: ")]
    lines = server.get(route("a")).body.decode().splitlines()
    assert [json.loads(text) for text in data] == [json.loads(line) for line in lines] == [*FRAMES[:3], DONE]
    assert frames_until_close(connect(server, "/v1/events?channel=sessions/a"))[0] == [*FRAMES[:3], DONE]
    assert frames_until_close(connect(server, route("a") + "?types=phase,done"))[0] == [FRAMES[0], DONE]
    with server.connect(unix=True) as stream:
        stream.send(request("GET", route("a"), {"Accept": "application/x-ndjson"}))
        assert json.dumps(DONE, separators=(",", ":")).encode() in stream.rest()
    for target in ("/api/v1/sessions/events", "/api/v1/sessions/a/b/events", "/api/v1/problems", "/api/v1/sessions//events"):
        assert server.get(target).status in (400, 404), target


def bad_frames():
    unknown = [{"kind": "finished"}, {"kind": "Done", **DONE, "kind": "Done"}, {"kind": "delta"}, {"phase": "copy"}, {}]
    missing = [{name: value for name, value in frame.items() if name != gone}
               for frame in FRAMES for gone in frame if gone != "kind"]  # fmt: skip
    more = [{**frame, "more": 1} for frame in FRAMES]
    wrong = [
        {**FRAMES[0], "phase": "lunch"}, {**FRAMES[0], "at": "noon"}, {**FRAMES[0], "at": 12},
        {**FRAMES[1], "current": -1}, {**FRAMES[1], "total": 1.5}, {**FRAMES[1], "total": "3"},
        {**FRAMES[2], "fields": {}}, {**FRAMES[2], "fields": [{"name": "x"}]}, {**FRAMES[3], "message": None},
        {**DONE, "result": {}}, {**FAILED, "error": "too large"}, {**FAILED, "error": {"code": "x"}},
        {**FAILED, "error": {"code": "x", "message": "y", "more": 1}},
    ]  # fmt: skip
    return unknown + missing + more + wrong


def test_every_frame_is_checked_against_the_closed_union(server):
    """An unknown kind is an error and no pass-through; nothing that is refused reaches anybody, or ends anything."""
    assert set(SESSION_UNION) == {frame["kind"] for frame in FRAMES}
    with connect(server, route("a")) as socket:
        frames = bad_frames()
        assert len(frames) > 35
        for frame in frames:
            refused = server.post(json.dumps(frame), channel="sessions/a")
            assert (refused.status, refused.error_code()) == (422, "schema"), frame
            errors = refused.json()["error"]["errors"]
            assert errors and all(set(error) == {"instance", "schema"} for error in errors), frame
        refused = server.post('{"kind":"failed","phase":"copy","error":{"code":7,"message":"m"}}', channel="sessions/a")
        assert refused.json()["error"]["errors"] == [
            {"instance": "/error/code", "schema": "/definitions/error/properties/code/type"}
        ]
        publish(server, DONE, "sessions/a")
        assert frames_until_close(socket) == ([DONE], 1000)


def test_a_run_that_failed_says_so_as_the_http_api_would(server):
    """`error` in the frame has the members that `error` has in an answer."""
    answer = server.post("{", channel="sessions/a").json()
    assert set(answer) == {"error"} and set(answer["error"]) == {"code", "message"}
    run_example(WIZARD, server, *LONG)
    failed = []
    for name, is_over in sessions_of(server).items():
        if is_over:
            failed += [frame for frame in frames_until_close(connect(server, route(name)))[0] if frame["kind"] == "failed"]
    assert len({frame["error"]["code"] for frame in failed}) > 1
    for frame in failed:
        assert set(frame["error"]) == {"code", "message"} and frame["phase"] in PHASES
        assert all(isinstance(value, str) and value for value in frame["error"].values())


def time_of(at):
    moment = datetime.fromisoformat(at.replace("Z", "+00:00"))
    assert at.endswith("Z") and moment.utcoffset().total_seconds() == 0
    return moment.timestamp()


def test_every_run_is_told_from_its_first_phase_to_its_end(server):
    run_example(WIZARD, server, *LONG)
    runs = sessions_of(server)
    assert len(runs) > 15 and list(runs.values()).count(False) < 5
    kinds = set()
    for name, is_over in runs.items():
        if not is_over:
            continue
        frames, code = frames_until_close(connect(server, route(name)))
        assert code == 1000
        kinds |= {frame["kind"] for frame in frames}
        assert [frame["kind"] for frame in frames if frame["kind"] in ("done", "failed")] == [frames[-1]["kind"]]
        told = [frame["phase"] for frame in frames if frame["kind"] == "phase"]
        assert told == PHASES[: len(told)] and frames[0]["kind"] == "phase"
        assert frames[-1]["kind"] == "failed" or told == PHASES
        phase, current = None, 0
        for frame in frames:
            if frame["kind"] == "phase":
                phase, current = frame["phase"], 0
            elif "phase" in frame:
                assert frame["phase"] == phase
            if frame["kind"] == "progress":
                assert current < frame["current"] <= frame["total"]
                current = frame["current"]
            if frame["kind"] == "input_required":
                assert phase == "metadata" and frame["fields"] and frame["plugin"].endswith("_metadata")
    assert kinds == set(SESSION_UNION)


def test_a_phase_has_the_time_of_its_transition(server):
    """Not the time at which it is sent: whoever reads it later reads the same."""
    life_module, wizard_module = load("shared/life.py"), load(WIZARD)
    client = load("shared/fanout_client.py").Fanout(server.url)
    life = life_module.Life(3, fast=True)
    wizard = wizard_module.Wizard(life, client)
    moments = []

    class Watched(wizard_module.Run):
        """A run that notes when it changes to another phase."""

        def __setattr__(self, name, value):
            if name == "phase":
                moments.append((value, life.now))
            super().__setattr__(name, value)

    run = Watched("a", "sem")
    moments.clear()
    early = connect(server, route("a"))
    life.begin(wizard_module.Session(wizard, run).process())
    life.run()
    frames, _ = frames_until_close(early)
    told = [(frame["phase"], time_of(frame["at"])) for frame in frames if frame["kind"] == "phase"]
    assert [phase for phase, _ in told] == PHASES == [phase for phase, _ in moments]
    assert all(abs(at - moment) < 0.002 for (_, at), (_, moment) in zip(told, moments))
    assert all(old < new for (_, old), (_, new) in zip(told, told[1:]))
    assert frames_until_close(connect(server, route("a")))[0] == frames


def test_the_time_is_the_clocks_where_nothing_is_hurried(server):
    """At its own pace a transition is told when it happens."""
    with Example(WIZARD, server, "--seed", 1) as wizard:
        name = wait_until(lambda: next(iter(sessions_of(server)), None), "a run")
        with connect(server, route(name)) as socket:
            frame = json.loads(socket.receive_text())
            assert frame["kind"] == "phase" and frame["phase"] == "validate"
            assert abs(datetime.now().timestamp() - time_of(frame["at"])) < 10
        assert wizard.process.poll() is None


# The audit


class Findings:
    """What a page knows of the audit. The first frame must be a snapshot, and every other one a delta."""

    def __init__(self):
        self.rows = None
        self.audit_at = None
        self.deltas = 0

    def take(self, frame):
        if self.rows is None:
            assert frame["kind"] == "snapshot" and set(frame) == {"kind", "findings", "audit_at"}
            self.rows = {finding["id"]: finding for finding in frame["findings"]}
        else:
            assert frame["kind"] == "delta" and set(frame) == {"kind", "added", "removed", "changed", "audit_at"}
            self.deltas += 1
            for finding in frame["added"]:
                assert finding["id"] not in self.rows
                self.rows[finding["id"]] = finding
            for finding in frame["changed"]:
                assert self.rows[finding["id"]] != finding
                self.rows[finding["id"]] = finding
            for identifier in frame["removed"]:
                del self.rows[identifier]
        assert self.audit_at is None or time_of(frame["audit_at"]) > time_of(self.audit_at)
        self.audit_at = frame["audit_at"]

    def shown(self):
        return {"findings": sorted(self.rows.values(), key=lambda row: row["id"]), "audit_at": self.audit_at}


def shown(report):
    """The wizard's report in the same form."""
    told = json.loads(report)
    return {"findings": sorted(told["findings"], key=lambda row: row["id"]), "audit_at": told["audit_at"]}


def finding(name, severity="info"):
    return {"id": name, "run": "a", "rule": "r", "severity": severity, "message": "m"}


def delta(at, added=(), removed=(), changed=()):
    return {"kind": "delta", "added": list(added), "removed": list(removed), "changed": list(changed), "audit_at": at}


def test_who_connects_gets_the_snapshot_at_once_and_then_each_pass(server):
    first = {"kind": "snapshot", "findings": [], "audit_at": AT}
    assert put_snapshot(server, first).status == 200
    early = connect(server, AUDIT)
    assert json.loads(early.receive_text()) == first
    change = delta("2026-01-01T00:00:05.000Z", added=[finding("x")])
    ack = publish(server, change, "problems")
    # Between a pass and its snapshot: the last one and what has changed since.
    between = connect(server, AUDIT)
    assert [json.loads(between.receive_text()) for _ in "12"] == [first, change]
    second = {"kind": "snapshot", "findings": [finding("x")], "audit_at": "2026-01-01T00:00:05.000Z"}
    answer = put_snapshot(server, second, as_of=ack["cursor"])
    assert answer.status == 200 and answer.json()["seq"] == ack["seq"] and answer.json()["count"] == 1
    late = connect(server, AUDIT)
    assert json.loads(late.receive_text()) == second
    last = delta("2026-01-01T00:00:10.000Z", changed=[finding("x", "error")])
    publish(server, last, "problems")
    # Nobody who was there is told again what he knows.
    assert [json.loads(early.receive_text()) for _ in "12"] == [change, last]
    assert json.loads(between.receive_text()) == json.loads(late.receive_text()) == last
    for socket in (early, between, late):
        socket.close()


def test_before_the_first_audit_there_is_nothing_to_paint_and_no_error(server):
    with connect(server, AUDIT) as socket:
        ack = publish(server, delta(AT, added=[finding("x")]), "problems")
        assert ack["subscribers"] == 1
        assert json.loads(socket.receive_text()) == delta(AT, added=[finding("x")])


def test_the_audits_frames_are_checked_too(server):
    assert set(PROBLEMS_UNION) == {"snapshot", "delta"}
    bad = [{"kind": "progress"}, {"kind": "snapshot", "findings": []}, delta("today"), {**delta(AT), "more": 1},
           delta(AT, added=[{"id": "x"}]), delta(AT, changed=[finding("x", "fatal")]), delta(AT, removed=[finding("x")])]  # fmt: skip
    for frame in bad:
        refused = server.post(json.dumps(frame), channel="problems")
        assert (refused.status, refused.error_code()) == (422, "schema"), frame
    for row in ({"kind": "snapshot"}, {"kind": "nothing"}):
        assert put_snapshot(server, row).status == 422
    assert put_snapshot(server, {"kind": "snapshot", "findings": [], "audit_at": AT}).status == 200


class Auditor(threading.Thread):
    """Somebody who connects while the wizard runs and applies each frame as it comes."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.socket = connect(server, AUDIT)
        self.findings = Findings()
        self.fault = None
        self.start()

    def run(self):
        try:
            while True:
                self.findings.take(json.loads(self.socket.receive_text()))
        except (Ended, OSError):
            pass
        except AssertionError as fault:
            self.fault = fault


def test_whoever_comes_during_the_audit_knows_in_the_end_what_it_knows(server):
    auditors = []
    with Example(WIZARD, server, "--fast", "--seed", 2, "--seconds", 900, "--report") as wizard:
        wait_until(lambda: sessions_of(server), "the wizard to begin")
        while wizard.process.poll() is None:
            auditors.append(Auditor(server))
            goal = server.metric("fanout_head_seq") + 60
            wait_until(lambda: server.metric("fanout_head_seq") >= goal or wizard.process.poll() is not None, "more")
        report = shown(wizard.finish())
    auditors.append(Auditor(server))
    for auditor in auditors:
        wait_until(lambda auditor=auditor: auditor.fault or auditor.findings.audit_at == report["audit_at"], "the head")
        assert auditor.fault is None
        assert auditor.findings.shown() == report
        auditor.socket.close()
    assert len(auditors) > 8 and auditors[0].findings.deltas > 50 and auditors[-1].findings.deltas <= 1
    assert report["findings"]


def test_sessions_and_the_audit_are_streams_of_their_own(server):
    audit, session = connect(server, AUDIT), connect(server, route("a"))
    put_snapshot(server, {"kind": "snapshot", "findings": [], "audit_at": AT})
    publish(server, FRAMES[0], "sessions/b")
    publish(server, delta(AT), "problems")
    publish(server, FRAMES[1], "sessions/a")
    assert json.loads(session.receive_text()) == FRAMES[1]
    assert json.loads(audit.receive_text()) == delta(AT)
    audit.close()
    session.close()


def test_the_same_seed_lives_the_same_life(io, start_server):
    lives = []
    for _ in range(2):
        server = start_server(*profile("exlab-wizard"))
        report = run_example(WIZARD, server, *LONG)
        ended = {name: frames_until_close(connect(server, route(name))) for name, over in sessions_of(server).items() if over}
        lives.append((report, ended))
    assert lives[0] == lives[1] and lives[0][1]


# The page


@pytest.fixture
def pages():
    pages = profiles.Pages("exlab-wizard")
    yield pages
    pages.close()


@needs_chromium
def test_the_page_follows_a_run_and_the_audit(start_server, chromium, pages):
    server = start_server(*profile("exlab-wizard"), "--allow-origin", pages.origin)
    chromium.get(f"{pages.origin}/?server={server.url}")

    def wait(script, about):
        return WebDriverWait(chromium, DEADLINE_S, 0.05).until(lambda driver: driver.execute_script(script), about)

    report = run_example(WIZARD, server, *LONG)
    audit_at = json.loads(report)["audit_at"]
    wait(f"return wizard.problems.auditAt === '{audit_at}'", "the last audit")
    rows = chromium.execute_script("return [...wizard.problems.findings.values()]")
    assert {"findings": sorted(rows, key=lambda row: row["id"]), "audit_at": audit_at} == shown(report)
    assert len(chromium.find_elements("css selector", "#findings tr")) == max(1, len(rows))
    for frame in FRAMES[:3]:
        publish(server, frame, "sessions/mine")
    wait("return [...document.querySelectorAll('#runs button')].some(button => button.textContent === 'mine')", "the run")
    chromium.execute_script(
        "[...document.querySelectorAll('#runs button')].find(button => button.textContent === 'mine').click()"
    )
    wait("return wizard.name === 'mine' && wizard.session.question?.plugin === 'p'", "the question")
    assert "p asks: r" in chromium.find_element("id", "doing").text
    publish(server, {"kind": "phase", "phase": "collect", "at": AT}, "sessions/mine")
    wait("return wizard.session.phases.length === 2 && !wizard.session.question", "the next phase")
    publish(server, FRAMES[3], "sessions/mine")
    publish(server, FAILED, "sessions/mine")
    wait("return document.getElementById('session-state').textContent === 'ended'", "the end")
    assert "Failed (quota_exceeded): too large" in chromium.find_element("id", "doing").text
    assert chromium.find_element("id", "warnings").text == "m"
    # Another server, another audit: the page begins anew.
    port = server.http_port
    server.kill()
    again = start_server(*profile("exlab-wizard"), "--allow-origin", pages.origin, listen=f"127.0.0.1:{port}")
    put_snapshot(again, {"kind": "snapshot", "findings": [finding("new")], "audit_at": AT})
    # A page that was back before that snapshot begins again at the first delta.
    publish(again, delta(AT), "problems")
    wait("return wizard.problems.findings?.has('new') && wizard.problems.findings.size === 1", "the new audit")
    assert faults(chromium) == []
    chromium.get("about:blank")
