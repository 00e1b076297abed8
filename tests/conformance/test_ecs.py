"""Agreement with Elastic's own expected documents, on the core fields of the formats that Vedette reads.

Differences are explained in EXPLAINED, by data set and field; everything else has to be equal.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from vedette_engine.normalise.document import OTHER
from vedette_engine.normalise.normaliser import Normaliser
from vedette_engine.normalise.source import SourceConfig
from vedette_engine.normalise.times import parse_time

SOURCES = {
    "system.auth": ("syslog", "linux.auth"),
    "system.syslog": ("syslog", ""),
    "system.security": ("windowsEvent", ""),
    "aws.cloudtrail": ("json", "aws.cloudtrail"),
}
FLOORS = {"system.auth": 0.95, "system.syslog": 0.85, "system.security": 0.95, "aws.cloudtrail": 0.94}

CORE = frozenset(
    f"event.{name}" for name in ("action", "category", "type", "outcome", "kind", "code", "provider", "id")
) | {"@timestamp"}
CORE_PREFIXES = (
    "source.",
    "destination.",
    "user.",
    "process.",
    "url.",
    "http.",
    "host.",
    "network.",
    "group.",
    "cloud.",
)

EXPLAINED: Mapping[tuple[str, str], str] = {
    (
        "aws.cloudtrail",
        "cloud.account.id",
    ): "only recipientAccountId is mapped; the caller's account may be another one",
    ("aws.cloudtrail", "event.category"): "no table of all AWS actions; IAM and logins only",
    ("aws.cloudtrail", "event.type"): "the same; the type follows from the first word of the action",
    ("aws.cloudtrail", "user.target.id"): "not taken from the answer",
    ("system.auth", "process.name"): "a header without a host",
    ("system.auth", "process.pid"): "a header without a host",
    ("system.auth", "user.id"): "`by (uid=0)` is the process that opened the session, not the user",
    (
        "system.auth",
        "user.name",
    ): "Elastic writes an empty name where PAM names nobody; the user of the session is ours",
    ("system.security", "event.action"): "the sender's own event.action stays",
    ("system.security", "process.args"): "command lines are not split",
    ("system.security", "process.executable"): "`-` is not copied",
    ("system.security", "process.name"): "`-` is not copied",
    ("system.security", "process.parent.name"): "not derived",
    ("system.security", "source.ip"): "IPv4 inside IPv6 stays as it was written",
    ("system.security", "user.domain"): "user_data of 1102 is not copied",
    ("system.security", "user.effective.id"): "not copied",
    ("system.security", "user.id"): "user_data of 1102 is not copied",
    ("system.security", "user.name"): "user_data of 1102 is not copied; `user@DOMAIN` is not split",
    ("system.security", "user.target.domain"): "distinguished names of members are not taken apart",
    ("system.security", "user.target.group.domain"): "the group is group.*",
    ("system.security", "user.target.group.id"): "the group is group.*",
    ("system.security", "user.target.group.name"): "the group is group.*",
    ("system.security", "user.target.name"): "distinguished names of members are not taken apart",
    ("system.syslog", "event.kind"): "plain syslog is not interpreted",
}


def leaves(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in nested.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        elif value not in (None, []):
            yield prefix + name, value


def is_core(name: str) -> bool:
    return (name in CORE or name.startswith(CORE_PREFIXES)) and ".geo." not in name and ".as." not in name


def agrees(name: str, got: Any, expected: Any) -> bool:
    if name == "@timestamp":
        return parse_time(got) == parse_time(expected)
    mine, theirs = (value if isinstance(value, list) else [value] for value in (got, expected))
    return sorted(map(str, mine)) == sorted(map(str, theirs))


def cases(shared_data: Path, dataset: str) -> Iterator[dict[str, Any]]:
    with gzip.open(shared_data / "ecs" / "elastic_cases.jsonl.gz") as lines:
        for line in lines:
            case = json.loads(line)
            if case["dataset"] == dataset and case["expected"] is not None:
                yield case


@pytest.mark.parametrize("dataset", SOURCES)
def test_core_fields_are_those_that_elastic_expects(shared_data: Path, dataset: str) -> None:
    form, parser = SOURCES[dataset]
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for case in cases(shared_data, dataset):
        worker = Normaliser(SourceConfig("test", "test", form, parser))
        near = parse_time(case["expected"].get("@timestamp")) or 0
        event = worker.normalise(json.dumps(case["input"]).encode(), case["input"], near)
        document = worker.document(event)
        for name, expected in leaves(case["expected"]):
            if is_core(name):
                (right if agrees(name, document.get(name), expected) else wrong)[name] += 1
    unexplained = {name: times for name, times in wrong.items() if (dataset, name) not in EXPLAINED}
    assert not unexplained
    assert right.total() / (right.total() + wrong.total()) >= FLOORS[dataset], wrong


def test_every_explanation_is_still_needed(shared_data: Path) -> None:
    found: set[tuple[str, str]] = set()
    for dataset, (form, parser) in SOURCES.items():
        for case in cases(shared_data, dataset):
            worker = Normaliser(SourceConfig("test", "test", form, parser))
            near = parse_time(case["expected"].get("@timestamp")) or 0
            document = worker.document(worker.normalise(b"", case["input"], near))
            found |= {
                (dataset, name)
                for name, expected in leaves(case["expected"])
                if is_core(name) and not agrees(name, document.get(name), expected)
            }
    assert set(EXPLAINED) == found


def test_no_leaf_of_a_cloudtrail_record_is_lost(shared_data: Path) -> None:
    worker = Normaliser(SourceConfig("test", "test", "json", "aws.cloudtrail"))
    with gzip.open(shared_data / "cloud" / "cloudtrail_events.jsonl.gz") as lines:
        for line in lines:
            record = json.loads(line)["event"]
            document = worker.document(worker.normalise(b"", record, 1_700_000_000_000))
            kept = json.dumps([*document.values(), *document[OTHER].values()], ensure_ascii=False)
            for _, value in leaves(record):
                for one in value if isinstance(value, list) else [value]:
                    for text in [one] if isinstance(one, str) else []:
                        assert json.dumps(text, ensure_ascii=False) in kept
    assert set(worker.counters) <= {"events", "empty", "converted"}
