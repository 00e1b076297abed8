"""Parsers: what reads the content of a record of a known program further, by the name in `LogSource.spec.parser`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vedette_engine.normalise.cloudtrail import read_cloudtrail, split_cloudtrail
from vedette_engine.normalise.counters import Counters
from vedette_engine.normalise.flatten import Event
from vedette_engine.normalise.linux_auth import parse_linux_auth


def whole(parsed: Any) -> list[Any]:
    """A message that holds one record."""
    return [parsed]


@dataclass(frozen=True, slots=True)
class Parser:
    """One parser; it has `read` or `parse`.

    Attributes:
        read: takes the place of the format's reader, for programs that write one JSON object per event.
        parse: reads the event that the format's reader made further, in place.
        text: works on text, so that a record that is not JSON is a line.
        split: one decoded message to the records that it holds.
    """

    read: Callable[[Mapping[str, Any], Counters], Event] | None = None
    parse: Callable[[Event, Counters], None] | None = None
    text: bool = False
    split: Callable[[Any], list[Any]] = whole


PARSERS: Mapping[str, Parser] = {
    "linux.auth": Parser(parse=parse_linux_auth, text=True),
    "aws.cloudtrail": Parser(read=read_cloudtrail, split=split_cloudtrail),
}
"""`LogSource.spec.parser` → parser."""
