"""One enrichment operation, and how it is made from a manifest.

A new operation is one file with a factory of this kind and one line in `vedette_engine.enrich.registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vedette_engine.normalise.flatten import Event
from vedette_engine.normalise.names import is_reserved


@dataclass(frozen=True, slots=True)
class Operation:
    """What runs on an event.

    Attributes:
        apply: changes the event in place; True when it added or changed something, False for a miss. It changes
            nothing when it raises EnrichmentError, and never changes a value in place: values may be shared.
        reads: fields that it could not read when it failed; removed with `onFailure: drop-field`.
    """

    apply: Callable[[Event], bool]
    reads: tuple[str, ...] = ()


Factory = Callable[[Any, bytes | None], Operation]
"""(the operation's part of the spec, bytes of its table or None) → operation. Raises TableError, ValueError."""

Options = Mapping[str, Any]


def require_free(names: Iterable[str]) -> None:
    """Raises ValueError for a field that enrichments may not touch."""
    for name in names:
        if name == "@timestamp" or is_reserved(name):
            raise ValueError(f"{name} is set by Vedette alone")
