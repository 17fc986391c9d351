"""Requests byte for byte, each with the answers that it may get and what must become of its connection."""

from dataclasses import dataclass

import http1

CLOSED, KEPT, EITHER = "closed", "kept", "either"
HOST = b"Host: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
# What a smuggler would hide in a body: it must never be taken for a request.
HIDDEN = b"POST /v1/events?channel=smuggled HTTP/1.1\r\nHost: localhost\r\n" + JSON + b"Content-Length: 2\r\n\r\n{}"


@dataclass(frozen=True)
class Vector:
    name: str
    data: bytes
    statuses: tuple
    connection: str


VECTORS = []


def vector(name, data, statuses, connection=EITHER):
    statuses = statuses if isinstance(statuses, tuple) else (statuses,)
    VECTORS.append(Vector(name, data, statuses, connection))


def get(line=b"GET /healthz HTTP/1.1", fields=HOST):
    return line + b"\r\n" + fields + b"\r\n"


def post(framing, body=b"{}", fields=HOST + JSON, target=b"/v1/events?channel=vectors"):
    return b"POST " + target + b" HTTP/1.1\r\n" + fields + framing + b"\r\n" + body


def chunked(body, framing=b"Transfer-Encoding: chunked\r\n", **how):
    return post(framing, body, **how)


def bad(name, data, statuses=400):
    """Not to be framed with certainty: answered and closed, whatever comes behind it."""
    vector(name, data + HIDDEN, statuses, CLOSED)


# The request line

vector("a plain request", get(), 200, KEPT)
vector("HEAD", get(b"HEAD /healthz HTTP/1.1"), 200, KEPT)
for version in (
    b"HTTP/1",
    b"http/1.1",
    b"Http/1.1",
    b"HTTP/1.1x",
    b"HTTP/11",
    b"HTTP/a.b",
    b"HTTP/1,1",
    b"HTTP/+1.1",
    b"HTTP/1.1 ",
    b"HTTP/-1.1",
    b"HTTPS/1.1",
    b"HTTP /1.1",
    b"HTTP/ 1.1",
    b"HTTP/1. 1",
    b"1.1",
    b"HTTP",
):
    bad(f"version {version.decode()!r}", get(b"GET /healthz " + version))
