"""HTTP/1.1 as a client writes and reads it, byte for byte: requests from their parts, responses parsed strictly."""

import json
import re

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [^\r\n]*\r\n\Z")
FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*\r\n\Z", re.DOTALL)


class Response:
    def __init__(self, status, headers):
        self.status = status
        self.headers = headers
        self.body = b""

    def header(self, name):
        """The field's value, None where it is absent; a repeated field is a fault here."""
        values = [value for field, value in self.headers if field == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    def error_code(self):
        """The code of `{"error":{"code":…,"message":…}}`, whose form is checked."""
        assert self.header("content-type").split(";")[0] == "application/json", self.headers
        error = self.json()["error"]
        assert isinstance(error["code"], str) and re.fullmatch("[a-z0-9_]+", error["code"]), error
        assert isinstance(error["message"], str) and error["message"] and "\n" not in error["message"], error
        return error["code"]

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:300]!r}>"


def request(method, target, headers=(), body=None, host="127.0.0.1"):
    """The bytes of a request; a body gets its Content-Length unless the headers already frame it."""
    fields = [("Host", host)] if host is not None else []
    fields += list(headers.items() if isinstance(headers, dict) else headers)
    names = {name.lower() for name, _ in fields}
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        fields.append(("Content-Length", str(len(body))))
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
    return head.encode("latin-1") + (body or b"")


def chunked(*chunks):
    """A chunked body of these chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def read_head(stream):
    """A response's status and fields; its body is still in the stream."""
    status_line = stream.until(b"\r\n")
    match = STATUS_LINE.match(status_line)
    assert match, f"not a status line: {status_line!r}"
    headers = []
    while (line := stream.until(b"\r\n")) != b"\r\n":
        field = FIELD_LINE.match(line)
        assert field, f"not a header field: {line!r}"
        headers.append((field[1].decode().lower(), field[2].decode()))
    return Response(int(match[1]), headers)


def read_response(stream, of="GET"):
    """A whole response: as long as Content-Length says, else to the end of the stream."""
    response = read_head(stream)
    if of == "HEAD" or response.status < 200 or response.status in (204, 304):
        return response
    assert response.header("transfer-encoding") is None, response
    length = response.header("content-length")
    response.body = stream.rest() if length is None else stream.exactly(int(length))
    return response
