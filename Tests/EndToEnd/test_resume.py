"""Where a reader starts. Nothing is kept yet, so whatever it missed is named by exactly one `$gap`."""

import pytest

import http1
from readers import TRANSPORTS, events_target, open_reader
from rfc6455 import upgrade_headers

OTHER_EPOCH = "0123456789abcdef"
HTTP_FORMS = ["http-jsonl", "sse", "websocket"]


def place(cursor, offset=0):
    """The cursor so many numbers further on."""
    epoch, seq = cursor.split("-")
    return f"{epoch}-{int(seq) + offset}"


def assert_pruned(gap, cursor, first, last):
    """A `$gap` that covers exactly the numbers from first to last."""
    members = gap.json()
    assert members["why"] == "pruned"
    assert members["epoch"] == cursor.split("-")[0]
    assert (members["from"], members["to"]) == (first, last)
    assert members.get("dropped", last - first + 1) == last - first + 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_from_now_starts_with_the_next_event(server, read, transport):
    server.publish("{}")
    reader = read(transport, from_="now")
    reader.next_control("$hello")
    ack = server.publish("{}")
    assert reader.next_event().json()["seq"] == ack["seq"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_cursor_behind_the_head_gets_one_exact_gap_and_then_what_comes(server, read, transport):
    cursor = server.publish("{}")["cursor"]
    head = [server.publish("{}") for _ in range(3)][-1]
    reader = read(transport, from_=cursor)
    assert reader.next_control("$hello").json()["seq"] == head["seq"]
    assert_pruned(reader.next_control("$gap"), cursor, head["seq"] - 2, head["seq"])
    ack = server.publish("{}")
    assert reader.next_event().json()["seq"] == ack["seq"] == head["seq"] + 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_cursor_at_the_head_goes_on_without_a_gap(server, read, transport):
    cursor = server.publish("{}")["cursor"]
    reader = read(transport, from_=cursor)
    reader.next_control("$hello")
    ack = server.publish("{}")
    assert reader.next_event().json()["seq"] == ack["seq"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_from_start_says_what_is_gone(server, read, transport):
    head = server.publish("{}")
    reader = read(transport, from_="start")
    reader.next_control("$hello")
    assert_pruned(reader.next_control("$gap"), head["cursor"], 1, head["seq"])


def test_from_start_on_a_fresh_server_misses_nothing(io, start_server):
    server = start_server()
    with open_reader(server, "sse", from_="start") as reader:
        reader.next_control("$hello")
        server.publish("{}")
        assert reader.next_event().json()["seq"] == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_cursor_of_another_epoch_is_unknown(server, read, transport):
    reader = read(transport, from_=f"{OTHER_EPOCH}-1")
    reader.next_control("$hello")
    gap = reader.next_control("$gap").json()
    assert gap["why"] == "unknown_epoch"
    assert not gap.keys() & {"from", "to", "dropped"}
    ack = server.publish("{}")
    assert reader.next_event().json()["seq"] == ack["seq"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_cursor_past_the_head_is_ahead(server, read, transport):
    head = server.publish("{}")["cursor"]
    reader = read(transport, from_=place(head, +1))
    reader.next_control("$hello")
    gap = reader.next_control("$gap").json()
    assert gap["why"] == "ahead"
    assert not gap.keys() & {"from", "to", "dropped"}
    ack = server.publish("{}")
    assert reader.next_event().json()["seq"] == ack["seq"]


def test_the_largest_number_there_is_is_only_ahead(server, read):
    epoch = server.publish("{}")["cursor"].split("-")[0]
    reader = read("sse", from_=f"{epoch}-{2**64 - 1}")
    reader.next_control("$hello")
    assert reader.next_control("$gap").json()["why"] == "ahead"


def test_a_gap_on_sse_has_its_end_as_its_id(server, read):
    cursor = server.publish("{}")["cursor"]
    head = server.publish("{}")
    reader = read("sse", from_=cursor)
    reader.next_control("$hello")
    gap = reader.next_control("$gap")
    assert gap.event == "$gap"
    assert gap.id == head["cursor"]


@pytest.mark.parametrize("form", HTTP_FORMS)
def test_a_last_event_id_header_is_a_place(server, read, form):
    cursor = server.publish("{}")["cursor"]
    head = server.publish("{}")
    reader = read(form, headers={"Last-Event-ID": cursor})
    reader.next_control("$hello")
    assert_pruned(reader.next_control("$gap"), cursor, head["seq"], head["seq"])


@pytest.mark.parametrize("form", HTTP_FORMS)
def test_last_event_id_in_the_query_is_a_place(server, read, form):
    cursor = server.publish("{}")["cursor"]
    head = server.publish("{}")
    reader = read(form, last_event_id=cursor)
    reader.next_control("$hello")
    assert_pruned(reader.next_control("$gap"), cursor, head["seq"], head["seq"])


def test_the_header_wins_over_the_query(server, read):
    cursor = server.publish("{}")["cursor"]
    head = server.publish("{}")
    reader = read("sse", headers={"Last-Event-ID": head["cursor"]}, from_=cursor)
    reader.next_control("$hello")
    ack = server.publish("{}")
    assert reader.next_event().json()["seq"] == ack["seq"]


MALFORMED = [
    "x",
    "1",
    f"{OTHER_EPOCH}",
    f"{OTHER_EPOCH}-",
    f"{OTHER_EPOCH}-x",
    f"{OTHER_EPOCH}-01",
    f"{OTHER_EPOCH}-+1",
    f"{OTHER_EPOCH}--1",
    f"{OTHER_EPOCH}-1-1",
    f"{OTHER_EPOCH}-1 ",
    f"{OTHER_EPOCH}-18446744073709551616",
    f"{OTHER_EPOCH}-999999999999999999999",
    f"{OTHER_EPOCH.upper()}-1",
    f"{OTHER_EPOCH[1:]}-1",
    f"0{OTHER_EPOCH}-1",
]


@pytest.mark.parametrize("cursor", MALFORMED)
@pytest.mark.parametrize("name", ["from", "last_event_id"])
def test_a_malformed_cursor_in_the_query_is_refused(server, cursor, name):
    response = server.get(events_target(**{name: cursor}), {"Accept": "text/event-stream"})
    assert (response.status, response.error_code()) == (400, "bad_cursor"), response


@pytest.mark.parametrize("cursor", MALFORMED)
def test_a_malformed_cursor_in_the_header_is_an_unknown_epoch(read, cursor):
    reader = read("sse", headers={"Last-Event-ID": cursor})
    reader.next_control("$hello")
    assert reader.next_control("$gap").json()["why"] == "unknown_epoch"


# on_gap=fail


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
def test_on_gap_fail_answers_gone_over_http(server, accept):
    cursor = server.publish("{}")["cursor"]
    server.publish("{}")
    response = server.get(events_target(from_=cursor, on_gap="fail"), {"Accept": accept})
    assert response.status == 410
    assert response.error_code()


def test_on_gap_fail_refuses_a_websocket_in_its_query_before_the_upgrade(server):
    cursor = server.publish("{}")["cursor"]
    server.publish("{}")
    response = server.get(events_target(from_=cursor, on_gap="fail"), upgrade_headers())
    assert response.status == 410


@pytest.mark.parametrize("transport", ["unix", "tcp", "websocket"])
def test_on_gap_fail_ends_a_stream_with_a_bye_instead_of_a_gap(server, greeted, transport):
    cursor = server.publish("{}")["cursor"]
    server.publish("{}")
    reader = greeted(transport)
    reader.subscribe(from_=cursor, on_gap="fail")
    reader.next_control("$hello")
    bye = reader.next_control("$bye").json()
    assert bye["code"] == 4410
    assert bye["last"] == cursor, "whoever comes back to `last` must not pass over what was missed"
    if transport == "websocket":
        assert reader.connection.receive_close() == 4410
    assert reader.stream.rest() == b""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_on_gap_fail_changes_nothing_where_nothing_is_missed(server, read, transport):
    cursor = server.publish("{}")["cursor"]
    reader = read(transport, from_=cursor, on_gap="fail")
    reader.next_control("$hello")
    ack = server.publish("{}")
    assert reader.next_event().json()["seq"] == ack["seq"]


@pytest.mark.parametrize("cursor", [f"{OTHER_EPOCH}-1", "start"])
def test_on_gap_fail_is_about_every_kind_of_gap(server, cursor):
    server.publish("{}")
    response = server.exchange(http1.request("GET", events_target(from_=cursor, on_gap="fail")))
    assert response.status == 410
