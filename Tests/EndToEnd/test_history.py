"""`GET /v1/history`: the past in pages, as subscribers saw it, and what is said where something of it is gone."""

import json

import pytest

import http1
import program
from backlog import Publisher, epoch_of, fill, greeted, skip_to_hello
from endings import PATIENT
from readers import CURSOR, events_target, open_reader, place
from streams import wait_until

MEBIBYTE = 1 << 20
OTHER_EPOCH = "0123456789abcdef"


def target_of(**query):
    return events_target(**query).replace("/v1/events", "/v1/history")


def history(server, unix=False, **query):
    """An answer, whose form is checked; `texts` is the bytes of each event in it."""
    response = server.get(target_of(**query), unix=unix)
    assert response.status == 200, response
    assert response.header("content-type") == "application/json"
    assert "no-store" in response.header("cache-control")
    answer = response.json()
    assert set(answer) - {"gap", "cursors"} == {"events", "first", "next", "head"}, answer.keys()
    assert CURSOR.match(answer["head"])
    assert all(answer[name] is None or CURSOR.match(answer[name]) for name in ("first", "next"))
    assert answer["first"] or answer["events"] == []
    lines = as_lines(server, unix=unix, **query)
    answer["texts"] = lines.body.splitlines()
    assert response.body.startswith(b'{"events":[' + b",".join(answer["texts"]) + b"]"), "the same bytes in either form"
    return answer


def as_lines(server, unix=False, **query):
    """The same question, answered in lines; what the header says is checked where nothing is published meanwhile."""
    response = server.get(target_of(**query), {"Accept": "application/x-ndjson"}, unix=unix)
    assert response.status == 200 and response.header("content-type") == "application/x-ndjson", response
    assert CURSOR.match(response.header("fanout-head"))
    assert not response.body or response.body.endswith(b"\n")
    return response


def numbers(answer):
    return [event["n"] for event in answer["events"]]


def publish_numbered(server, count, **query):
    """Their cursors, event by event."""
    return [server.publish('{"n":%d}' % number, **query)["cursor"] for number in range(count)]


# Which events


def test_the_newest_come_where_nothing_is_said_and_oldest_first(server, channel):
    cursors = publish_numbered(server, 150, channel=channel)
    answer = history(server, channel=channel)
    assert numbers(answer) == list(range(50, 150)), "a hundred by default"
    assert (answer["first"], answer["next"], answer["head"]) == (cursors[50], None, cursors[149])
    assert "gap" not in answer and "cursors" not in answer
    answer = history(server, channel=channel, limit=3)
    assert (numbers(answer), answer["first"], answer["next"]) == ([147, 148, 149], cursors[147], None)
    answer = history(server, channel=channel, limit=150)
    assert (numbers(answer), answer["first"], answer["next"]) == (list(range(150)), cursors[0], None)


def test_events_are_as_subscribers_saw_them(server, channel):
    with greeted(server, "unix", channel=[channel]) as live:
        events = ['{ "type" : "a" , "s" : "\\u00e9 \\ud800 \u00e9 \\/" }', "{}", '{"n":1.50e+1}', '{"a":[[],{}]}']
        for event in events:
            server.publish(event, channel=channel)
        texts = [live.next_event().text for _ in events]
    assert history(server, channel=channel)["texts"] == texts
    assert history(server, unix=True, channel=channel)["texts"] == texts


def test_after_gives_the_oldest_behind_a_place_and_where_to_go_on(server, channel):
    before = server.publish("{}")["cursor"]
    cursors = publish_numbered(server, 10, channel=channel)
    server.publish("{}")
    answer = history(server, channel=channel, after=before, limit=4)
    assert (numbers(answer), answer["first"], answer["next"]) == ([0, 1, 2, 3], cursors[0], cursors[3])
    answer = history(server, channel=channel, after=answer["next"], limit=4)
    assert (numbers(answer), answer["first"], answer["next"]) == ([4, 5, 6, 7], cursors[4], cursors[7])
    answer = history(server, channel=channel, after=answer["next"], limit=4)
    assert (numbers(answer), answer["first"], answer["next"]) == ([8, 9], cursors[8], None)
    exact = history(server, channel=channel, after=cursors[5], limit=4)
    assert (numbers(exact), exact["next"]) == ([6, 7, 8, 9], None), "nothing is behind a page that ends with the last"


