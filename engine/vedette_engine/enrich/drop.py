"""`drop`: fields to remove."""

from __future__ import annotations

from collections.abc import Sequence

from vedette_engine.enrich.operation import Operation, require_free
from vedette_engine.normalise.flatten import Event


def make_drop(fields: Sequence[str], _table: bytes | None) -> Operation:
    """A list of names."""
    require_free(fields)
    names = tuple(fields)

    def apply(event: Event) -> bool:
        dropped = False
        for name in names:
            if name in event:
                del event[name]
                dropped = True
        return dropped

    return Operation(apply)
