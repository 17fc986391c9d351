"""`POST /v1/events`: one event or a batch, what the answer says, and how HTTP may carry it."""

import json
import re
import subprocess

import pytest

import http1
from program import NDJSON
from readers import open_reader

ACK = re.compile(
    r'\{"cursor":"[0-9a-f]{16}-[0-9]+","seq":[0-9]+,"level":"accepted","dup":false,"subscribers":[0-9]+,"behind":[0-9]+\}\n?'
)
JSON = {"Content-Type": "application/json"}


def post_request(body, headers=JSON, target="/v1/events"):
    return http1.request("POST", target, headers, body)


def test_the_answer_names_the_events_place_and_who_gets_it(io, start_server):
    server = start_server()
    response = server.post('{"type":"x"}')
    assert response.status == 200
    assert response.header("content-type") == "application/json"
    assert ACK.fullmatch(response.body.decode()), response.body
    assert response.json()["seq"] == 1
    assert response.json()["subscribers"] == 0
    with open_reader(server, "unix") as everything, open_reader(server, "sse", channel=["a"]) as one:
        hello = everything.next().json()
        one.next()
        on_a = server.publish("{}", channel="a")
        on_b = server.publish("{}", channel="b")
    assert (on_a["subscribers"], on_b["subscribers"]) == (2, 1)
    assert on_a["cursor"] == f"{hello['epoch']}-2"


def test_without_a_channel_it_goes_to_events(server, greeted):
    reader = greeted("unix")
    server.publish("{}")
    assert reader.next_event().json()["channel"] == "events"


def test_a_batch_is_answered_with_its_first_and_last_place(server, greeted, channel):
    reader = greeted("unix")
    ack = server.publish_batch(['{"n":1}', '{"n":2}', '{"n":3}'], channel=channel)
    epoch, last = ack["cursor"].split("-")
    assert ack["seq"] == int(last)
    assert ack["count"] == 3
    assert ack["first"] == f"{epoch}-{int(last) - 2}"
    assert [reader.next_event().json()["n"] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    "body", ['{"n":1}\n{"n":2}', '{"n":1}\n\n\r\n{"n":2}\r\n\n', '\n{"n":1}\n  {"n":2}  \n'], ids=repr
)
def test_blank_lines_and_a_missing_last_newline_do_not_count_in_a_batch(server, body):
    assert server.post(body, media=NDJSON).json()["count"] == 2


@pytest.mark.parametrize("bad", ["nonsense", "[]", '{"seq":1}', '{"type":"$x"}', '{"a":"\udcff"}', '{"a":\n1}'])
def test_a_batch_with_one_bad_line_publishes_nothing(server, greeted, bad):
    reader = greeted("unix")
    before = server.publish("{}")
    body = f'{{"n":1}}\n{bad}\n{{"n":2}}\n'.encode("utf-8", "surrogateescape")
    response = server.post(body, media=NDJSON)
    assert response.status in (400, 422), response
    assert response.error_code()
    assert server.publish("{}")["seq"] == before["seq"] + 1
    assert [reader.next_event().json()["seq"] for _ in range(2)] == [before["seq"], before["seq"] + 1]


def test_a_json_body_is_one_event_not_two(server):
    response = server.post('{"n":1}\n{"n":2}\n')
    assert (response.status, response.error_code()) == (400, "invalid_json")


# Media types: only those that no web page can send unasked


@pytest.mark.parametrize(
    "media",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "application/json2",
        "",
    ],
)
def test_other_media_types_are_refused(server, media):
    response = server.post("{}", media=None, headers={} if media is None else {"Content-Type": media})
    assert response.status == 415, response
    assert response.error_code()


@pytest.mark.parametrize(
    "media", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]
)
def test_json_may_be_written_in_any_case_and_with_parameters(server, media):
    assert server.post("{}", media=media).status == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_a_coded_body_is_refused(server, coding):
    response = server.post("{}", headers={"Content-Encoding": coding})
    assert response.status == 415, response


