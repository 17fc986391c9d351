"""The configuration file's JSON Schema: an independent validator and `fanout check` say the same of many files."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

import program

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def schema():
    printed = program.run("check", "--schema")
    assert printed.returncode == 0 and printed.stderr == b""
    return json.loads(printed.stdout)


@pytest.fixture(scope="module")
def validator(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def check(folder, configuration):
    path = folder / "fanout.json"
    path.write_text(json.dumps(configuration))
    return program.run("check", "--config", path)


def channel(**rules):
    return {"channels": {"a": rules}}


RIGHT = [
    {},
    {"$schema": "./fanout.schema.json"},
    {
        "listen": "[::1]:0", "jsonl": "localhost:1", "runtime_dir": "r", "io": "epoll", "heartbeat_s": 3600,
        "max_connections": 9, "max_per_address": 1, "max_per_user": 10_000_000, "max_memory": 16_777_216, "history": 0,
        "data": "d", "data_optional": True, "new_log": False, "on_lag": "resnapshot", "limits": {"events": 1},
        "listeners": {"http": {}, "http_socket": {"limits": {"age_ms": 1}}, "events": {}, "jsonl": {}},
        "allow_hosts": ["h"], "allow_origins": ["https://app.example:1"], "log_level": "error",
        "channels": {"**": {}, "a/*/b": {}, "*": {}, "a/**": {}, ".a/~-_": {}, "a..b": {}},
    },
    {"max_memory": "2g", "history": "1M"},
    channel(
        stamp=["time", "seq"], discriminator="kind", control="off", on_lag="conflate", visible="synced",
        limits={"bytes": 1 << 30}, retention={"count": 1, "age_s": 3155760000, "bytes": "1k"},
        state={
            "upsert": {"a": "/a~1b", "b": {"key": "/", "table": "t"}}, "remove": {"c": {"key": "/~0/0"}},
            "replace": ["d"], "snapshot": [],
        },
        terminal=["done"],
        **{"from": "snapshot"},
    ),
    {"routes": {"/api/v1/sessions/{id}/events": "sessions/{id}", "/feed/": "news", "/{a}/{b}": "{b}/x/{a}", "/v1a": "a"}},
    {"ingest": {"terok/events/{id}.sock": "terok/{id}", "/run/x": "x", "a": "a"}},
]

# What a schema can express.
WRONG = [
    {"lisen": "127.0.0.1:1"}, {"listen": "7575"}, {"listen": 7575}, {"listen": "host:1"}, {"runtime_dir": ""},
    {"io": "kqueue"}, {"heartbeat_s": 0}, {"heartbeat_s": 1.5}, {"heartbeat_s": "15"}, {"max_connections": 8},
    {"max_memory": 1}, {"max_memory": "64X"}, {"history": 1}, {"history": None}, {"data_optional": 1},
    {"on_lag": "drop"}, {"limits": []}, {"limits": {"events": 0}}, {"limits": {"event": 1}}, {"listeners": {"htp": {}}},
    {"listeners": {"http": {"limit": {}}}}, {"allow_hosts": "h"}, {"allow_hosts": [""]}, {"allow_origins": ["app"]},
    {"allow_origins": ["https://app.example/x"]}, {"log_level": "loud"}, {"channels": []}, {"channels": {"a//b": {}}},
    {"channels": {"**/a": {}}}, {"channels": {"../a": {}}}, {"channels": {"a b": {}}}, {"channels": {"x" * 256: {}}},
    channel(stamp=["seq", "seq"]), channel(stamp="seq"), channel(stamp=["id"]), channel(discriminator=""),
    channel(control=False), channel(on_lag="x"), channel(visible="never"), channel(retention={"count": 0}),
    channel(retention={"days": 1}), channel(state=[]), channel(state={"upsert": ["a"]}),
    channel(state={"upsert": {"a": ""}}), channel(state={"upsert": {"a": "id"}}), channel(state={"upsert": {"a": "/~2"}}),
    channel(state={"upsert": {"a": {"table": "t"}}}), channel(state={"upsert": {"a": {"key": "/a", "tabel": "t"}}}),
    channel(state={"remove": {"$a": "/a"}}), channel(state={"replace": ["a", "a"]}), channel(state={"replace": ["$a"]}),
    channel(state={"snapshot": [""]}), channel(state={"update": {}}), channel(terminal="done"), channel(terminal=["$bye"]),
    channel(**{"from": "end"}), channel(schema_mode="fail"),
    {"routes": {"feed": "a"}}, {"routes": {"/v1/x": "a"}}, {"routes": {"/metrics": "a"}}, {"routes": {"/": "a"}},
    {"routes": {"/a//b": "a"}}, {"routes": {"/a?b": "a"}}, {"routes": {"/x{id}": "a"}}, {"routes": {"/a": "a/*"}},
    {"routes": {"/a": 1}}, {"routes": []}, {"ingest": {"a/": "a"}}, {"ingest": {"../a": "a"}}, {"ingest": {"a": "a//b"}},
    [], "x", None,
]  # fmt: skip

# What only the reader knows: two keys that do not go together.
WRONG_TOGETHER = [
    channel(state={"upsert": {"a": "/a"}, "replace": ["a"]}),
    {"routes": {"/a/{x}": "{y}"}},
    {"routes": {"/a/{x}": "{x}", "/{x}/b": "{x}"}},
    {"ingest": {"{id}": "a"}},
]


@pytest.mark.parametrize("configuration", RIGHT, ids=range(len(RIGHT)))
def test_what_is_right_is_right_for_both(validator, tmp_path, configuration):
    assert [error.message for error in validator.iter_errors(configuration)] == []
    checked = check(tmp_path, configuration)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("configuration", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_wrong_for_both(validator, tmp_path, configuration):
    assert not validator.is_valid(configuration)
    assert check(tmp_path, configuration).returncode == 78


@pytest.mark.parametrize("configuration", WRONG_TOGETHER, ids=range(len(WRONG_TOGETHER)))
def test_the_check_knows_more(validator, tmp_path, configuration):
    assert validator.is_valid(configuration)
    checked = check(tmp_path, configuration)
    assert checked.returncode == 78 and re.search(rb"fanout\.json:1:[0-9]+: ", checked.stderr)


def test_every_key_has_a_description_or_is_a_choice_that_has_one(schema):
    def walk(node):
        for name, value in node.get("properties", {}).items():
            target = schema["$defs"].get(value.get("$ref", "").rpartition("/")[2], {})
            assert "description" in value or "description" in target or target.get("type") == "object", name
            walk(value)
        for part in node.get("anyOf", []):
            walk(part)

    walk(schema)
    for definition in schema["$defs"].values():
        walk(definition)


def documented():
    """The configurations in the documents and the examples."""
    found = []
    for name in ["README.md", "EVENTS.md"]:
        texts = re.findall(r"<< 'END'\n(\{.*?)\nEND\n", (ROOT / name).read_text(), re.DOTALL)
        for number, text in enumerate(texts):
            if "fanout.json" in (ROOT / name).read_text().partition(text)[0][-60:]:
                found.append(pytest.param(json.loads(text), id=f"{name}-{number}"))
    assert found, "the documents have no configuration any more, or say it in another way"
    for path in sorted((ROOT / "examples").glob("*/fanout.json")):
        found.append(pytest.param(json.loads(path.read_text()), id=path.parent.name))
    return found


@pytest.mark.parametrize("configuration", documented())
def test_documented_configurations_are_right(validator, configuration):
    assert [error.message for error in validator.iter_errors(configuration)] == []
