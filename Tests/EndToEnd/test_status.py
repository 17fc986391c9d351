"""What the server says of itself: health, metrics, channels, and the page."""

import re

import pytest

from readers import open_reader

LABELS = r'\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)+\}'
SAMPLE = re.compile(rf"([a-zA-Z_:][a-zA-Z0-9_:]*)({LABELS})? (-?[0-9.]+(?:e[+-]?[0-9]+)?|NaN|[+-]Inf)")


def metrics(server):
    """Every sample of `/metrics` by name and labels; the text is checked against the exposition format."""
    response = server.get("/metrics")
    assert response.status == 200
    assert response.header("content-type").startswith("text/plain; version=0.0.4")
    text = response.body.decode()
    assert text.endswith("\n")
    kinds, helped, samples = {}, set(), {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split(" ")[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert kind in ("counter", "gauge", "histogram", "summary", "untyped"), line
            assert name not in kinds, f"{name} has two TYPE lines"
            kinds[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, f"not a sample: {line!r}"
            name, labels, value = match.groups()
            family = re.sub("_(bucket|sum|count)$", "", name)
            assert name in kinds or family in kinds, f"{name} has no TYPE line before it"
            assert name in helped or family in helped, f"{name} has no HELP line before it"
            key = name + (labels or "")
            assert key not in samples, f"{key} comes twice"
            samples[key] = float(value)
    for name, kind in kinds.items():
        assert kind != "counter" or name.endswith("_total"), f"counter {name} does not end in _total"
    return samples


@pytest.mark.parametrize("target", ["/healthz", "/readyz"])
@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_a_running_server_is_alive_and_ready(server, target, unix):
    response = server.get(target, unix=unix)
    assert response.status == 200
    assert "no-store" in response.header("cache-control")


def test_metrics_count_what_happens(io, start_server, channel):
    server = start_server()
    with open_reader(server, "sse") as sse, open_reader(server, "unix") as unix:
        sse.next()
        unix.next()
        before = metrics(server)
        server.publish_batch(["{}"] * 10)
        for _ in range(10):
            sse.next_event()
            unix.next_event()
        after = metrics(server)
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert [
        name for name in grown if "events" in name and name.split("{")[0].endswith("_total") and grown[name] == 10
    ], grown
    assert [name for name in grown if "deliver" in name and grown[name] in (10, 20)], grown
    assert [name for name in grown if "bytes" in name and grown[name] >= 10 * len('{"seq":1,"channel":"events"}\n')], (
        grown
    )
    assert [name for name in after if "ticks" in name], after
    assert [name for name in after if "sends" in name], after
    assert [name for name in after if "enter" in name], after


def test_metrics_count_connections_by_transport(io, start_server):
    server = start_server()
    readers = [open_reader(server, transport) for transport in ("unix", "tcp", "http-jsonl", "sse", "websocket")]
    for reader in readers:
        reader.next()
    open_now = {name: value for name, value in metrics(server).items() if "connections{" in name and value >= 1}
    labels = " ".join(open_now)
    assert "sse" in labels and "websocket" in labels and "jsonl" in labels, open_now
    for reader in readers:
        reader.close()


def test_metrics_name_the_backend(io, start_server):
    samples = metrics(start_server())
    named = [name for name, value in samples.items() if "backend" in name and value == 1]
    assert len(named) == 1 and io in named[0], named


def test_channels_lists_what_exists_and_how_busy_it_is(io, start_server):
    server = start_server("--channel", "declared", "--channel", "deep/er")
    server.publish_batch(["{}"] * 3, channel="a/b")
    last = server.publish("{}", channel="a/b")
    server.publish("{}", channel="c")
    with open_reader(server, "sse", channel=["a/*"]) as one, open_reader(server, "unix") as everything:
        one.next()
        everything.next()
        response = server.get("/v1/channels")
    assert response.header("content-type") == "application/json"
    channels = {entry["channel"]: entry for entry in response.json()["channels"]}
    assert {"a/b", "c", "declared", "deep/er"} <= channels.keys() <= {"a/b", "c", "declared", "deep/er", "events"}
    assert channels["a/b"] == {"channel": "a/b", "events": 4, "subscribers": 2, "head": last["cursor"]}
    assert (channels["c"]["events"], channels["c"]["subscribers"]) == (1, 1)
    assert channels["declared"]["events"] == 0


def test_the_page_and_its_module_are_served(server):
    page = server.get("/")
    assert page.header("content-type").lower() == "text/html; charset=utf-8"
    assert page.body.lstrip().lower().startswith(b"<!doctype html>")
    module = server.get("/fanout.js")
    assert module.header("content-type").split(";")[0] == "text/javascript"
    for response in (page, module):
        assert response.header("x-content-type-options") == "nosniff"


def test_every_address_that_the_page_names_is_served(server):
    page = server.get("/").body.decode()
    own = re.findall(r'(?:src|href)="(/[^"]*)"', page)
    assert own, "the page names nothing of its own"
    for target in own:
        assert server.get(target).status == 200, target
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page), "the page reaches out to another server"