# Ack levels


def test_accepted_is_what_memory_gives(server):
    assert server.publish("{}", ack="accepted")["level"] == "accepted"


def test_ack_none_is_answered_before_anything_is_known(server, greeted):
    reader = greeted("unix")
    response = server.post("{}", ack="none")
    assert (response.status, response.json()) == (202, {"level": "none"})
    reader.next_event()


@pytest.mark.parametrize("level", ["committed", "synced", "replicated"])
def test_a_level_that_memory_cannot_give_is_a_conflict(server, level):
    before = server.publish("{}")["seq"]
    response = server.post("{}", ack=level)
    assert (response.status, response.error_code()) == (409, "level_unavailable")
    assert server.publish("{}")["seq"] == before + 1


def test_a_level_that_does_not_exist_is_refused(server):
    assert server.post("{}", ack="bogus").status == 400


# How HTTP carries it


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_a_connection_is_kept_for_the_next_request(server, unix):
    with server.connect(unix) as stream:
        seqs = []
        for _ in range(5):
            stream.send(post_request(b"{}"))
            seqs.append(http1.read_response(stream).json()["seq"])
    assert seqs == list(range(seqs[0], seqs[0] + 5))


def test_requests_may_be_sent_ahead_and_are_answered_in_order(server):
    with server.connect() as stream:
        stream.send(
            post_request(b'{"n":1}') * 20
            + http1.request("GET", "/healthz")
            + post_request(b"nonsense")
            + post_request(b'{"n":1}\n{"n":2}\n', {"Content-Type": NDJSON})
        )
        seqs = [http1.read_response(stream).json()["seq"] for _ in range(20)]
        assert seqs == list(range(seqs[0], seqs[0] + 20))
        assert http1.read_response(stream).status == 200
        assert http1.read_response(stream).status == 400
        assert http1.read_response(stream).json()["first"].endswith(f"-{seqs[-1] + 1}")


def test_many_requests_sent_ahead_are_all_answered(server):
    count = 2_000
    with server.connect() as stream:
        stream.send(post_request(b"{}") * count)
        stream.finish()
        seqs = [http1.read_response(stream).json()["seq"] for _ in range(count)]
        assert stream.rest() == b""
    assert seqs == list(range(seqs[0], seqs[0] + count))


@pytest.mark.parametrize("chunks", [[b'{"n":1}'], [b'{"', b'n":', b"1}"], [bytes([byte]) for byte in b'{"n":1}']])
def test_a_body_may_be_chunked(server, greeted, chunks):
    reader = greeted("unix")
    with server.connect() as stream:
        stream.send(post_request(http1.chunked(*chunks), {**JSON, "Transfer-Encoding": "chunked"}) * 2)
        assert [http1.read_response(stream).status for _ in range(2)] == [200, 200]
    assert [reader.next_event().json()["n"] for _ in range(2)] == [1, 1]


def test_chunk_extensions_and_trailers_are_dropped(server, greeted):
    reader = greeted("unix")
    body = b'4;a=b\r\n{"n"\r\n0003;x\r\n:1}\r\n0\r\nX-Trailer: y\r\n\r\n'
    with server.connect() as stream:
        stream.send(post_request(body, {**JSON, "Transfer-Encoding": "chunked"}))
        assert http1.read_response(stream).status == 200
        stream.send(post_request(b"{}"))
        assert http1.read_response(stream).status == 200
    assert reader.next_event().json()["n"] == 1


@pytest.mark.parametrize("transfer", ["length", "chunked"])
def test_a_request_may_arrive_byte_by_byte(server, transfer):
    if transfer == "length":
        request = post_request('{"text":"é"}'.encode())
    else:
        request = post_request(http1.chunked(b'{"n"', b":1}"), {**JSON, "Transfer-Encoding": "chunked"})
    with server.connect() as stream:
        stream.send_in_pieces(request + request)
        first, second = http1.read_response(stream).json(), http1.read_response(stream).json()
        assert second["seq"] == first["seq"] + 1


