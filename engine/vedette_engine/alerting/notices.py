"""Notices: which stored alerts ask for an incident. The pipeline publishes them, the responder reads them.

A message is a JSON list of notices, each `[alert, rule, time, group, within]`, and the headers `v` and `kind`. It holds
up to 500 of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from vedette_engine.alerting.ids import digest

VERSION: Final = "1"
READABLE: Final = frozenset({"1"})
KIND: Final = "alerts"
MAX_NOTICES: Final = 500
MAX_GROUP: Final = 512
"""Characters of a group; a longer one is replaced by its digest."""
MAX_WITHIN: Final = 10**13
_LARGEST_TIME: Final = 2**63


class NoticeError(ValueError):
    """A message that is not one of ours, or was written by a version that this one does not know."""


class Notice(NamedTuple):
    """One alert whose rule opens incidents by itself.

    Attributes:
        alert: its id.
        rule: the AlertRule.
        time: event time, ms since the epoch.
        group: what alerts share that belong into one incident; `group_of` of the rule's fields.
        within: ms of event time after the first alert of an incident in which others of the group join it.
    """

    alert: str
    rule: str
    time: int
    group: str
    within: int


def group_of(values: Sequence[Any]) -> str:
    """One text for the values of the fields that a rule groups by; None stands for a field that is not there.

    A list counts as the set of its values, and numbers as their text: `4711` and `"4711"` are one group.
    """
    text = orjson.dumps([_plain(value) for value in values]).decode()
    return text if len(text) <= MAX_GROUP else digest("group", text)


def _plain(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, list):
        return sorted({str(_plain(item)) for item in value})
    try:
        text = str(value).lower() if isinstance(value, bool) else str(value)
    except ValueError:  # an integer of thousands of digits
        text = hex(value)
    return text.encode("utf-8", "replace").decode()


def encode(notices: Sequence[Notice]) -> Iterator[tuple[bytes, dict[str, str]]]:
    """(body, headers) of the messages that carry them, in order; equal ones are told once."""
    distinct = list(dict.fromkeys(notices))
    for start in range(0, len(distinct), MAX_NOTICES):
        part = distinct[start : start + MAX_NOTICES]
        yield orjson.dumps([list(notice) for notice in part]), {"v": VERSION, "kind": KIND}


def decode(body: bytes, headers: Mapping[str, str]) -> list[Notice]:
    """The notices of a message.

    Raises:
        NoticeError: it is none of ours, or not whole.
    """
    if headers.get("kind") != KIND or headers.get("v") not in READABLE:
        version, kind = headers.get("v", "")[:20], headers.get("kind", "")[:20]
        raise NoticeError(f"kind {kind!r} in format {version!r} is no message of notices that this version reads")
    try:
        notices = [Notice(*item) for item in orjson.loads(body)]
    except (orjson.JSONDecodeError, TypeError) as error:
        raise NoticeError(f"the notices cannot be read: {error}") from error
    if len(notices) > MAX_NOTICES or not all(map(_is_sound, notices)):
        raise NoticeError("the message holds what no notice says")
    return notices


def _is_sound(notice: Notice) -> bool:
    texts = (notice.alert, notice.rule, notice.group)
    numbers = (notice.time, notice.within)
    if not all(type(text) is str and len(text) <= MAX_GROUP for text in texts):
        return False
    if not all(type(number) is int for number in numbers):
        return False
    return bool(notice.alert and notice.rule and abs(notice.time) <= _LARGEST_TIME and 0 <= notice.within <= MAX_WITHIN)
