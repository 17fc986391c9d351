"""`GET /v1/history` asked for often: pages in a row on one connection, and pages that nobody takes."""

from http1 import read_response, request
from readers import open_reader


def test_pages_may_be_asked_for_in_a_row_on_one_connection(server, channel):
    server.publish_batch((f'{{"n":{n},"pad":"{"x" * 5_000}"}}' for n in range(150)), channel=channel)
    asked = [request("GET", f"/v1/history?channel={channel}&limit={limit}") for limit in (150, 1, 0, 150)]
    asked.append(request("HEAD", f"/v1/history?channel={channel}"))
    for unix in (False, True):
        with server.connect(unix=unix) as stream:
            stream.send(b"".join(asked))
            answers = [read_response(stream) for _ in range(4)] + [read_response(stream, of="HEAD")]
        assert [answer.status for answer in answers] == [200, 200, 400, 200, 200]
        assert [len(answers[place].json()["events"]) for place in (0, 1, 3)] == [150, 1, 150]
        assert answers[2].error_code() == "bad_limit"


def test_readers_who_ask_for_large_pages_and_do_not_take_them_hold_nobody_up(server, channel):
    server.publish_batch((f'{{"pad":"{"x" * 1_000}"}}' for _ in range(900)), channel=channel)
    stopped = [server.connect() for _ in range(20)]
    try:
        for stream in stopped:
            stream.send(request("GET", f"/v1/history?channel={channel}&limit=900") * 3)
        with open_reader(server, "unix") as reader:
            reader.next_control("$hello")
            ack = server.publish("{}")
            assert reader.next_event().json()["seq"] == ack["seq"]
        assert server.get(f"/v1/history?channel={channel}&limit=1").json()["head"] == ack["cursor"]
        for stream in stopped:
            for _ in range(3):
                answer = read_response(stream)
                assert answer.status == 200 and len(answer.json()["events"]) == 900
    finally:
        for stream in stopped:
            stream.close()