for version in (b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9", b"HTTP/0.0"):
    bad(f"version {version.decode()}", get(b"GET /healthz " + version), (400, 505))
for version in (b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1.1.1"):
    bad(f"version {version.decode()}", get(b"GET /healthz " + version), (400, 505))
vector("a later minor version", get(b"GET /healthz HTTP/1.2"), (200, 400, 505))
vector("HTTP/1.0 ends the connection", get(b"GET /healthz HTTP/1.0"), 200, CLOSED)
bad("no version", get(b"GET /healthz"))
bad("a version and nothing else", get(b"HTTP/1.1"))
bad("a method alone", get(b"GET"))
bad("an empty line but for spaces", get(b"  "))
bad("two spaces before the target", get(b"GET  /healthz HTTP/1.1"))
bad("two spaces before the version", get(b"GET /healthz  HTTP/1.1"))
bad("a leading space", get(b" GET /healthz HTTP/1.1"))
bad("tabs for spaces", get(b"GET\t/healthz\tHTTP/1.1"))
bad("a tab before the version", get(b"GET /healthz\tHTTP/1.1"))
bad("a form feed for a space", get(b"GET\x0c/healthz HTTP/1.1"))
bad("four words", get(b"GET /healthz HTTP/1.1 HTTP/1.1"))
bad("no target", get(b"GET HTTP/1.1"))
vector("an empty line in front", b"\r\n" + get(), 200, KEPT)
bad("a bare carriage return in front", b"\r" + get())
for method in (b"G@T", b"GE(T", b"G\x00T", b"G\x7fT", b"G\xc3\x89T", b'"GET"', b"GET,", b"GET:", b"{GET}", b"G\x01T"):
    bad(f"method {method!r}", get(method + b" /healthz HTTP/1.1"))
for method in (b"get", b"Get", b"BREW", b"GETT", b"GE", b"PROPFIND", b"M-SEARCH", b"X" * 60, b"TRACE"):
    vector(f"method {method.decode()}", get(method + b" /healthz HTTP/1.1"), (400, 405, 501))
vector("CONNECT", get(b"CONNECT localhost:80 HTTP/1.1"), (400, 404, 405, 501))

# The target

for target in (b"healthz", b"*", b"?x", b"localhost:80", b"\\healthz", b"http:/healthz", b"ftp://localhost/healthz"):
    vector(f"target {target.decode()}", get(b"GET " + target + b" HTTP/1.1"), (400, 404, 421))
for byte in (0x00, 0x01, 0x08, 0x1B, 0x1F, 0x7F, 0x80, 0xC3, 0xFF):
    bad(f"byte {byte:#04x} in the target", get(b"GET /healthz" + bytes([byte]) + b" HTTP/1.1"))
vector("a fragment", get(b"GET /healthz#x HTTP/1.1"), (400, 404))
vector("absolute form", get(b"GET http://localhost/healthz HTTP/1.1"), (200, 400))
vector("absolute form of another host", get(b"GET http://evil.example/healthz HTTP/1.1"), (400, 421))
vector("absolute form with a password", get(b"GET http://localhost@evil.example/healthz HTTP/1.1"), (400, 421))
vector("options of everything", get(b"OPTIONS * HTTP/1.1"), (200, 204, 400, 404, 405))
for escape in (b"%", b"%2", b"%zz", b"%0", b"%-1", b"%%20", b"a%"):
    vector(f"escape {escape.decode()}", get(b"GET /v1/events?channel=" + escape + b" HTTP/1.1"), 400)
vector("an escaped NUL", get(b"GET /v1/events?channel=%00 HTTP/1.1"), 400)
vector("an escaped line end", get(b"GET /v1/events?channel=a%0d%0aX:y HTTP/1.1"), 400)
vector("the path in escapes", get(b"GET /%68ealthz HTTP/1.1"), (200, 404))
LONGEST = b"/" + b"x" * (8_192 - len(b"GET / HTTP/1.1"))
vector("a request line of 8,192 bytes", get(b"GET " + LONGEST + b" HTTP/1.1"), 404, KEPT)
vector("a request line of 8,193 bytes", get(b"GET " + LONGEST + b"x HTTP/1.1"), 414, CLOSED)
vector("a request line without an end", b"GET /" + b"x" * 9_000, 414, CLOSED)
vector("a method without an end", b"G" * 9_000, (400, 414), CLOSED)

# Line ends

bad("bare line feeds everywhere", get().replace(b"\r\n", b"\n"))
bad("a bare line feed after the request line", b"GET /healthz HTTP/1.1\n" + HOST + b"\r\n")
bad("a bare line feed after a field", get(fields=b"Host: localhost\nX: y\r\n"))
bad("a bare line feed at the end of the head", get()[:-2] + b"\n")
bad("a bare line feed in a value", get(fields=HOST + b"X: a\nb\r\n"))
bad("a bare carriage return in a value", get(fields=HOST + b"X: a\rb\r\n"))
bad("a bare carriage return in a name", get(fields=HOST + b"X\rY: a\r\n"))
bad("a bare carriage return in the request line", get(b"GET /healthz\rHTTP/1.1"))
bad("a bare carriage return after a field", get(fields=HOST + b"X: y\rZ: y\r\n"))
bad("two carriage returns", get(fields=HOST + b"X: y\r\r\n"))
bad("two carriage returns after the request line", b"GET /healthz HTTP/1.1\r\r\n" + HOST + b"\r\n")
bad("a carriage return at the end of the head", get()[:-2] + b"\r\r\n")
bad("line feed and carriage return", get().replace(b"\r\n", b"\n\r"))

# Fields

bad("a folded line with a space", get(fields=HOST + b"X: a\r\n b\r\n"))
bad("a folded line with a tab", get(fields=HOST + b"X: a\r\n\tb\r\n"))
bad("a folded Host", get(fields=b"Host:\r\n localhost\r\n"))
bad("a folded first line", get(fields=b" X: y\r\n" + HOST))
bad("a folded empty line", get(fields=HOST + b"X: a\r\n \r\n"))
bad("a space before the colon", get(fields=HOST + b"X : y\r\n"))
bad("a tab before the colon", get(fields=HOST + b"X\t: y\r\n"))
bad("a space before the colon of Host", get(fields=b"Host : localhost\r\n"))
bad("an empty name", get(fields=HOST + b": y\r\n"))
bad("no colon", get(fields=HOST + b"nonsense\r\n"))
for byte in b'()<>@,;\\"/[]?={} \x00\x01\x0b\x1f\x7f\x80\xff':
    bad(f"byte {byte:#04x} in a name", get(fields=HOST + b"X" + bytes([byte]) + b"Y: z\r\n"))
for byte in (0x00, 0x01, 0x08, 0x0B, 0x0C, 0x1B, 0x1F, 0x7F):
    bad(f"byte {byte:#04x} in a value", get(fields=HOST + b"X: a" + bytes([byte]) + b"b\r\n"))
vector("a tab in a value", get(fields=HOST + b"X: a\tb\r\n"), 200, KEPT)
vector("spaces around a value", get(fields=b"Host: \t localhost \t \r\n"), 200, KEPT)
vector("no space before a value", get(fields=b"Host:localhost\r\n"), 200, KEPT)
vector("an empty value", get(fields=HOST + b"X:\r\n"), 200, KEPT)
vector("a value of spaces", get(fields=HOST + b"X:   \r\n"), 200, KEPT)
vector("bytes above ASCII in a value", get(fields=HOST + b"X: \xc3\xa9\xff\r\n"), (200, 400))
vector("every byte that a name may have", get(fields=HOST + b"!#$%&'*+-.^_`|~09azAZ: y\r\n"), 200, KEPT)
vector("names in any case", get(fields=b"hOsT: localhost\r\n"), 200, KEPT)
FILL = b"".join(b"X-%d: y\r\n" % number for number in range(99))
vector("a hundred fields", get(fields=HOST + FILL), 200, KEPT)
vector("a hundred and one fields", get(fields=HOST + FILL + b"X: y\r\n"), 431, CLOSED)
ROOM = 16_384 - len(get(fields=HOST + b"A: \r\nB: \r\n"))
FULL = HOST + b"A: " + b"x" * 8_000 + b"\r\nB: " + b"y" * (ROOM - 8_000) + b"\r\n"
vector("a head of 16,384 bytes", get(fields=FULL), 200, KEPT)
vector("a head of 16,385 bytes", get(fields=FULL.replace(b"B: ", b"B: y")), 431, CLOSED)
vector("a field without an end", b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 17_000, 431, CLOSED)
vector("fields without an end", b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 200, 431, CLOSED)

# Host

bad("no Host", get(fields=b"X: y\r\n"))
bad("two Hosts", get(fields=HOST + b"Host: 127.0.0.1\r\n"))
bad("the same Host twice", get(fields=HOST + HOST))
bad("two Hosts in different cases", get(fields=HOST + b"HOST: localhost\r\n"))
vector("no Host in HTTP/1.0", get(b"GET /healthz HTTP/1.0", b""), (200, 400, 421), CLOSED)
for host in (b"127.0.0.1", b"[::1]", b"LOCALHOST", b"127.255.255.254"):
    vector(f"host {host.decode()}", get(fields=b"Host: " + host + b"\r\n"), 200, KEPT)
for host in (
    b"",
    b"localhost.",
    b"evil.example",
    b"127.1",
    b"0.0.0.0",
    b"[::]",
    b"::1",
    b"localhost,evil",
    b"[::ffff:7f00:1]",
    b"localhost:0x50",
    b"localhost:+80",
    b"localhost:",
    b"user@localhost",
    b"localhost/",
    b"local host",
    b"127.0.0.1.",
    b"[::1",
    b"[::1]x",
):
    vector(f"host {host.decode()!r}", get(fields=b"Host: " + host + b"\r\n"), (400, 421))

# Content-Length

vector("a body of a length", post(b"Content-Length: 2\r\n"), 200, KEPT)
vector("no body and no length", post(b"", b""), (400, 411), EITHER)
vector("a length of nothing", post(b"Content-Length: 0\r\n", b""), 400, EITHER)
vector("a request hidden in a body that is refused", post(b"Content-Length: %d\r\n" % len(HIDDEN), HIDDEN), 400, KEPT)
vector(
    "a request hidden in the body of a GET",
    get(fields=HOST + b"Content-Length: %d\r\n" % len(HIDDEN)) + HIDDEN,
    (200, 400),
)
for length in (
    b"+2",
    b"-2",
    b"-0",
    b"2 2",
    b"2,2",
    b"2, 2",
    b"2;2",
    b"0x2",
    b"2a",
    b"2.0",
    b"1e1",
    b"1_0",
    b"",
    b",2",
    b"2,",
    b'"2"',
    b"two",
    b"\xef\xbc\x92",
    b"2\x0b",
    b"18446744073709551618",
    b"99999999999999999999999",
    b"9223372036854775808",
):
    bad(
        f"length {length!r}", post(b"Content-Length: " + length + b"\r\n"), (400, 413) if length[-3:].isdigit() else 400
    )
bad("the same length twice", post(b"Content-Length: 2\r\nContent-Length: 2\r\n"))
bad("two lengths", post(b"Content-Length: 2\r\nContent-Length: 40\r\n"))
bad("two lengths, the longer one first", post(b"Content-Length: 40\r\nContent-Length: 2\r\n"))
bad("two lengths in different cases", post(b"content-length: 2\r\nCONTENT-LENGTH: 3\r\n"))
bad("a length before a space", post(b"Content-Length : 2\r\n"))
bad("a length in a folded line", post(b"Content-Length:\r\n 2\r\n"))
vector("a length with zeros in front", post(b"Content-Length: 002\r\n"), (200, 400))
vector("spaces around a length", post(b"Content-Length:\t 2 \t\r\n"), 200, KEPT)
vector("a name like Content-Length", post(b"Content-Length: 2\r\nContent_Length: 40\r\n"), 200, KEPT)

# Content-Length and Transfer-Encoding

TE = b"Transfer-Encoding: chunked\r\n"
bad("a length and chunks", post(b"Content-Length: 6\r\n" + TE, b"0\r\n\r\nX"))
bad("chunks and a length", post(TE + b"Content-Length: 6\r\n", b"0\r\n\r\nX"))
bad("a length of nothing and chunks", post(b"Content-Length: 0\r\n" + TE, b"2\r\n{}\r\n0\r\n\r\n"))
bad("a length and chunks in other cases", post(b"CONTENT-length: 4\r\ntransfer-ENCODING: CHUNKED\r\n", b"0\r\n\r\n"))
bad("a length and an unknown coding", post(b"Content-Length: 4\r\nTransfer-Encoding: xchunked\r\n", b"{}"), (400, 501))
bad("a length and no coding", post(b"Content-Length: 2\r\nTransfer-Encoding:\r\n"), (400, 501))
bad("a bad length and chunks", post(b"Content-Length: x\r\n" + TE, b"0\r\n\r\n"))

# Transfer-Encoding

WHOLE = b"2\r\n{}\r\n0\r\n\r\n"
vector("chunks", chunked(WHOLE), 200, KEPT)
vector("chunks in two pieces", chunked(b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"), 200, KEPT)
vector("chunked in another case", post(b"Transfer-Encoding: Chunked\r\n", WHOLE), (200, 501))
vector("spaces around chunked", post(b"Transfer-Encoding:\t chunked \t\r\n", WHOLE), 200, KEPT)
for coding in (
    b"gzip, chunked",
    b"gzip",
    b"identity",
    b"identity, chunked",
    b"chunked, identity",
    b"chunked, chunked",
    b"chunked,",
    b",chunked",
    b"xchunked",
    b"x-chunked",
    b"chunkedx",
    b"chunked;q=1",
    b"chu nked",
    b'"chunked"',
    b"chunked gzip",
    b"'chunked'",
    b"deflate",
    b"br",
):
    bad(f"coding {coding.decode()}", post(b"Transfer-Encoding: " + coding + b"\r\n", WHOLE), (400, 501))
bad("an empty coding", post(b"Transfer-Encoding:\r\n", WHOLE), (400, 501))
bad("chunked twice", post(TE + TE, WHOLE), (400, 501))
bad("chunked and identity in two fields", post(TE + b"Transfer-Encoding: identity\r\n", WHOLE), (400, 501))
bad("identity and chunked in two fields", post(b"Transfer-Encoding: identity\r\n" + TE, WHOLE), (400, 501))
bad("a vertical tab before chunked", post(b"Transfer-Encoding: \x0bchunked\r\n", WHOLE))
bad("chunked behind a space before the colon", post(b"Transfer-Encoding : chunked\r\n", WHOLE))
bad("chunked in a folded line", post(b"Transfer-Encoding:\r\n chunked\r\n", WHOLE))
bad("chunks in HTTP/1.0", chunked(WHOLE).replace(b"HTTP/1.1", b"HTTP/1.0"), (400, 501))

# Chunks

vector("a size in capitals", chunked(b'A\r\n{"n":1234}\r\n0\r\n\r\n'.replace(b"1234", b"1234")), 200, KEPT)
vector("zeros before a size", chunked(b"0002\r\n{}\r\n000\r\n\r\n"), (200, 400))
for size in (
    b"",
    b" 2",
    b"+2",
    b"-2",
    b"0x2",
    b"2h",
    b"g",
    b"2 2",
    b"\t2",
    b"2,",
    b"0002g",
    b"2\x00",
    b"fffffffffffffffff",
    b"8000000000000000",
    b"ffffffffffffffff",
):
    bad(f"chunk size {size!r}", chunked(size + b"\r\n{}\r\n0\r\n\r\n"), (400, 413) if len(size) > 8 else 400)
bad("a chunk larger than a body may be", chunked(b"100001\r\n{}"), (400, 413))
bad("a chunk longer than its size", chunked(b"2\r\n{}x\r\n0\r\n\r\n"))
bad("a chunk shorter than its size", chunked(b"3\r\n{}\r\n0\r\n\r\n"))
bad("no line end behind a chunk", chunked(b"2\r\n{}0\r\n\r\n"))
bad("a bare line feed behind a size", chunked(b"2\n{}\r\n0\r\n\r\n"))
bad("a bare line feed behind a chunk", chunked(b"2\r\n{}\n0\r\n\r\n"))
bad("a bare carriage return behind a size", chunked(b"2\r{}\r\n0\r\n\r\n"))
bad("a bare carriage return behind a chunk", chunked(b"2\r\n{}\r0\r\n\r\n"))
bad("two carriage returns behind a size", chunked(b"2\r\r\n{}\r\n0\r\n\r\n"))
bad("bare line feeds behind the last chunk", chunked(b"2\r\n{}\r\n0\n\n"))
bad("a bare line feed at the very end", chunked(b"2\r\n{}\r\n0\r\n\n"))
vector("an extension", chunked(b"2;a=b\r\n{}\r\n0;c\r\n\r\n"), 200, KEPT)
vector("a quoted extension", chunked(b'2;a="b c"\r\n{}\r\n0\r\n\r\n'), 200, KEPT)
vector("extensions of 250 bytes", chunked(b"2;" + b"x" * 249 + b"\r\n{}\r\n0\r\n\r\n"), 200, KEPT)
bad("extensions of 260 bytes", chunked(b"2;" + b"x" * 259 + b"\r\n{}\r\n0\r\n\r\n"))
bad("extensions of 300 bytes in all", chunked(b"1;" + b"x" * 149 + b"\r\n{\r\n1;" + b"x" * 149 + b"\r\n}\r\n0\r\n\r\n"))
bad("an extension without an end", chunked(b"2;" + b"x" * 5_000))
bad("a bare line feed in an extension", chunked(b"2;a\nb\r\n{}\r\n0\r\n\r\n"))
bad("a bare carriage return in an extension", chunked(b"2;a\rb\r\n{}\r\n0\r\n\r\n"))
bad("a line end in a quoted extension", chunked(b'2;a="\r\n"\r\n{}\r\n0\r\n\r\n'))
bad("a NUL in an extension", chunked(b"2;a\x00b\r\n{}\r\n0\r\n\r\n"))
vector("a trailer", chunked(b"2\r\n{}\r\n0\r\nX: y\r\n\r\n"), 200, KEPT)
vector("a trailer that names a length", chunked(b"2\r\n{}\r\n0\r\nContent-Length: 40\r\n\r\n"), 200, KEPT)
vector("a trailer that names another host", chunked(b"2\r\n{}\r\n0\r\nHost: evil.example\r\n\r\n"), (200, 400))
bad("a folded trailer", chunked(b"2\r\n{}\r\n0\r\nX: y\r\n z\r\n\r\n"))
bad("a trailer without a colon", chunked(b"2\r\n{}\r\n0\r\nnonsense\r\n\r\n"))
bad("a space before a trailer's colon", chunked(b"2\r\n{}\r\n0\r\nX : y\r\n\r\n"))
bad("a bare line feed in a trailer", chunked(b"2\r\n{}\r\n0\r\nX: y\nZ: y\r\n\r\n"))
bad("a NUL in a trailer", chunked(b"2\r\n{}\r\n0\r\nX: \x00\r\n\r\n"))
bad("too many trailers", chunked(b"2\r\n{}\r\n0\r\n" + b"X: y\r\n" * 101 + b"\r\n"), (400, 431))
bad("trailers without an end", chunked(b"2\r\n{}\r\n0\r\nX: " + b"y" * 20_000), (400, 431))

# Bodies

EVENT = b'{"x":"%s"}'
LARGEST = EVENT % (b"x" * (262_144 - len(EVENT % b"")))
NDJSON = b"Content-Type: application/x-ndjson\r\n"


def body(data, media=JSON):
    return post(b"Content-Length: %d\r\n" % len(data), data, HOST + media)


vector("an event of 262,144 bytes", body(LARGEST), 200, KEPT)
vector("an event of 262,145 bytes", body(LARGEST.replace(b"xx", b"xxx", 1)), 413)
vector("a batch of 1,000", body(b"{}\n" * 1_000, NDJSON), 200, KEPT)
vector("a batch of 1,001", body(b"{}\n" * 1_001, NDJSON), 413)
PADDED = (b'{"x":"%s"}\n' % (b"x" * 200_000) * 6)[:1_048_000]
PADDED = PADDED[: PADDED.rindex(b"\n") + 1]
vector("a body of 1,048,576 bytes", body(PADDED + b" " * (1_048_576 - len(PADDED)), NDJSON), 200, KEPT)
vector("a body of 1,048,577 bytes", body(PADDED + b" " * (1_048_577 - len(PADDED)), NDJSON), 413)
vector("chunks of 1,048,577 bytes", chunked(http1.chunked(*[b" " * 65_536] * 16, b" "), fields=HOST + NDJSON), 413)
vector("no media type", post(b"Content-Length: 2\r\n", fields=HOST), 415, EITHER)
vector("text", body(b"{}", b"Content-Type: text/plain\r\n"), 415, EITHER)
vector("a form", body(b"a=b", b"Content-Type: application/x-www-form-urlencoded\r\n"), 415, EITHER)
for coding in (b"gzip", b"br", b"deflate"):
    vector(
        f"content coding {coding.decode()}",
        post(b"Content-Encoding: " + coding + b"\r\nContent-Length: 2\r\n"),
        415,
        EITHER,
    )
vector("an expectation that is none", post(b"Expect: 200-ok\r\nContent-Length: 2\r\n"), 417, EITHER)
for name, text in {
    "no JSON": b"nonsense",
    "half an object": b'{"a":',
    "an array": b"[]",
    "a string": b'"x"',
    "a number": b"1",
    "null": b"null",
    "nothing": b" ",
    "two objects": b"{}{}",
    "a comma too many": b'{"a":1,}',
    "a comment": b"{}//",
    "single quotes": b"{'a':1}",
    "bad UTF-8": b'{"a":"\xff"}',
    "an overlong slash": b'{"a":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "a NUL": b'{"a":"\x00"}',
    "a line feed in a string": b'{"a":"\n"}',
    "NaN": b'{"a":NaN}',
    "a plus": b'{"a":+1}',
    "a zero in front": b'{"a":01}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "too deep": b'{"a":' + b"[" * 1_000 + b"]" * 1_000 + b"}",
    "a million brackets": b"[" * 250_000,
}.items():
    vector(f"JSON: {name}", body(text), 400, KEPT)
vector("a reserved member", body(b'{"s\\u0065q":1}'), 422, KEPT)
vector("a reserved kind", body(b'{"type":"$bye"}'), 422, KEPT)

# What is not HTTP/1.1 at all

bad("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)) + b"\r\n\r\n")
bad("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 405, 505))
bad("HTTP/0.9", b"GET /healthz\r\n")
bad("a response", b"HTTP/1.1 200 OK\r\n\r\n")
bad("SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
bad("a byte order mark", b"\xef\xbb\xbf" + get())
bad("UTF-16", get().decode().encode("utf-16"))
bad("NULs", b"\x00" * 100 + b"\r\n\r\n")
bad("JSON lines", b'{"type":"x"}\n{"type":"y"}\n\r\n\r\n')
bad("every byte there is", bytes(range(256)) + b"\r\n\r\n")
