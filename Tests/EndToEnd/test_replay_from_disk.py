"""Many readers come back to a server that has just been started: what they need is in its database alone."""

import http1
import program
from backlog import epoch_of
from comebacks import BEHIND, COUNT, Comeback, forms_of, watched_backlog
from crowd import Connection, Crowd, allow_many_files
from endings import PATIENT
from readers import events_target


def test_a_thousand_who_come_back_after_a_restart_share_what_is_read(io, start_server, tmp_path):
    allow_many_files()
    arguments = ("--data", tmp_path / "data", *program.configured(tmp_path, PATIENT))
    server = start_server(*arguments)
    epoch = epoch_of(server)
    server.publish("{}")
    with Crowd() as crowd:
        _, past = watched_backlog(crowd, server)
    server.stop()
    server = start_server(*arguments)
    assert epoch_of(server) == epoch
    with Crowd() as crowd:
        comeback = Comeback(crowd, server, forms_of(server, f"{epoch}-1"), past)
        pages = int(server.metric("fanout_replay_stored_pages_total"))
        print(f"{io}: {comeback}, {pages} pages read")
        for end in past:
            assert len(comeback.tails(end)) == 1, "all have the same after the past"
        assert comeback.last > 1 + BEHIND + len(comeback.published) > 1 + BEHIND
        assert server.metric("fanout_gaps_total") == 0
        # Not one for each: a page has 500 events, and the readers came one after the other.
        assert 2 <= pages < COUNT / 4


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
