"""The past from the database: pages and replays of what no memory holds any more, and what retention has removed."""

import random

import pytest

import http1
import program
from backlog import Publisher, filler, seqs, skip_to_hello
from endings import PATIENT, TRANSPORTS, Collector, check_bye
from readers import TRANSPORTS as ALL_TRANSPORTS
from readers import open_reader, place
from stored import come_back, epoch_of, gone, head_of
from streams import wait_until
from test_history import history, numbers, target_of

# The least window there is with a database: nearly all of the past is then in the database alone.
SMALL = ("--history", "1M")


def publish_mixed(server, count, offset=0):
    """Batches to three channels, of three kinds in turn; (n, seq, channel, kind) of each event."""
    published = []
    for start in range(offset, offset + count, 100):
        channel = ["a/1", "b", "a/2/x"][start // 100 % 3]
        lines = ['{"type":"%s","n":%d}' % ("xyz"[n % 3], n) for n in range(start, start + 100)]
        last = server.publish_batch(lines, channel=channel)["seq"]
        published += [(n, last - 99 + at, channel, "xyz"[n % 3]) for at, n in enumerate(range(start, start + 100))]
    return published


def answer_of(server, **query):
    """One page, without asking for its other form."""
    response = server.get(target_of(**query))
    assert response.status == 200, response
    return response.json()


def pages_forwards(server, after, **query):
    while after:
        page = answer_of(server, after=after, **query)
        yield page
        after = page["next"]


def pages_backwards(server, **query):
    page = answer_of(server, **query)
    while page["first"]:
        yield page
        page = answer_of(server, before=page["first"], **query)


@pytest.fixture
def five_thousand(life):
    """A server that holds nothing in memory of 5,000 events that others have stored."""
    published = publish_mixed(life.begin(), 3_000)
    published += publish_mixed(life.again(), 2_000, offset=3_000)
    server = life.again("stopped", *SMALL)
    server.published = published
    return server


# Pages


def test_five_thousand_events_in_pages_both_ways(five_thousand):
    server, start = five_thousand, f"{epoch_of(five_thousand)}-0"
    everything = [n for n, *_ in server.published]
    for limit in (7, 499, 500, 501, 10_000):
        forwards = [numbers(page) for page in pages_forwards(server, start, limit=limit)]
        backwards = [numbers(page) for page in pages_backwards(server, limit=limit)]
        assert [n for page in forwards for n in page] == everything, limit
        assert [n for page in reversed(backwards) for n in page] == everything, limit
        assert all(len(page) == min(limit, 5_000) for page in forwards[:-1])
    answer = history(server, after=start, limit=1_000)
    assert numbers(answer) == everything[:1_000] and answer["head"] == head_of(server)
    assert numbers(history(server)) == everything[-100:], "the newest hundred where nothing is said"
    assert numbers(history(server, limit=1)) == everything[-1:]
    assert [numbers(page) for page in pages_forwards(server, place(answer["head"], -3), limit=1)] == [
        [4_997],
        [4_998],
        [4_999],
    ]


def test_patterns_and_kinds_pick_from_the_database_as_from_memory(five_thousand):
    server = five_thousand
    start = f"{epoch_of(server)}-0"
    queries = [
        ({"channel": ["b"]}, lambda channel, kind: channel == "b"),
        ({"channel": ["a/**"]}, lambda channel, kind: channel != "b"),
        ({"channel": ["a/*", "b"], "types": ["x"]}, lambda channel, kind: channel != "a/2/x" and kind == "x"),
        ({"types": ["y", "z"]}, lambda channel, kind: kind != "x"),
        ({"channel": ["none"]}, lambda channel, kind: False),
        ({"types": ["none"]}, lambda channel, kind: False),
    ]
    for query, is_wanted in queries:
        wanted = [n for n, _, channel, kind in server.published if is_wanted(channel, kind)]
        for limit in (333, 10_000):
            forwards = [n for page in pages_forwards(server, start, limit=limit, **query) for n in numbers(page)]
            backwards = [numbers(page) for page in pages_backwards(server, limit=limit, **query)]
            assert forwards == wanted, (query, limit)
            assert [n for page in reversed(backwards) for n in page] == wanted, (query, limit)
        assert numbers(history(server, limit=50, **query)) == wanted[-50:]
        assert (
            numbers(history(server, after=place(start, 2_000), before=place(start, 2_200), **query))
            == [n for n in wanted if 2_000 <= n < 2_199][:100]
        )


def test_pages_span_database_and_memory_without_a_seam(life):
    """What was there before the start, what has left the window since, and what is in it, in one page."""
    server = life.begin()
    old = [server.publish('{"n":%d}' % n)["seq"] for n in range(5)]
    server = life.again("stopped", *SMALL)
    for _ in range(3):
        server.publish_batch(filler(1_000), channel="big")
    new = [server.publish('{"n":%d}' % n)["seq"] for n in range(5, 10)]
    assert int(server.metric("fanout_history_first_seq")) > old[-1]
    answer = history(server, channel="events", limit=10)
    assert [event["seq"] for event in answer["events"]] == old + new
    answer = history(server, channel="events", after=f"{epoch_of(server)}-3", limit=4)
    assert (numbers(answer), answer["next"]) == ([3, 4, 5, 6], f"{epoch_of(server)}-{new[1]}")
    found = [n for page in pages_forwards(server, f"{epoch_of(server)}-0", limit=700) for n in page["events"]]
    assert [event["seq"] for event in found] == list(range(1, new[-1] + 1))


def test_an_answer_from_the_database_is_bounded_in_bytes(life):
    server = life.begin()
    text = "x" * 260_000
    for n in range(9):
        server.publish(f'{{"n":{n},"text":"{text}"}}')
    server = life.again()
    pages = list(pages_forwards(server, f"{epoch_of(server)}-0", limit=10_000))
    assert [n for page in pages for n in numbers(page)] == list(range(9))
    assert all(1 <= len(page["events"]) <= 4 for page in pages)
    backwards = list(pages_backwards(server, limit=10_000))
    assert [n for page in reversed(backwards) for n in numbers(page)] == list(range(9))


def test_many_ask_for_history_at_once_and_each_gets_its_own(five_thousand):
    """More than the server may gather at once: an answer is whole, or it is `overload` and says when to come back."""
    server = five_thousand
    start = f"{epoch_of(server)}-0"
    streams = [server.connect() for _ in range(100)]
    for at, stream in enumerate(streams):
        stream.send(http1.request("GET", target_of(after=place(start, at * 40), limit=200)))
    answered = 0
    for at, stream in enumerate(streams):
        response = http1.read_response(stream)
        if response.status == 503:
            assert response.error_code() == "overload" and response.header("retry-after")
            continue
        answered += 1
        assert [event["n"] for event in response.json()["events"]] == list(range(at * 40, at * 40 + 200))
    assert answered >= 64


def test_pages_beside_publishers_have_each_event_once(life):
    publish_mixed(life.begin(), 2_000)
    server = life.again("stopped", *SMALL)
    query = {"channel": ["a/*"], "types": ["x", "z"]}
    before = answer_of(server, limit=10_000, **query)["events"]
    found, after = [], f"{epoch_of(server)}-0"
    with Publisher(server, pause=0) as publisher:
        for _ in range(60):
            page = answer_of(server, after=after, limit=50, **query)
            found += [event["seq"] for event in page["events"]]
            after = page["next"] or (f"{epoch_of(server)}-{found[-1]}" if found else after)
    for page in pages_forwards(server, after, limit=10_000, **query):
        found += [event["seq"] for event in page["events"]]
    wanted = [event["seq"] for event in before]
    wanted += [seq for seq, name, kind in publisher.published if name in ("a/1", "a/2") and kind in "xz"]
    assert found == wanted


# Replay


def test_twenty_mebibytes_that_no_memory_holds_are_replayed_exactly_beside_publishers(life):
    """Half of it from before the restart, half since; readers of every kind, from the start and from the middle."""
    expected = []

    def fill(server, mebibytes):
        for part in range(mebibytes):
            lines = filler(950, 940)
            lines[part * 7] = '{"n":-1,"text":"%s"}' % ("y" * 90_000)
            server.publish_batch(lines, channel="fill")
            expected.extend(lines)

    fill(life.begin(*SMALL, configuration=PATIENT), 10)
    server = life.again("stopped", *SMALL)
    fill(server, 10)
    assert int(server.metric("fanout_history_first_seq")) > 10_000
    expected = [b'{"seq":%d,"channel":"fill",' % seq + each[1:].encode() for seq, each in enumerate(expected, 1)]
    epoch, middle = epoch_of(server), 9_000
    with Publisher(server) as publisher:
        readers = {(each, 0): come_back(server, each, f"{epoch}-0") for each in ("unix", "sse", "websocket")}
        readers |= {(each, middle): come_back(server, each, f"{epoch}-{middle}") for each in ("tcp", "http-jsonl")}
        collector = Collector(readers)
        wait_until(lambda: server.metric("fanout_replaying_subscribers") == 0, "everybody to be at the head")
    last = server.publish('{"type":"end"}')["seq"]
    collector.wait_for(b'"seq":%d,' % last)
    assert server.metric("fanout_laggards_total") == 0
    server.stop()
    live = [seq for seq, _, _ in publisher.published]
    for (transport, at), ending in collector.endings().items():
        records = ending.records[: len(expected) - at]
        assert [record.text for record in records] == expected[at:], transport
        assert ending.seqs()[len(expected) - at :] == [*live, last], transport
        assert ending.controls("$gap") == []
        check_bye(transport, ending, 1001, "shutdown", comes_back=True)


def test_readers_with_filters_of_their_own_each_get_their_part_of_the_past(five_thousand):
    server, dice = five_thousand, random.Random(5)
    epoch, readers, queries = epoch_of(server), {}, []
    choices = [
        {},
        {"channel": ["b"]},
        {"channel": ["a/*"]},
        {"channel": ["a/**", "b"], "types": ["x"]},
        {"types": ["x", "z"]},
        {"channel": ["a/1", "none"], "types": ["y"]},
    ]
    with Publisher(server) as publisher:
        for transport in ALL_TRANSPORTS * 3:
            query, at = dice.choice(choices), dice.choice([0, 1, 499, 500, 2_500, 4_990])
            reader = open_reader(server, transport, from_=f"{epoch}-{at}", **query)
            skip_to_hello(reader)
            readers[len(readers)] = reader
            queries.append((transport, query, at))
    # Something that everybody's filter takes comes last.
    published = [(seq, channel, kind) for _, seq, channel, kind in server.published] + publisher.published
    for name in ("a/1", "b"):
        for kind in "xyz":
            published.append((server.publish('{"type":"%s"}' % kind, channel=name)["seq"], name, kind))
    collector = Collector(readers)
    wait_until(lambda: server.metric("fanout_replaying_subscribers") == 0, "everybody to be at the head")
    server.stop()
    for number, ending in collector.endings().items():
        transport, query, at = queries[number]
        wanted = [seq for seq, channel, kind in published if seq > at and matches(query, channel, kind)]
        assert ending.seqs() == wanted, (transport, query, at)
        assert ending.controls("$gap") == []


def matches(query, channel, kind):
    """The three forms of pattern that the queries above have."""
    if kind not in query.get("types", "xyz"):
        return False
    for pattern in query.get("channel", ["**"]):
        if pattern in ("**", channel):
            return True
        if pattern == "a/**" and channel.startswith("a/"):
            return True
        if pattern == "a/*" and channel.startswith("a/") and channel.count("/") == 1:
            return True
    return False


def test_many_who_resume_from_the_database_at_the_same_place_all_get_it(five_thousand):
    server = five_thousand
    epoch = epoch_of(server)
    readers = {(each, n): come_back(server, each, f"{epoch}-3000") for each in TRANSPORTS for n in range(10)}
    collector = Collector(readers)
    collector.wait_for(b'"seq":5000,')
    server.stop()
    for ending in collector.endings().values():
        assert ending.seqs() == list(range(3_001, 5_001)) and ending.controls("$gap") == []


# Retention


def retained(server, channel, count):
    """Waits until the channel has so many events left; the number of the first."""

    def first():
        events = answer_of(server, channel=channel, after=f"{epoch_of(server)}-0", limit=10_000)["events"]
        return len(events) == count and (events or [{"seq": 0}])[0]["seq"]

    wait_until(lambda: first() is not False, f"{count} events to be left on {channel}")
    return first()


@pytest.mark.parametrize("where", ["live", "restarted"])
def test_a_channel_keeps_its_newest_events_and_the_rest_is_one_exact_gap(life, where):
    server = life.begin(configuration={"channels": {"p": {"retention": {"count": 100}}}})
    q = [server.publish('{"n":%d}' % n, channel="q")["seq"] for n in range(3)]
    p = []
    for _ in range(20):
        last = server.publish_batch(['{"n":0}'] * 60, channel="p")["seq"]
        p += range(last - 59, last + 1)
    q += [server.publish('{"n":%d}' % n, channel="q")["seq"] for n in range(3, 6)]
    first = retained(server, "p", 100)
    assert first == p[-100]
    last_gone = p[-101]
    if where == "restarted":
        server = life.again()
    epoch = epoch_of(server)
    for transport in TRANSPORTS:
        for begin in (1, p[10] + 1, last_gone):
            with come_back(server, transport, f"{epoch}-{begin - 1}", channel=["p"]) as reader:
                gap = reader.next_control("$gap")
                said = gap.json()
                assert (said["from"], said["to"], said["why"]) == (begin, last_gone, "pruned"), (transport, said)
                assert said.get("dropped", 1) <= last_gone - begin + 1
                assert seqs(reader, 100) == p[-100:]
                assert gap.id == (f"{epoch}-{last_gone}" if transport == "sse" else None)
        with come_back(server, transport, f"{epoch}-{last_gone}", channel=["p"]) as reader:
            assert seqs(reader, 100) == p[-100:], "nothing of it is gone behind that place"
        with come_back(server, transport, f"{epoch}-0", channel=["q"]) as reader:
            assert seqs(reader, 6) == q, "nothing of q is gone"
        # A reader of everything may be told of more than p has lost; what follows the gap is whole.
        with open_reader(server, transport, from_="start") as reader:
            reader.next_control("$hello")
            gap = reader.next_control("$gap").json()
            assert (gap["from"], gap["why"]) == (1, "pruned") and gap["to"] >= last_gone
            wanted = [seq for seq in sorted(p[-100:] + q) if seq > gap["to"]]
            assert wanted[-3:] == q[-3:] and seqs(reader, len(wanted)) == wanted
    gone(server, f"{epoch}-{p[0]}&channel=p")
    answer = history(server, channel="p", after=f"{epoch}-{p[10]}", limit=2)
    assert answer["gap"] == {"from": p[10] + 1, "to": last_gone, "why": "pruned"}
    assert [event["seq"] for event in answer["events"]] == p[-100:-98]
    assert "gap" not in history(server, channel="p", after=f"{epoch}-{last_gone}", limit=2)


def test_a_channel_keeps_no_more_bytes_than_it_may(life):
    server = life.begin(configuration={"channels": {"p": {"retention": {"bytes": 50_000}}}})
    for _ in range(5):
        server.publish_batch(filler(100, 960), channel="p")

    def held():
        return answer_of(server, channel="p", limit=10_000)["events"]

    wait_until(lambda: len(held()) < 55, "the bytes to go")
    events = held()
    assert 40 <= len(events) <= 52, "so many as fit, and not fewer"
    assert [event["seq"] for event in events] == list(range(501 - len(events), 501))


def test_events_go_when_they_are_old(life):
    server = life.begin(configuration={"channels": {"p": {"retention": {"age_s": 1}}}})
    for n in range(5):
        server.publish('{"n":%d}' % n, channel="p")
        server.publish('{"n":%d}' % n, channel="q")
    last = server.publish("{}", channel="p")["seq"]
    assert retained(server, "p", 0) == 0
    new = server.publish('{"n":9}', channel="p")["seq"]
    with come_back(server, "sse", f"{epoch_of(server)}-0", channel=["p"]) as reader:
        gap = reader.next_control("$gap").json()
        assert (gap["from"], gap["to"], gap["why"]) == (1, last, "pruned")
        assert seqs(reader, 1) == [new]
    assert len(answer_of(server, channel="q")["events"]) == 5


def test_a_pattern_limits_each_of_its_channels(life):
    server = life.begin(configuration={"channels": {"jobs/*": {"retention": {"count": 3}}, "jobs/7": {}}})
    for name in ("jobs/1", "jobs/2", "jobs/7"):
        server.publish_batch(['{"n":%d}' % n for n in range(10)], channel=name)
    for name, count in (("jobs/1", 3), ("jobs/2", 3)):
        retained(server, name, count)
        assert numbers(answer_of(server, channel=name)) == [7, 8, 9]
    assert numbers(answer_of(server, channel="jobs/7")) == list(range(10)), "the more specific pattern says nothing"


def test_an_ended_channels_name_is_free_when_its_last_event_is_gone(life):
    server = life.begin(configuration={"channels": {"jobs/*": {"retention": {"age_s": 1}}}})
    last = server.publish("{}", channel="jobs/7")["seq"]
    assert server.exchange(http1.request("DELETE", "/v1/channels?channel=jobs/7")).status == 200
    assert server.post("{}", channel="jobs/7").error_code() == "channel_ended"
    wait_until(lambda: server.post('{"n":1}', channel="jobs/7").status == 200, "the name to be free")
    events = answer_of(server, channel="jobs/7")["events"]
    assert [event["n"] for event in events] in ([1], []) and all(event["seq"] > last for event in events)


def test_readers_who_replay_while_retention_removes_are_told_exactly_what_they_miss(life):
    """Readers that take their time; what is gone when their turn comes is a gap in its place."""
    limits = {"events": 1_000_000, "bytes": 1 << 29, "age_ms": 60_000}
    configuration = {"channels": {"p": {"retention": {"count": 2_000}, "limits": limits}}}
    server = life.begin(*SMALL, configuration=configuration)
    for _ in range(4):
        server.publish_batch(filler(1_000), channel="p")
    epoch = epoch_of(server)
    slow = {each: come_back(server, each, f"{epoch}-0", channel=["p"]) for each in TRANSPORTS}
    for _ in range(6):
        last = server.publish_batch(filler(1_000), channel="p")["seq"]
    oldest = {"channel": "p", "after": f"{epoch}-0", "limit": 1}
    wait_until(lambda: answer_of(server, **oldest)["events"][0]["seq"] == last - 1_999, "the oldest to go")
    collector = Collector(slow)
    collector.wait_for(b'"seq":%d,' % last)
    server.stop()
    for transport, ending in collector.endings().items():
        at = 0
        for each in ending.objects:
            if each.get("type") == "$gap":
                assert (each["from"], each["why"]) == (at + 1, "pruned"), (transport, each)
                at = each["to"]
            elif "seq" in each and "n" in each:
                assert each["seq"] == at + 1, (transport, at, each["seq"])
                at += 1
        assert at == last, transport


def test_a_restart_with_another_retention_keeps_what_that_says(life):
    server = life.begin()
    server.publish_batch(['{"n":%d}' % n for n in range(50)], channel="p")
    server = life.again("stopped", configuration={"channels": {"p": {"retention": {"count": 10}}}})
    assert retained(server, "p", 10) == 41
    assert program.run("check", "--config", life.folder / "fanout.json").returncode == 0
