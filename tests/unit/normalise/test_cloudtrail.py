from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from vedette_engine.normalise.normaliser import Normaliser
from vedette_engine.normalise.source import SourceConfig

Normalise = Callable[..., dict[str, Any]]

RECORD: dict[str, Any] = {
    "eventVersion": "1.08",
    "userIdentity": {
        "type": "IAMUser",
        "principalId": "AIDA",
        "userName": "ana",
        "sessionContext": {"sessionIssuer": {}},
    },
    "eventTime": "2025-11-24T15:00:00Z",
    "eventSource": "cloudtrail.amazonaws.com",
    "eventName": "StopLogging",
    "awsRegion": "eu-central-1",
    "sourceIPAddress": "192.0.2.7",
    "userAgent": "aws-cli/2",
    "requestParameters": {"name": "trail", "tags": [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]},
    "responseElements": None,
    "eventID": "293ba626",
    "readOnly": False,
    "recipientAccountId": "123456789012",
}


def test_a_record_keeps_its_paths_and_gains_ecs_names(normalise: Normalise) -> None:
    event = normalise(RECORD, parser="aws.cloudtrail")
    expected = {
        "@timestamp": 1_763_996_400_000,
        "event.action": "StopLogging",
        "event.provider": "cloudtrail.amazonaws.com",
        "event.outcome": "success",
        "event.id": "293ba626",
        "event.type": ["change"],
        "cloud.provider": "aws",
        "cloud.region": "eu-central-1",
        "cloud.account.id": "123456789012",
        "user.name": "ana",
        "user.id": "AIDA",
        "source.ip": "192.0.2.7",
        "source.address": "192.0.2.7",
        "user_agent.original": "aws-cli/2",
        "aws.cloudtrail.sourceIPAddress": "192.0.2.7",
        "aws.cloudtrail.requestParameters.tags.value": ["1", "2"],
        "aws.cloudtrail.readOnly": False,
    }
    assert {name: event.get(name) for name in expected} == expected
    assert event["counters"] == {"events": 1, "empty": 2}


def test_a_service_as_source_is_no_address(normalise: Normalise) -> None:
    event = normalise({**RECORD, "sourceIPAddress": "AWS Internal"}, parser="aws.cloudtrail")
    assert event["source.address"] == event["aws.cloudtrail.sourceIPAddress"] == "AWS Internal"
    assert "source.ip" not in event


@pytest.mark.parametrize(
    "change",
    [{"errorCode": "AccessDenied"}, {"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Failure"}}],
)
def test_errors_and_refused_logins_are_failures(normalise: Normalise, change: dict[str, Any]) -> None:
    assert normalise({**RECORD, **change}, parser="aws.cloudtrail")["event.outcome"] == "failure"


def test_an_iam_change_names_whom_it_is_about(normalise: Normalise) -> None:
    record = {
        **RECORD,
        "eventSource": "iam.amazonaws.com",
        "eventName": "CreateUser",
        "requestParameters": {"userName": "eve"},
    }
    event = normalise(record, parser="aws.cloudtrail")
    assert event["event.category"] == ["iam"]
    assert event["event.type"] == ["user", "creation"]
    assert event["user.name"] == "ana"
    assert event["user.target.name"] == "eve"


def test_a_record_inside_a_message_is_unpacked(normalise: Normalise) -> None:
    event = normalise({"message": orjson.dumps(RECORD).decode(), "agent": {"name": "beat"}}, parser="aws.cloudtrail")
    assert event["event.action"] == "StopLogging"
    assert event["agent.name"] == "beat"
    assert event["@timestamp"] == 1_763_996_400_000


def test_a_delivered_file_is_split_into_its_records() -> None:
    worker = Normaliser(SourceConfig("shop", "trail", "json", "aws.cloudtrail"))
    assert worker.split({"Records": [RECORD, 7]}) == [RECORD, 7]
    assert worker.split(RECORD) == [RECORD]
    assert Normaliser(SourceConfig("shop", "web", "json")).split({"Records": [1]}) == [{"Records": [1]}]
