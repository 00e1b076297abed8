"""`set`: fields and the values that they get."""

from __future__ import annotations

from typing import Any

from vedette_engine.enrich.operation import Operation, Options, require_free
from vedette_engine.normalise.flatten import Event

_SCALARS = (str, int, float)


def make_set(options: Options, _table: bytes | None) -> Operation:
    """`{field: value}`; a value is text, a number, true, false, or a list of those."""
    require_free(options)
    for name, value in options.items():
        if not _is_leaf(value):
            raise ValueError(f"{name} can be text, a number, true, false or a list of those")
    fields = dict(options)

    def apply(event: Event) -> bool:
        event.update(fields)
        return True

    return Operation(apply)


def _is_leaf(value: Any) -> bool:
    return all(isinstance(one, _SCALARS) for one in value) if isinstance(value, list) else isinstance(value, _SCALARS)
