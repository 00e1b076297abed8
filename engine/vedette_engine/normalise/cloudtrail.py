"""CloudTrail records to ECS: `aws.cloudtrail.<path>` in CloudTrail's own spelling, and the ECS names beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from vedette_engine.detect.fields import CLOUDTRAIL, CLOUDTRAIL_PREFIX
from vedette_engine.normalise.counters import Counters
from vedette_engine.normalise.flatten import Event, flatten, put
from vedette_engine.normalise.types import MISMATCH, check_ip

_RENAMES = {CLOUDTRAIL_PREFIX + path: name for path, name in CLOUDTRAIL.items()}

_COPIES = {
    "eventTime": "@timestamp",
    "eventID": "event.id",
    "sourceIPAddress": "source.address",
    "userIdentity.userName": "user.name",
    "userIdentity.sessionContext.sessionIssuer.userName": "user.name",
    "userIdentity.principalId": "user.id",
    "errorMessage": "error.message",
    "errorCode": "error.code",
    "tlsDetails.tlsVersion": "tls.version",
    "tlsDetails.cipherSuite": "tls.cipher",
}
"""Path → ECS name that holds the same value besides; the first one found wins."""

_LOGINS = frozenset({"ConsoleLogin", "AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "GetSessionToken",
                     "GetFederationToken", "GetSigninToken", "SwitchRole", "ExitRole", "RenewRole"})  # fmt: skip
_CHANGES: Mapping[str, str] = {
    "Create": "creation",
    "Run": "creation",
    "Delete": "deletion",
    "Terminate": "deletion",
    **dict.fromkeys(
        ("Add", "Update", "Put", "Attach", "Detach", "Remove", "Change", "Deactivate", "Enable", "Disable", "Upload",
         "Modify", "Set", "Start", "Stop", "Authorize", "Revoke", "Tag", "Untag"),
        "change",
    ),
}  # fmt: skip
"""First word of an action → ECS type; what is not here only looks."""
_REQUEST = CLOUDTRAIL_PREFIX + "requestParameters."


def split_cloudtrail(parsed: Any) -> list[Any]:
    """The records of a delivered file (`{"Records": […]}`), or the one record."""
    if isinstance(parsed, dict) and isinstance(parsed.get("Records"), list):
        return list(parsed["Records"])
    return [parsed]


def read_cloudtrail(record: Mapping[str, Any], counters: Counters) -> Event:
    """The flat event of one record; a record that a shipper carries as text in `message` is unpacked."""
    inner = _unpack(record)
    event = flatten(record if inner is None else inner, counters, CLOUDTRAIL_PREFIX)
    for path, name in _RENAMES.items():
        if path in event:
            event[name] = event.pop(path)
    for path, name in _COPIES.items():
        value = event.get(CLOUDTRAIL_PREFIX + path)
        if isinstance(value, str) and name not in event:
            event[name] = value
    _interpret(event)
    if inner is not None:
        for name, value in flatten(record, counters).items():
            if name != "message":
                put(event, name if name != "@timestamp" else "event.created", value, counters)
    return event


def _unpack(record: Mapping[str, Any]) -> dict[str, Any] | None:
    message = record.get("message")
    if "eventName" in record or not isinstance(message, str) or not message.startswith("{"):
        return None
    try:
        inner = orjson.loads(message)
    except orjson.JSONDecodeError:
        return None
    return inner if isinstance(inner, dict) else None


def _interpret(event: Event) -> None:
    event["event.kind"] = "event"
    event["cloud.provider"] = "aws"
    address = event.get("source.address")
    if check_ip(address) is not MISMATCH:
        event["source.ip"] = address
    failed = "error.code" in event or event.get(f"{CLOUDTRAIL_PREFIX}responseElements.ConsoleLogin") == "Failure"
    event["event.outcome"] = "failure" if failed else "success"
    action = event.get("event.action")
    if isinstance(action, str):
        _classify(action, event)


def _classify(action: str, event: Event) -> None:
    verb = next((verb for verb in _CHANGES if action.startswith(verb)), "")
    kind = _CHANGES.get(verb, "info")
    if action in _LOGINS:
        event["event.category"] = ["authentication"]
        event["event.type"] = ["info"]
    elif event.get("event.provider") == "iam.amazonaws.com":
        user, group = event.get(f"{_REQUEST}userName"), event.get(f"{_REQUEST}groupName")
        about_group = "Group" in action
        subject = "group" if about_group else "user" if user or action in _ABOUT_USERS else None
        event["event.category"] = ["iam"]
        event["event.type"] = [subject, kind] if subject else [kind]
        if isinstance(user, str):
            event["user.target.name"] = user
        if isinstance(group, str):
            event["group.name"] = group
    else:
        event["event.type"] = [kind]


_ABOUT_USERS = frozenset({"ChangePassword", "UpdateAccountPasswordPolicy", "CreateVirtualMFADevice"})
