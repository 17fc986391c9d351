"""A fanout server from Python's standard library: publish, ask for what is, follow what comes."""

import http.client
import json
import random
import sys
import time
import uuid
from urllib.parse import urlencode, urlsplit

NDJSON = "application/x-ndjson"
# Longer than the server's keep-alive: a stream that says nothing for so long is dead.
SILENCE_MAX_S = 45.0
# Not now: to be asked again.
BUSY = (408, 429, 503)


class Refused(Exception):
    """The server will not have it: `status`, `code` and a message, and the whole error as it came."""

    def __init__(self, status, error):
        super().__init__(f"{error.get('code', status)}: {error.get('message', 'no message')}")
        self.status = status
        self.code = error.get("code")
        self.error = error


def lines(objects):
    """NDJSON."""
    return "".join(json.dumps(each, separators=(",", ":"), ensure_ascii=False) + "\n" for each in objects).encode()


def reach(url):
    """The server at that address; the end of the program, with a word, if there is none."""
    try:
        Fanout(url).history("events", 1)
    except OSError as error:
        sys.exit(f"{sys.argv[0]}: no answer from {url}: {error.strerror or error}: is `fanout serve` running there?")
    return Fanout(url)


class Fanout:
    """One server, over one connection that is kept open."""

    def __init__(self, url="http://127.0.0.1:7575"):
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port or 80)
        self._connection = None

    def publish(self, channel, *events):
        """Publishes one event, or several as one batch, once: what has no answer is sent again with the same key. Waits
        while the server is away or has no room; raises Refused for what it will never take. The ack."""
        headers = {"Content-Type": NDJSON, "Idempotency-Key": uuid.uuid4().hex}
        return self._insist("POST", "/v1/events", {"channel": channel}, lines(events), headers)

    def history(self, channel, limit):
        """The newest events, the oldest first, and the cursor of the newest event that there was."""
        page = self._ask("GET", "/v1/history", {"channel": channel, "limit": limit})
        return page["events"], page["head"]

    def channels(self):
        """The names of all channels, those that have ended too."""
        return [entry["channel"] for entry in self._ask("GET", "/v1/channels", {})["channels"]]

    def snapshot(self, channel):
        """The channel's present state: {"seq", "cursor", "events"}."""
        return self._ask("GET", "/v1/snapshot", {"channel": channel})

    def put_snapshot(self, channel, *rows, as_of=None):
        """Gives newcomers these rows, which say what is so right after the event with that cursor, or at the head."""
        query = {"channel": channel, **({"as_of": as_of} if as_of else {})}
        return self._insist("PUT", "/v1/snapshot", query, lines(rows), {"Content-Type": NDJSON})

    def follow(self, channel, start=None, **query):
        """Every record of a stream, control records too, over every break: it goes on behind the last event, and says
        None when a connection ends. Ends when the server says that coming back is no use."""
        place = start
        while True:
            epoch, retry_s, is_over, in_snapshot = None, random.uniform(0.3, 0.6), False, False
            wanted = {**query, **({"from": place} if place else {})}
            try:
                for record in self._stream({"channel": channel, **wanted}):
                    kind = record.get("kind", record.get("type", ""))
                    if kind == "$hello":
                        epoch = record["epoch"]
                        place = place or f"{epoch}-{record['seq']}"
                    elif kind == "$bye":
                        is_over = "retry_ms" not in record
                        retry_s = record.get("retry_ms", 0) / 1000
                    elif kind == "$snapshot":
                        # Rows have old numbers: whoever is cut among them asks for the state again.
                        place, in_snapshot = "snapshot", True
                    elif "seq" in record and (kind == "$live" or not (in_snapshot or kind.startswith("$"))):
                        place, in_snapshot = f"{epoch}-{record['seq']}", False
                    yield record
            except Refused as refusal:
                if refusal.status not in BUSY:
                    raise
            except (OSError, ValueError, http.client.HTTPException):
                pass
            yield None
            if is_over:
                return
            time.sleep(retry_s)

    def _stream(self, query):
        connection = http.client.HTTPConnection(*self._address, timeout=SILENCE_MAX_S)
        try:
            connection.request("GET", "/v1/events?" + urlencode(query, doseq=True), headers={"Accept": NDJSON})
            response = connection.getresponse()
            if response.status != 200:
                raise Refused(response.status, json.loads(response.read()).get("error", {}))
            for line in response:
                if line.endswith(b"\n"):
                    yield json.loads(line)
        finally:
            connection.close()

    def _insist(self, method, path, query, body, headers):
        """Asks until there is an answer: for what may be said again and again."""
        pause = 0.1
        while True:
            try:
                return self._ask(method, path, query, body, headers)
            except Refused as refusal:
                if refusal.status not in BUSY:
                    raise
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2.0, pause * 2)

    def _ask(self, method, path, query, body=None, headers=None):
        target = f"{path}?{urlencode(query, doseq=True)}"
        for is_fresh in (self._connection is None, True):
            self._connection = self._connection or http.client.HTTPConnection(*self._address, timeout=SILENCE_MAX_S)
            try:
                self._connection.request(method, target, body, headers or {})
                response = self._connection.getresponse()
                answer = json.loads(response.read() or b"null")
            except (OSError, http.client.HTTPException):
                # A connection that was kept may have been closed meanwhile.
                self._connection.close()
                self._connection = None
                if is_fresh:
                    raise
                continue
            if response.status >= 400:
                raise Refused(response.status, answer["error"])
            return answer