def test_a_client_that_expects_100_continue_gets_it_before_it_sends(server):
    with server.connect() as stream:
        stream.send(http1.request("POST", "/v1/events", {**JSON, "Expect": "100-continue", "Content-Length": "2"}))
        assert http1.read_response(stream).status == 100
        stream.send(b"{}")
        assert http1.read_response(stream).status == 200


def test_a_body_that_will_be_refused_is_not_asked_for(server):
    with server.connect() as stream:
        stream.send(
            http1.request("POST", "/v1/events", {**JSON, "Expect": "100-continue", "Content-Length": "1048577"})
        )
        assert http1.read_response(stream).status == 413


def test_a_body_of_a_declared_length_that_is_too_large_is_refused_at_once(server):
    with server.connect() as stream:
        stream.send(http1.request("POST", "/v1/events", {"Content-Type": NDJSON, "Content-Length": "1048577"}))
        response = http1.read_response(stream)
        assert response.status == 413
        assert response.error_code()


def test_a_chunked_body_that_grows_too_large_is_refused(server):
    with server.connect() as stream:
        stream.send(http1.request("POST", "/v1/events", {"Content-Type": NDJSON, "Transfer-Encoding": "chunked"}))
        chunk = b"8000\r\n" + (b'{"p":"' + b"x" * 32_759 + b'"}\n')[:32_768] + b"\r\n"
        for _ in range(32):
            stream.send(chunk)
        stream.send(b"1\r\n\n\r\n")
        assert http1.read_response(stream).status == 413


def test_a_client_that_asks_for_the_end_of_the_connection_gets_it(server):
    with server.connect() as stream:
        stream.send(post_request(b"{}", {**JSON, "Connection": "close"}))
        response = http1.read_response(stream)
        assert (response.status, response.header("connection").lower()) == (200, "close")
        assert stream.rest() == b""


def test_http_1_0_ends_the_connection_after_the_answer(server):
    with server.connect() as stream:
        stream.send(post_request(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = stream.rest()
    assert answer.startswith(b"HTTP/1.1 200 ") and b'"seq":' in answer


def test_a_body_that_is_cut_off_publishes_nothing(server):
    before = server.publish("{}")["seq"]
    with server.connect() as stream:
        stream.send(http1.request("POST", "/v1/events", {**JSON, "Content-Length": "20"}) + b'{"n":1}')
        stream.finish()
        stream.rest()
    with server.connect() as stream:
        stream.send(http1.request("POST", "/v1/events", {**JSON, "Transfer-Encoding": "chunked"}) + b'7\r\n{"n":1}\r\n')
    assert server.publish("{}")["seq"] == before + 1


def test_curl_publishes_as_the_readme_says(server):
    command = ["curl", "-sS", "--fail-with-body", "--json", '{"type":"deploy.started"}', f"{server.url}/v1/events"]
    answer = subprocess.run(command, capture_output=True, timeout=60, check=True).stdout
    assert ACK.fullmatch(answer.decode())


def test_curl_publishes_a_large_batch(server, tmp_path):
    lines = "".join('{"text":"%s"}\n' % ("x" * 900) for _ in range(1000))
    (tmp_path / "batch").write_text(lines)
    command = [
        "curl",
        "-sS",
        "--fail-with-body",
        "-H",
        f"Content-Type: {NDJSON}",
        "--data-binary",
        f"@{tmp_path}/batch",
    ]
    for extra in ([], ["-H", "Transfer-Encoding: chunked"]):
        answer = subprocess.run(
            [*command, *extra, f"{server.url}/v1/events"], capture_output=True, timeout=60, check=True
        )
        assert json.loads(answer.stdout)["count"] == 1000