def test_before_gives_the_newest_in_front_of_a_place(server, channel):
    cursors = publish_numbered(server, 10, channel=channel)
    answer = history(server, channel=channel, before=cursors[8], limit=3)
    assert (numbers(answer), answer["first"], answer["next"]) == ([5, 6, 7], cursors[5], None)
    pages = [history(server, channel=channel, limit=4)]
    while pages[-1]["first"]:
        pages.append(history(server, channel=channel, before=pages[-1]["first"], limit=4))
    assert [numbers(page) for page in pages] == [[6, 7, 8, 9], [2, 3, 4, 5], [0, 1], []], "all of it, backwards"
    empty = history(server, channel=channel, before=cursors[0])
    assert (empty["events"], empty["first"], empty["next"]) == ([], None, None)


def test_both_give_what_is_between_them(server, channel):
    cursors = publish_numbered(server, 10, channel=channel)
    answer = history(server, channel=channel, after=cursors[1], before=cursors[6])
    assert (numbers(answer), answer["next"]) == ([2, 3, 4, 5], None)
    answer = history(server, channel=channel, after=cursors[1], before=cursors[6], limit=2)
    assert (numbers(answer), answer["next"]) == ([2, 3], cursors[3])
    for after, before in ((cursors[3], cursors[4]), (cursors[6], cursors[2]), (cursors[3], cursors[3])):
        assert history(server, channel=channel, after=after, before=before)["events"] == []


def test_patterns_and_kinds_pick(server, channel):
    names, wanted = ["a", "b/1", "b/2/3", "c"], []
    for number in range(120):
        name, kind = names[number % 4], "xyz"[number % 3]
        server.publish('{"type":"%s","n":%d}' % (kind, number), channel=f"{channel}/{name}")
        if name in ("a", "b/1") and kind in "xz":
            wanted.append(number)
    query = {"channel": [f"{channel}/a", f"{channel}/b/*"], "types": ["x", "z"]}
    assert numbers(history(server, **query)) == wanted
    assert numbers(history(server, limit=7, **query)) == wanted[-7:]
    found, after = [], place(history(server, limit=1, **query)["head"], -120)
    while after:
        page = history(server, limit=9, after=after, **query)
        found += numbers(page)
        after = page["next"]
    assert found == wanted
    assert history(server, channel=[f"{channel}/none"], types=["x"])["events"] == []


def test_without_a_channel_it_is_all_of_them_in_one_order(io, start_server):
    server = start_server()
    for number in range(30):
        server.publish('{"n":%d}' % number, channel="abc"[number % 3])
    answer = history(server)
    assert numbers(answer) == list(range(30))
    assert [event["channel"] for event in answer["events"]] == ["a", "b", "c"] * 10


def test_an_ended_channel_still_has_its_past(server, channel):
    publish_numbered(server, 3, channel=channel)
    server.exchange(http1.request("DELETE", f"/v1/channels?channel={channel}"))
    assert numbers(history(server, channel=channel)) == [0, 1, 2]


# The form


def test_lines_carry_the_places_in_the_header(server, channel):
    cursors = publish_numbered(server, 5, channel=channel)
    response = as_lines(server, channel=channel, after=cursors[0], limit=2)
    assert [json.loads(line)["n"] for line in response.body.splitlines()] == [1, 2]
    assert (response.header("fanout-next"), response.header("fanout-head")) == (cursors[2], cursors[4])
    response = as_lines(server, channel=channel, after=cursors[2])
    assert [json.loads(line)["n"] for line in response.body.splitlines()] == [3, 4]
    assert (response.header("fanout-next"), response.header("fanout-head")) == (None, cursors[4])
    response = as_lines(server, channel=channel, after=cursors[4])
    assert (response.body, response.header("fanout-next")) == (b"", None)


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/x-ndjson"])
def test_head_says_what_get_would(server, channel, accept):
    publish_numbered(server, 5, channel=channel)
    fields = {"Accept": accept} if accept else {}
    got = server.get(target_of(channel=channel, limit=2), fields)
    with server.connect() as stream:
        stream.send(http1.request("HEAD", target_of(channel=channel, limit=2), {**fields, "Connection": "close"}))
        head = http1.read_response(stream, of="HEAD")
        assert stream.rest() == b""
    assert head.status == got.status == 200
    names = ("content-type", "content-length", "cache-control", "fanout-head", "fanout-first", "fanout-next")
    assert [head.header(name) for name in names] == [got.header(name) for name in names]


