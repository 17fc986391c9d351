"""What HTTP requests get that are wrong, for somebody else, or sent by a web page."""

import pytest

import http1
from readers import HTTP_TRANSPORTS
from rfc6455 import upgrade_headers

JSON = {"Content-Type": "application/json"}


def status(server, raw, unix=False):
    """The status of the first answer to these bytes, which are all that is sent."""
    with server.connect(unix) as stream:
        stream.send(raw)
        return http1.read_head(stream).status


# Paths and methods


@pytest.mark.parametrize(
    "target", ["/nope", "/v1", "/v1/", "/v1/events/", "/v1/eventsx", "/v1/nope", "/../etc/passwd", "/%2e%2e/x"]
)
def test_a_path_that_is_not_there_is_404(server, target):
    response = server.get(target)
    assert response.status == 404, response
    assert response.error_code()


@pytest.mark.parametrize(
    "method, target",
    [
        ("PUT", "/v1/events"),
        ("DELETE", "/v1/events"),
        ("PATCH", "/v1/events"),
        ("POST", "/healthz"),
        ("POST", "/"),
        ("DELETE", "/metrics"),
    ],
)
def test_a_method_that_is_not_allowed_is_405_and_says_which_are(server, method, target):
    response = server.exchange(http1.request(method, target, {"Content-Length": "0"}))
    assert response.status == 405, response
    assert "GET" in response.header("allow")
    assert response.error_code()


def test_a_refused_request_leaves_the_connection_usable(server):
    with server.connect() as stream:
        for target, expected in (("/nope", 404), ("/healthz", 200)):
            stream.send(http1.request("GET", target))
            assert http1.read_response(stream).status == expected


# Malformed requests


def get(fields=b"Host: localhost\r\n", line=b"GET /healthz HTTP/1.1"):
    return line + b"\r\n" + fields + b"\r\n"


def post(framing, body=b"{}"):
    return get(b"Host: localhost\r\nContent-Type: application/json\r\n" + framing, b"POST /v1/events HTTP/1.1") + body


MALFORMED = {
    "no host": (get(b""), 400),
    "two hosts": (get(b"Host: localhost\r\nHost: localhost\r\n"), 400),
    "bare line feeds": (get().replace(b"\r\n", b"\n"), 400),
    "one bare line feed": (get(b"Host: localhost\nX: y\r\n"), 400),
    "a carriage return in a value": (get(b"Host: localhost\r\nX: a\rb\r\n"), 400),
    "a NUL in a value": (get(b"Host: localhost\r\nX: a\0b\r\n"), 400),
    "a space before the colon": (get(b"Host : localhost\r\n"), 400),
    "a folded line": (get(b"Host: localhost\r\nX: a\r\n b\r\n"), 400),
    "no colon": (get(b"Host: localhost\r\nnonsense\r\n"), 400),
    "no version": (get(line=b"GET /healthz"), 400),
    "two spaces": (get(line=b"GET  /healthz HTTP/1.1"), 400),
    "another protocol": (get(line=b"GET /healthz HTTP/2.0"), 505),
    "nonsense": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "two lengths": (post(b"Content-Length: 2\r\nContent-Length: 3\r\n"), 400),
    "a signed length": (post(b"Content-Length: +2\r\n"), 400),
    "a list of lengths": (post(b"Content-Length: 2, 2\r\n"), 400),
    "an empty length": (post(b"Content-Length:\r\n"), 400),
    "a length and chunks": (post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400),
    "an unknown transfer coding": (post(b"Transfer-Encoding: gzip, chunked\r\n", b""), 501),
    "a bad chunk size": (post(b"Transfer-Encoding: chunked\r\n", b"xyz\r\n{}\r\n0\r\n\r\n"), 400),
    "a bare line feed in a chunk": (post(b"Transfer-Encoding: chunked\r\n", b"2\n{}\r\n0\r\n\r\n"), 400),
}


