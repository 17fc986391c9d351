"""Every request of `request_vectors.py`, whole, byte by byte and cut at random, while a subscriber watches."""

import asyncio
import random
import socket

import pytest

import endings
import http1
from readers import open_reader
from request_vectors import CLOSED, KEPT, VECTORS

AT_ONCE = 24
SEED = 20_240
# Longer ones are cut at every byte of their first and last kilobyte only.
BYTE_BY_BYTE_MAX = 20_000


def whole(data, _):
    return [data]


def byte_by_byte(data, _):
    if len(data) <= BYTE_BY_BYTE_MAX:
        return [data[index : index + 1] for index in range(len(data))]
    edge = 1_024
    return [*byte_by_byte(data[:edge], _), data[edge:-edge], *byte_by_byte(data[-edge:], _)]


def at_random(data, name):
    dice = random.Random(f"{SEED} {name}")
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randint(1, 12)))
    edges = [0, *cuts, len(data)]
    return [data[start:end] for start, end in zip(edges, edges[1:], strict=False) if start < end]


class Exchange:
    """One connection, on which sending stops where the server refuses and reading goes on all the same."""

    def __init__(self, port):
        self.port = port
        self.data = bytearray()
        self.ended = False

    async def __aenter__(self):
        self.loop = asyncio.get_running_loop()
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self.loop.sock_connect(self.socket, ("127.0.0.1", self.port))
        return self

    async def __aexit__(self, *_):
        self.socket.close()

    async def send(self, pieces):
        try:
            for index, piece in enumerate(pieces):
                await self.loop.sock_sendall(self.socket, piece)
                if index % 16 == 0:
                    await asyncio.sleep(0)
        except (BrokenPipeError, ConnectionResetError):
            pass

    async def read(self, enough):
        """Reads until `enough()` or the end; a reset is an end."""
        while not self.ended and not enough():
            try:
                received = await self.loop.sock_recv(self.socket, 1 << 16)
            except ConnectionResetError:
                received = b""
            self.data += received
            self.ended = not received

    def responses(self, first_of_head=False):
        """The whole responses that have come, and whether that is all that has come."""
        replay, found = endings.Replay(self.data), []
        while not replay.is_empty():
            try:
                found.append(http1.read_response(replay, of="HEAD" if first_of_head and not found else "GET"))
            except endings.Ended:
                return found, False
        return found, True


async def judge(vector, port, cut):
    """What is wrong with the answer to this vector, None if nothing is."""
    of_head = vector.data.startswith(b"HEAD")
    async with Exchange(port) as exchange:
        sending = asyncio.create_task(exchange.send(cut(vector.data, vector.name)))
        await exchange.read(lambda: len(exchange.responses(of_head)[0]) >= 1)
        await sending
        if vector.connection == CLOSED:
            await exchange.read(lambda: False)
        else:
            await exchange.send([http1.request("GET", "/healthz", host="localhost")])
            await exchange.read(lambda: len(exchange.responses(of_head)[0]) >= 2)
    answers, whole_answers = exchange.responses(of_head)
    statuses = [answer.status for answer in answers]
    if not answers:
        return f"no answer, only {bytes(exchange.data)[:100]!r}"
    if statuses[0] not in vector.statuses:
        return f"{statuses[0]} instead of {vector.statuses}: {answers[0].body[:200]!r}"
    if not whole_answers:
        return f"a torn answer after {statuses}"
    if statuses[0] >= 400:
        answers[0].error_code()
    if vector.connection == CLOSED and len(answers) != 1:
        return f"what came behind it was answered: {statuses}"
    if vector.connection == KEPT and (statuses[1:] != [200] or answers[1].body != b"ok\n"):
        return f"the connection was not kept: {statuses}"
    if vector.connection not in (CLOSED, KEPT) and statuses[1:] not in ([], [200]):
        return f"what came behind it was not answered as itself: {statuses}"
    return None


@pytest.mark.parametrize("cut", [whole, byte_by_byte, at_random], ids=lambda cut: cut.__name__)
def test_every_request_gets_its_answer_and_nobody_else_notices(io, start_server, cut):
    server = start_server("--on-lag", "gap")
    reader = open_reader(server, "unix", channel=["watched"])
    smuggled = open_reader(server, "unix", channel=["smuggled"])
    reader.next_control("$hello")
    smuggled.next_control("$hello")
    collector = endings.Collector({"reader": reader, "smuggled": smuggled})
    faults = []

    async def everything():
        places = asyncio.Semaphore(AT_ONCE)

        async def one(number, vector):
            async with places:
                try:
                    async with asyncio.timeout(20):
                        fault = await judge(vector, server.http_port, cut)
                except (TimeoutError, AssertionError, ValueError) as error:
                    fault = repr(error)
                if fault:
                    faults.append(f"{vector.name}: {fault}")
            if number % 10 == 0:
                await asyncio.to_thread(server.publish, f'{{"n":{number // 10}}}', channel="watched")

        await asyncio.gather(*(one(number, vector) for number, vector in enumerate(VECTORS)))

    asyncio.run(everything())
    server.stop()
    ended = collector.endings()
    assert faults == [], "\n".join(["", *faults])
    count = (len(VECTORS) + 9) // 10
    assert sorted(event["n"] for event in ended["reader"].events()) == list(range(count))
    assert ended["reader"].controls("$gap") == [] and ended["reader"].bye.json()["code"] == 1001
    assert ended["smuggled"].events() == [], "a request hidden in another one was taken for one"


def test_there_are_enough_of_them_and_each_is_there_once():
    assert len(VECTORS) >= 250
    assert len({vector.name for vector in VECTORS}) == len({vector.data for vector in VECTORS}) == len(VECTORS)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_cut_off_publishes_nothing_and_ends(server, channel, seed):
    """A request that ends with its connection, at every place that a seeded die shows."""
    data = http1.request("POST", f"/v1/events?channel={channel}", {"Content-Type": "application/json"}, b'{"n":1}')
    dice = random.Random(seed)
    for length in sorted(dice.sample(range(1, len(data)), 20)):
        with server.connect() as stream:
            stream.send(data[:length])
            stream.finish()
            assert stream.rest()[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 408"), length
    channels = {entry["channel"] for entry in server.get("/v1/channels").json()["channels"]}
    assert channel not in channels
