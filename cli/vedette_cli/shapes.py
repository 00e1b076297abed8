"""Which names an event of a file uses: those of its source, or ECS."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from vedette_engine.alerting.ruletests import flatten
from vedette_engine.ecs.catalogue import CATALOGUE
from vedette_engine.normalise.windows import to_ecs


class Shape(enum.Enum):
    """How the fields of an event are called."""

    NATIVE = "native"
    ECS = "ecs"


# Roots that native events have too; a dotted or nested name below them says nothing.
_ECS_ONLY = frozenset({"ecs", "event", "process", "source", "destination", "file", "registry", "dns", "winlog", "user"})


def to_flat(raw: dict[str, Any]) -> tuple[Shape, dict[str, Any]]:
    """The shape of an event, and the event as the engine wants it.

    Events of evtx_dump and Winlogbeat are normalised; ECS ones are flattened; all others stay as they are.
    """
    event = raw.get("Event")
    if isinstance(event, Mapping) and "System" in event:
        return Shape.ECS, to_ecs(raw)
    if "event_data" in raw or isinstance(raw.get("winlog"), Mapping) or "winlog.channel" in raw:
        return Shape.ECS, flatten(raw) if "event.code" in raw else to_ecs(raw)
    if _flat_ecs(tuple(raw)):
        return Shape.ECS, flatten(raw)
    if any(isinstance(raw.get(root), Mapping) for root in _ECS_ONLY) and any(map(CATALOGUE.__contains__, flatten(raw))):
        return Shape.ECS, flatten(raw)
    return Shape.NATIVE, raw


@lru_cache(maxsize=4096)
def _flat_ecs(names: tuple[str, ...]) -> bool:
    return any("." in name and name in CATALOGUE for name in names)
