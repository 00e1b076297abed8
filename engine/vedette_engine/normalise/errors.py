"""What a record can do wrong so badly that no event can be made of it."""

from __future__ import annotations


class Malformed(Exception):  # noqa: N818 # the dead letter's reason starts with this word
    """The record becomes a dead letter.

    Attributes:
        reason: `MalformedJson` | `NotAnObject` | `TooDeep` | `TooLarge`.
        detail: one sentence for people; never holds more than a short excerpt of the record.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