@pytest.mark.parametrize("stamp", [[], ["time"], ["channel"]])
def test_places_stand_beside_events_that_carry_no_number(io, start_server, tmp_path, stamp):
    server = start_server(*program.configured(tmp_path, {"channels": {"raw": {"stamp": stamp}}}))
    cursors = publish_numbered(server, 6, channel="raw")
    answer = history(server, channel="raw", limit=4)
    assert numbers(answer) == [2, 3, 4, 5]
    assert answer["cursors"] == cursors[2:]
    assert stamp or answer["texts"] == [b'{"n":%d}' % number for number in (2, 3, 4, 5)]
    page = history(server, channel="raw", after=cursors[1], limit=2)
    assert (numbers(page), page["cursors"], page["next"]) == ([2, 3], cursors[2:4], cursors[3])


# How much


def test_an_answer_is_bounded_in_bytes_and_says_where_to_go_on(server, channel):
    """At most a mebibyte of events, at least one, whatever the limit; backwards as well."""
    before = server.publish("{}")["cursor"]
    text = "x" * 260_000
    events = [f'{{"n":{number},"text":"{text}"}}' for number in range(9)]
    cursors = [server.publish(event, channel=channel)["cursor"] for event in events]
    found, after = [], before
    while after:
        page = history(server, channel=channel, after=after, limit=10_000)
        assert 1 <= len(page["events"]) <= 4
        assert sum(map(len, page["texts"])) <= MEBIBYTE
        assert page["next"] in (None, cursors[numbers(page)[-1]])
        found += numbers(page)
        after = page["next"]
    assert found == list(range(9))
    pages = [history(server, channel=channel, limit=10_000)]
    while pages[-1]["first"]:
        assert 1 <= len(pages[-1]["events"]) <= 4
        pages.append(history(server, channel=channel, before=pages[-1]["first"], limit=10_000))
    assert [number for page in reversed(pages) for number in numbers(page)] == list(range(9))


def test_ten_thousand_events_fit_into_one_answer(io, start_server):
    server = start_server()
    for _ in range(11):
        server.publish_batch(['{"n":0}'] * 1_000)
    answer = history(server, limit=10_000)
    assert [event["seq"] for event in answer["events"]] == list(range(1_001, 11_001))
    answer = history(server, after=f"{epoch_of(server)}-0", limit=10_000)
    assert [event["seq"] for event in answer["events"]] == list(range(1, 10_001))
    assert answer["next"] == f"{epoch_of(server)}-10000"


@pytest.mark.parametrize("limit", ["0", "10001", "-1", "x", "", "1.5", "18446744073709551616"])
def test_a_limit_that_is_none_is_refused(server, limit):
    response = server.get(f"/v1/history?limit={limit}")
    assert response.status == 400 and response.error_code(), response


# What is gone


def test_a_place_whose_events_are_gone_is_said_and_answered_from_the_oldest_held(io, start_server):
    server = start_server("--history", "1M")
    head, epoch = fill(server, 3), epoch_of(server)
    first = int(server.metric("fanout_history_first_seq"))
    for after in (0, 5, first - 2):
        answer = history(server, after=f"{epoch}-{after}", limit=10)
        assert answer["gap"] == {"from": after + 1, "to": first - 1, "why": "pruned"}
        assert [event["seq"] for event in answer["events"]] == list(range(first, first + 10))
        assert answer["next"] == f"{epoch}-{first + 9}"
    answer = history(server, after=f"{epoch}-{first - 1}", limit=10)
    assert "gap" not in answer and answer["first"] == f"{epoch}-{first}"
    pages = [history(server, limit=300)]
    while pages[-1]["first"]:
        pages.append(history(server, before=pages[-1]["first"], limit=300))
    assert [event["seq"] for page in reversed(pages) for event in page["events"]] == list(range(first, head + 1))


