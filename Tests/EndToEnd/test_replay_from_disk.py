"""Many readers come back to a server that has just been started: what they need is in its database alone."""

import time

import http1
import program
from backlog import Publisher, epoch_of
from crowd import Connection, Crowd, allow_many_files
from endings import PATIENT
from readers import events_target, subscribe_message
from test_resume_crowd import BEHIND, COUNT, LAST, MEBIBYTE, Compared, resident_bytes

SSE = {"Accept": "text/event-stream"}


def forms_of(server, cursor):
    """Where and how four kinds of readers come back; what ends a record, and how many `$hello`s there are."""
    http, asked = ("127.0.0.1", server.http_port), events_target(from_=cursor)
    return [
        (http, http1.request("GET", asked), b"\n", 1),
        (http, http1.request("GET", asked, SSE), b"\n\n", 1),
        (server.http_socket, http1.request("GET", asked, SSE), b"\n\n", 1),
        (server.events_socket, subscribe_message(from_=cursor) + b"\n", b"\n", 2),
    ]


def recorded(server):
    """What live readers of lines and of SSE are sent while a backlog is published, by what ends a record."""
    with Crowd() as crowd:
        live = {}
        for end, fields in ((b"\n", {}), (b"\n\n", SSE)):
            live[end] = crowd.add(Connection(("127.0.0.1", server.http_port)))
            live[end].data = Compared(b"", end, 1)
            live[end].send(http1.request("GET", "/v1/events", fields))
        crowd.read_until(lambda: all(each.data.is_at_head() for each in live.values()), "the live readers")
        backlog = [f'{{"type":"past","n":{number},"text":"{"z" * 80}"}}' for number in range(BEHIND - 1)]
        server.publish_batch([*backlog, '{"type":"last"}'])
        crowd.read_until(lambda: all(each.data.ends_with(LAST) for each in live.values()), "the backlog")
        return {end: each.data.tail for end, each in live.items()}


def test_a_thousand_who_come_back_after_a_restart_share_what_is_read(io, start_server, tmp_path):
    allow_many_files()
    arguments = ("--data", tmp_path / "data", *program.configured(tmp_path, PATIENT))
    server = start_server(*arguments)
    epoch = epoch_of(server)
    server.publish("{}")
    past = recorded(server)
    server.stop()
    server = start_server(*arguments)
    assert epoch_of(server) == epoch
    forms = forms_of(server, f"{epoch}-1")
    with Crowd() as crowd:
        before = peak = resident_bytes(server)
        back = []

        def all_are_at_head():
            nonlocal peak
            peak = max(peak, resident_bytes(server))
            return all(each.data.is_at_head() for each in back)

        with Publisher(server, count=1, pause=0.01) as publisher:
            began = time.monotonic()
            for number in range(COUNT):
                address, words, end, hellos = forms[number % len(forms)]
                back.append(crowd.add(Connection(address, end=end)))
                back[-1].data = Compared(past[end], end, hellos)
                assert back[-1].send(words)
                peak = max(peak, resident_bytes(server))
            crowd.read_until(all_are_at_head, "everybody to be at the head", 60)
            seconds = time.monotonic() - began
        last = server.publish('{"type":"last"}')["seq"]
        finished = b'{"seq":%d,"channel":"events",' % last + LAST
        crowd.read_until(lambda: all(each.data.ends_with(finished) for each in back), "the last event", 60)
        grown, pages = peak - before, int(server.metric("fanout_replay_stored_pages_total"))
        print(f"{io}: {COUNT} at the head after {seconds:.2f} s, {grown / MEBIBYTE:.1f} MiB more, {pages} pages read")
        assert [each.data.wrong for each in back if each.data.wrong] == []
        for end in past:
            assert len({each.data.tail for each in back if each.end == end}) == 1, "all have the same after the past"
        assert last > 1 + BEHIND + len(publisher.published) > 1 + BEHIND
        assert server.metric("fanout_gaps_total") == 0
        # Not one for each: a page has 500 events, and the readers came one after the other.
        assert 2 <= pages < COUNT / 4
        assert grown < 8 * MEBIBYTE, f"{grown} bytes more were resident"


def test_readers_who_share_nothing_all_arrive_from_the_database(io, start_server, tmp_path):
    """Each with a subscription and a place of its own: more pages are wanted at once than are asked for."""
    server = start_server("--data", tmp_path / "data")
    epoch = epoch_of(server)
    for _ in range(5):
        server.publish_batch(["{}"] * 1_000)
    server.stop()
    server = start_server("--data", tmp_path / "data", "--history", "1M")
    with Crowd() as crowd:
        readers = []
        for number in range(200):
            first = 1 + number * 24
            target = events_target(channel=["events", f"own/{number}"], from_=f"{epoch}-{first - 1}")
            readers.append(crowd.add(Connection(("127.0.0.1", server.http_port), first=first)))
            readers[-1].send(http1.request("GET", target))
        last = b'{"seq":5000,"channel":"events"}\n'
        crowd.read_until(lambda: all(bytes(each.data).endswith(last) for each in readers), "everybody to be at the head")
        for each in readers:
            lines = bytes(each.data).partition(b"\r\n\r\n")[2].splitlines()[1:]
            assert lines == [b'{"seq":%d,"channel":"events"}' % seq for seq in range(each.first, 5_001)]
    assert server.metric("fanout_replaying_subscribers") == 0