@pytest.mark.parametrize("raw, expected", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_a_malformed_request_is_refused_and_the_connection_ends(server, raw, expected, unix):
    with server.connect(unix) as stream:
        stream.send(raw)
        response = http1.read_response(stream)
        assert response.status == expected, response
        assert response.error_code()
        assert stream.rest() == b"", "nothing may be answered after a request that could not be framed"


@pytest.mark.parametrize("raw, expected", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_gets_the_same_answer_byte_by_byte(server, raw, expected):
    with server.connect() as stream:
        stream.send_in_pieces(raw, until_refused=True)
        assert http1.read_response(stream).status == expected


def test_a_request_line_over_8_kib_is_414(server):
    longest = "/" + "x" * (8192 - len("GET / HTTP/1.1"))
    assert status(server, http1.request("GET", longest)) == 404
    assert status(server, http1.request("GET", longest + "x")) == 414


def test_a_head_over_16_kib_is_431(server):
    plain = len(http1.request("GET", "/healthz", {"A": "", "B": ""}))
    fits = http1.request("GET", "/healthz", {"A": "x" * 8000, "B": "x" * (16_384 - plain - 8000)})
    assert len(fits) == 16_384
    assert status(server, fits) == 200
    assert status(server, fits.replace(b"A: ", b"A: x")) == 431


def test_a_hundred_fields_are_accepted_and_one_more_is_431(server):
    fields = [(f"X-{number}", "y") for number in range(99)]
    assert status(server, http1.request("GET", "/healthz", fields)) == 200
    assert status(server, http1.request("GET", "/healthz", [*fields, ("X", "y")])) == 431


# Host: a web page under a name that resolves to this machine must not get in

GOOD_HOSTS = ["127.0.0.1", "127.0.0.1:{port}", "127.8.9.10", "localhost", "localhost:{port}", "[::1]", "[::1]:{port}"]
BAD_HOSTS = [
    "evil.example",
    "localhost.",
    "localhost.evil.example",
    "evil-localhost",
    "127.attacker.example",
    "127.0.0.1.evil.example",
    "127.0.0.1.",
    "127.1",
    "127.0.0.256",
    "0127.0.0.1",
    "0x7f.0.0.1",
    "2130706433",
    "0.0.0.0",
    "10.0.0.1",
    "[::]",
    "[::ffff:127.0.0.1]",
]
NO_HOSTS = [
    "",
    "::1",
    "127.0.0.1:",
    "127.0.0.1:80:80",
    "127.0.0.1:x",
    "127.0.0.1:99999",
    "localhost@evil.example",
    "localhost/",
    "[::1",
    "local host",
]


@pytest.mark.parametrize("host", GOOD_HOSTS)
@pytest.mark.parametrize("target", ["/", "/healthz", "/v1/channels"])
def test_a_loopback_host_is_served(server, host, target):
    assert status(server, http1.request("GET", target, host=host.format(port=server.http_port))) == 200


@pytest.mark.parametrize("host", BAD_HOSTS)
@pytest.mark.parametrize("target", ["/", "/v1/events", "/v1/channels"])
def test_another_host_is_misdirected(server, host, target):
    assert status(server, http1.request("GET", target, host=host)) == 421


@pytest.mark.parametrize("host", NO_HOSTS)
def test_what_is_no_host_at_all_is_refused(server, host):
    assert status(server, http1.request("GET", "/v1/events", host=host)) in (400, 421)


def test_another_host_cannot_publish_or_upgrade(server):
    before = server.publish("{}")["seq"]
    assert status(server, http1.request("POST", "/v1/events", JSON, b"{}", host="evil.example")) == 421
    assert status(server, http1.request("GET", "/v1/events", upgrade_headers(), host="evil.example")) == 421
    assert server.publish("{}")["seq"] == before + 1


def test_a_target_in_absolute_form_does_not_get_round_the_host_check(server):
    assert status(server, http1.request("GET", "http://evil.example/v1/events")) in (400, 421)


@pytest.mark.parametrize("host", ["evil.example", "unix", "localhost.", "x:1"])
def test_on_a_unix_socket_any_host_will_do(server, host):
    assert status(server, http1.request("GET", "/healthz", host=host), unix=True) == 200


# Origin: a web page says where it comes from

BAD_ORIGINS = [
    "null",
    "http://evil.example",
    "https://127.0.0.1:{port}",
    "http://127.0.0.1:1",
    "http://127.0.0.1",
    "http://127.0.0.1:{port}.evil.example",
    "http://evil.example:{port}",
    "http://evil.127.0.0.1:{port}",
    "http://127.0.0.1:{port}/",
    "127.0.0.1:{port}",
    "file://",
    "",
]

ENTRIES = {
    "jsonl": ("GET", {"Accept": "application/x-ndjson"}, None),
    "sse": ("GET", {"Accept": "text/event-stream"}, None),
    "websocket": ("GET", upgrade_headers(), None),
    "publish": ("POST", JSON, b"{}"),
}


def enter(server, entry, headers, unix=False):
    """The status that this way in gives to these headers, with the Host a browser would send."""
    method, own, body = ENTRIES[entry]
    host = f"127.0.0.1:{server.http_port}"
    return status(server, http1.request(method, "/v1/events", {**own, **headers}, body, host=host), unix)


def success(entry):
    return 101 if entry == "websocket" else 200


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("origin", BAD_ORIGINS)
def test_a_page_of_another_origin_is_forbidden(server, entry, origin):
    assert enter(server, entry, {"Origin": origin.format(port=server.http_port)}) == 403


@pytest.mark.parametrize("entry", ENTRIES)
def test_our_own_page_and_programs_are_let_in(server, entry):
    assert enter(server, entry, {"Origin": f"http://127.0.0.1:{server.http_port}"}) == success(entry)
    assert enter(server, entry, {}) == success(entry)


@pytest.mark.parametrize("entry", ENTRIES)
def test_on_a_unix_socket_any_origin_will_do(server, entry):
    assert enter(server, entry, {"Origin": "http://evil.example"}, unix=True) == success(entry)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("site, allowed", [("none", True), ("same-origin", True), ("cross-site", False)])
def test_what_the_browser_says_of_the_site_is_believed(server, entry, site, allowed):
    assert enter(server, entry, {"Sec-Fetch-Site": site}) == (success(entry) if allowed else 403)


def test_a_post_from_the_same_site_is_still_from_another_origin(server):
    assert enter(server, "publish", {"Sec-Fetch-Site": "same-site"}) == 403


@pytest.mark.parametrize("target", ["/v1/channels", "/v1/events"])
def test_nothing_under_v1_is_read_across_sites(server, target):
    assert status(server, http1.request("GET", target, {"Sec-Fetch-Site": "cross-site"})) == 403


def test_the_page_itself_may_be_reached_by_a_link_from_elsewhere(server):
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert status(server, http1.request("GET", "/", headers)) == 200


@pytest.mark.parametrize("method", ["OPTIONS", "GET", "POST"])
def test_no_answer_shares_anything_with_another_origin(server, method):
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST", **JSON}
    with server.connect() as stream:
        stream.send(http1.request(method, "/v1/events", headers, b"{}" if method == "POST" else None))
        answer = http1.read_head(stream)
    assert answer.status >= 400
    assert not [name for name, _ in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("transport", HTTP_TRANSPORTS)
def test_a_stream_is_not_shared_with_another_origin(read, transport):
    assert read(transport).response.header("access-control-allow-origin") is None
