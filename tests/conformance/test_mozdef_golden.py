"""What MozDef's own pipeline was given loses nothing here, where MozDef dropped unknown keys and string epochs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vedette_engine.normalise.document import OTHER
from vedette_engine.normalise.normaliser import Normaliser
from vedette_engine.normalise.source import SourceConfig
from vedette_engine.normalise.times import format_time, parse_time


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    if isinstance(value, str) and value.startswith("{"):
        try:
            return leaves(json.loads(value))
        except ValueError:
            return [value]
    return [] if value is None else [value]


def test_every_leaf_of_every_golden_message_is_in_the_document(shared_data: Path) -> None:
    worker = Normaliser(SourceConfig("test", "test", "mozdef"))
    messages = 0
    for line in (shared_data / "mozdef" / "pipeline_golden.jsonl").read_text().splitlines():
        case = json.loads(line)
        message = case["input_message"]
        now = parse_time(case["now"])
        assert now is not None
        event = worker.normalise(b"", message, now)
        document = worker.document(event)
        assert document.pop("event.ingested") == format_time(now)
        kept = {str(leaf) for leaf in [*leaves(document), *leaves(event)]}
        times = {parse_time(leaf) for leaf in leaves(document)}
        for leaf in leaves(message):
            assert str(leaf) in kept or parse_time(leaf, near=now) in times
        messages += 1
    assert messages > 50


def test_times_are_those_that_mozdef_read(shared_data: Path) -> None:
    compared = 0
    for line in (shared_data / "mozdef" / "function_cases.jsonl").read_text().splitlines():
        case = json.loads(line)
        if case["function"] != "mozdef_util.utilities.toUTC":
            continue
        written = case["args"][0]
        if isinstance(written, str) and written.startswith("-"):
            assert parse_time(written) is None  # MozDef made the epoch of it
        else:
            assert parse_time(written) == parse_time(case["returns"])
            compared += 1
    assert compared > 5


def test_where_mozdef_indexed_an_event_the_main_fields_are_the_same(shared_data: Path) -> None:
    worker = Normaliser(SourceConfig("test", "test", "mozdef"))
    compared = 0
    for line in (shared_data / "mozdef" / "pipeline_golden.jsonl").read_text().splitlines():
        case = json.loads(line)
        message, expected = case["input_message"], case["document"]
        if not expected or not {"summary", "hostname"} <= set(message):
            continue
        document = worker.document(worker.normalise(b"", message, parse_time(case["now"]) or 0))
        assert document["message"] == expected["summary"]
        assert document["host.name"] == expected["hostname"]
        assert document["log.level"] == expected["severity"]
        assert document[OTHER]["mozdef.category"] == expected["category"]
        if "utctimestamp" in message:
            assert parse_time(document["@timestamp"]) == parse_time(expected["utctimestamp"])
        compared += 1
    assert compared >= 5