def test_a_page_that_looks_at_much_and_finds_little_says_where_to_go_on(io, start_server):
    """Of 100,000 events the first and the last are asked for: no page may take so long that others wait for it."""
    server = start_server()
    rare = '{"$publish":{"event":{"n":%d},"channel":"rare"}}\n'
    server.ingest((rare % 0 + "{}\n" * 99_998 + rare % 1).encode())
    wait_until(lambda: server.metric("fanout_head_seq") == 100_000, "the events")
    epoch = epoch_of(server)
    assert int(server.metric("fanout_history_first_seq")) == 1
    for direction in ("after", "before"):
        pages = [history(server, channel="rare", **{direction: f"{epoch}-{0 if direction == 'after' else 100_001}"})]
        on = "next" if direction == "after" else "first"
        while pages[-1][on]:
            pages.append(history(server, channel="rare", **{direction: pages[-1][on]}))
        found = [numbers(page) for page in pages]
        assert found == ([[0], [1]] if direction == "after" else [[1], [], [0], []]), direction


@pytest.mark.parametrize("why", ["unknown_epoch", "ahead"])
def test_a_place_that_is_not_known_is_said_and_answered_from_the_oldest_held(io, start_server, why):
    server = start_server()
    cursors = publish_numbered(server, 20)
    after = f"{OTHER_EPOCH}-3" if why == "unknown_epoch" else place(cursors[-1], 1)
    answer = history(server, after=after, limit=5)
    assert (answer["gap"], numbers(answer), answer["next"]) == ({"why": why}, [0, 1, 2, 3, 4], cursors[4])


def test_a_server_that_holds_nothing_answers_with_nothing(io, start_server):
    server = start_server("--history", "0")
    cursors = publish_numbered(server, 3)
    assert "gap" not in history(server)
    answer = history(server, after=cursors[0])
    epoch = epoch_of(server)
    assert (answer["events"], answer["next"], answer["head"]) == ([], None, f"{epoch}-3")
    assert answer["gap"] == {"from": 2, "to": 3, "why": "pruned"}


# Questions that are none


@pytest.mark.parametrize("name", ["after", "before"])
@pytest.mark.parametrize("cursor", ["x", "1", OTHER_EPOCH, f"{OTHER_EPOCH}-", f"{OTHER_EPOCH}-01", f"{OTHER_EPOCH}-1-"])
def test_a_malformed_place_is_refused(server, name, cursor):
    response = server.get(target_of(**{name: cursor}))
    assert (response.status, response.error_code()) == (400, "bad_cursor"), response


@pytest.mark.parametrize("query", ["channel=a,b", "channel=a//b", "chanel=a", "from=now", "limit=1&limit=2"])
def test_what_means_nothing_is_refused(server, query):
    response = server.get(f"/v1/history?{query}")
    assert response.status == 400 and response.error_code(), response


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_is_for_reading_only(server, method):
    response = server.exchange(http1.request(method, "/v1/history", body=b""))
    assert (response.status, response.header("allow")) == (405, "GET, HEAD, OPTIONS")


def test_web_pages_of_others_do_not_get_it(server):
    for headers in ({"Origin": "https://app.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert server.get("/v1/history", headers).status == 403
    assert server.exchange(http1.request("GET", "/v1/history", host="rebound.example")).status == 421


# Beside publishers


def test_pages_while_events_are_published_have_each_of_them_once(io, start_server):
    server = start_server()
    epoch = epoch_of(server)
    query = {"channel": ["a/*"], "types": ["x", "z"]}
    found, after = [], f"{epoch}-0"
    with Publisher(server, pause=0) as publisher:
        for _ in range(60):
            page = server.get(target_of(after=after, limit=50, **query)).json()
            found += [event["seq"] for event in page["events"]]
            after = page["next"] or (f"{epoch}-{found[-1]}" if found else after)
    while after:
        page = history(server, after=after, limit=10_000, **query)
        found += [event["seq"] for event in page["events"]]
        after = page["next"]
    wanted = [seq for seq, name, kind in publisher.published if name in ("a/1", "a/2") and kind in "xz"]
    assert found == wanted


def test_an_answer_and_a_stream_that_begins_at_its_head_have_everything_once(io, start_server, tmp_path):
    """As a page does it that shows the past first."""
    server = start_server(*program.configured(tmp_path, PATIENT))
    with Publisher(server, pause=0) as publisher:
        for transport in ("sse", "websocket", "unix") * 3:
            answer = server.get(target_of(limit=30)).json()
            with open_reader(server, transport, from_=answer["head"]) as reader:
                skip_to_hello(reader)
                past = [event["seq"] for event in answer["events"]]
                live = [reader.next_event().json()["seq"] for _ in range(50)]
                assert past + live == list(range(past[0], past[0] + len(past) + 50)), transport
        wait_until(lambda: len(publisher.published) > 1_000, "a thousand events")
