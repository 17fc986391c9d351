"""Many readers come back in one moment: what they cost, that nobody misses anything, that nobody waits for ever."""

import json
import re
import signal
import time

import http1
import program
from backlog import epoch_of
from comebacks import BEHIND, Comeback, forms_of, watched_backlog
from crowd import Connection, Crowd, allow_many_files
from endings import PATIENT
from readers import events_target


def test_a_thousand_who_come_back_at_once_are_served_from_the_same_memory(io, start_server, tmp_path):
    """Two readers who were there all the time miss nothing meanwhile, and everybody has the same bytes."""
    allow_many_files()
    server = start_server(*program.configured(tmp_path, PATIENT))
    server.publish("{}")
    with Crowd() as crowd:
        live, past = watched_backlog(crowd, server)
        comeback = Comeback(crowd, server, forms_of(server, f"{epoch_of(server)}-1"), past)
        print(f"{io}: {comeback}")
        crowd.read_until(lambda: all(map(comeback.has_last, live.values())), "the live readers' last event", 60)
        for end, reader in live.items():
            later = reader.data.tail[len(past[end]) :]
            assert comeback.tails(end) == {later}, "all have the same after the past"
            texts = [line.removeprefix(b"data: ") for line in reader.data.tail.splitlines() if b"{" in line]
            assert [json.loads(text)["seq"] for text in texts] == list(range(2, comeback.last + 1))
        assert comeback.last > BEHIND + len(comeback.published) > BEHIND


def test_readers_who_share_nothing_all_arrive(io, start_server):
    """Each with a subscription of its own, all in one moment: what is made for one does not undo what another needs."""
    server = start_server()
    epoch = epoch_of(server)
    for count in (1_000, 1_000, 300):
        server.publish_batch(["{}"] * count)
    wanted = list(range(1_851, 2_301))
    with Crowd() as crowd:
        # None is served before all are there.
        server.signal(signal.SIGSTOP)
        readers = []
        for number in range(200):
            target = events_target(channel=["events", f"own/{number}"], from_=f"{epoch}-1850")
            readers.append(crowd.add(Connection(("127.0.0.1", server.http_port))))
            readers[-1].send(http1.request("GET", target, {"Accept": "text/event-stream"}))
        server.signal(signal.SIGCONT)
        last = b'data: {"seq":%d,' % wanted[-1]
        crowd.read_until(lambda: all(last in each.data[-200:] for each in readers), "everybody to be at the head")
        for each in readers:
            assert [int(seq) for seq in re.findall(rb'data: \{"seq":(\d+),', each.data)] == wanted
