"""Schemas: what does not fit is refused or counted, everybody can ask for them, and types are made of them."""

import json
import subprocess

import pytest

import http1
import program
from program import NDJSON, configured
from readers import open_reader

SCHEMA = {
    "discriminator": "kind",
    "mapping": {
        "started": {"properties": {"id": {"type": "string"}, "at": {"type": "timestamp"}}},
        "moved": {"properties": {"to": {"elements": {"type": "int16"}}}, "optionalProperties": {"by": {"enum": ["x"]}}},
    },
}
COMPACT = json.dumps(SCHEMA, separators=(",", ":"))
RIGHT = '{"kind":"moved","to":[1,2.0,3e2]}'
WRONG = '{"kind":"moved","to":[1,2.5],"by":"y","extra":0}'
ERRORS = [
    {"instance": "/to/1", "schema": "/mapping/moved/properties/to/elements/type"},
    {"instance": "/by", "schema": "/mapping/moved/optionalProperties/by/enum"},
    {"instance": "/extra", "schema": "/mapping/moved"},
]


@pytest.fixture
def folder(tmp_path):
    """A configuration whose schema is in a file beside it."""
    (tmp_path / "dash.jtd.json").write_text(json.dumps(SCHEMA, indent=2))
    rules = {"discriminator": "kind", "schema": {"file": "dash.jtd.json"}}
    channels = {"dash": rules, **{mode: rules | {"schema_mode": mode} for mode in ("warn", "pass")}}
    configured(tmp_path, {"channels": channels})
    return tmp_path


@pytest.fixture
def schemas(io, folder):
    """A server with that configuration, started from another folder."""
    server = program.Server("--config", folder / "fanout.json", "--channel", "dash", io=io)
    yield server
    server.stop()
    server.remove()


def test_what_does_not_fit_gets_422_with_every_place(schemas):
    reader = open_reader(schemas, "sse", channel=["dash"])
    assert schemas.post(RIGHT, channel="dash").status == 200
    refused = schemas.post(WRONG, channel="dash")
    assert refused.status == 422
    assert refused.error_code() == "schema"
    assert refused.json()["error"]["errors"] == ERRORS
    assert schemas.post("\n".join([RIGHT, WRONG]), media=NDJSON, channel="dash").json()["error"]["errors"] == ERRORS
    assert schemas.post('{"kind":"other"}', channel="dash").json()["error"]["errors"] == [
        {"instance": "/kind", "schema": "/mapping"}
    ]
    assert schemas.publish(RIGHT, channel="dash")["seq"] == 2
    assert reader.next().json()["schema"] == schemas.get("/v1/schema?channel=dash").header("fanout-schema")
    assert [reader.next().json()["seq"] for _ in range(2)] == [1, 2]
    assert schemas.metric("fanout_schema_misfits_total", mode="reject") == 3


def test_an_ingest_socket_says_it_line_by_line(schemas):
    answers = schemas.ingest(f'{{"$ack":true}}\n{WRONG}\n{RIGHT}\n'.encode(), channel="dash").splitlines()
    assert json.loads(answers[0])["error"]["errors"] == ERRORS
    assert json.loads(answers[1])["level"] == "accepted"


def test_warn_and_pass_publish_it_and_only_warn_says_so(schemas):
    for mode in ("warn", "pass"):
        assert schemas.post(WRONG, channel=mode).status == 200
        assert schemas.metric("fanout_schema_misfits_total", mode=mode) == 1
    line = schemas.stderr.wait_for(lambda line: b"does not fit its channel's schema" in line)
    assert b"'/to/1'" in line and b"published all the same" in line
    assert sum(b"does not fit" in line for line in schemas.stderr.lines) == 1


def test_schemas_can_be_asked_for(schemas):
    answer = schemas.get("/v1/schema?channel=warn")
    assert answer.body.decode() == COMPACT + "\n"
    hash = answer.header("fanout-schema")
    assert answer.header("etag") == f'"{hash}"' and len(hash) == 32
    found = schemas.get("/v1/schema", unix=True).json()["schemas"]
    assert sorted(entry["pattern"] for entry in found) == ["dash", "pass", "warn"]
    assert all(entry["schema"] == SCHEMA and entry["hash"] == hash for entry in found)
    assert schemas.get("/v1/schema?channel=events").error_code() == "no_schema"
    assert schemas.exchange(http1.request("POST", "/v1/schema", {}, b"")).status == 405


def test_types_are_the_same_from_a_file_a_configuration_and_a_server(schemas, folder):
    plain = program.run("schema", "--typescript", folder / "dash.jtd.json")
    assert plain.returncode == 0 and b'kind: "moved";' in plain.stdout
    for source in (
        ["--config", folder / "fanout.json", "--channel", "dash"],
        ["--url", schemas.url, "--channel", "dash"],
        [f"{schemas.url}/v1/events?channel=dash"],
        [f"{schemas.url}/v1/schema?channel=dash"],
        ["--runtime-dir", schemas.runtime, "--channel", "dash"],
    ):
        assert program.run("schema", "--typescript", *source).stdout == plain.stdout
    swift = program.run("schema", "--swift", "--name", "Dash", folder / "dash.jtd.json").stdout.decode()
    assert "public indirect enum Dash: Codable, Sendable, Equatable {" in swift
    assert program.run("schema", folder / "dash.jtd.json").stdout.decode() == COMPACT + "\n"


@pytest.mark.parametrize(
    "arguments, code, complaint",
    [
        (["--swift", "--typescript", "x"], 64, b"--typescript or --swift"),
        (["none.json"], 78, b"none.json: cannot be read"),
        (["x.json", "--channel", "dash"], 64, b"it has no channels"),
        (["x.json", "--name", "a b"], 64, b"ASCII letters"),
        (["http://127.0.0.1:1"], 69, b"cannot connect"),
    ],
)
def test_what_cannot_be_answered_says_why(arguments, code, complaint):
    ended = program.run("schema", *arguments)
    assert ended.returncode == code, ended
    assert complaint in ended.stderr


def test_a_channel_without_a_schema_is_an_error(schemas, folder):
    ended = program.run("schema", "--url", schemas.url, "--channel", "events")
    assert ended.returncode == 64 and b"no_schema" in ended.stderr
    ended = program.run("schema", "--config", folder / "fanout.json", "--channel", "events")
    assert ended.returncode == 78 and b"has no schema" in ended.stderr


def test_check_names_every_fault_of_a_schemas_file(folder):
    (folder / "dash.jtd.json").write_text('{\n "discriminator": "type",\n "mapping": {"a": {"type": "x"}}\n}\n')
    checked = program.run("check", "--config", folder / "fanout.json")
    assert checked.returncode == 78
    places = [line.split(b": ")[0].decode() for line in checked.stderr.splitlines()]
    # Three channels read it, which makes no more faults of them.
    assert places == [f"{folder}/dash.jtd.json:3:19", f"{folder}/dash.jtd.json:3:28"]


def test_generated_swift_compiles(folder):
    types = folder / "Types.swift"
    types.write_bytes(program.run("schema", "--swift", folder / "dash.jtd.json").stdout)
    subprocess.run(["swiftc", "-typecheck", "-swift-version", "6", types], check=True, timeout=300)
