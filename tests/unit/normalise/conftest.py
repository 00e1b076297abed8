from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from vedette_engine.normalise.normaliser import Normaliser
from vedette_engine.normalise.source import SourceConfig

NOW = 1_764_000_000_000  # 2025-11-24T16:00:00Z

Normalise = Callable[..., dict[str, Any]]


@pytest.fixture
def normalise() -> Normalise:
    """Normalises one record (text, bytes or object) with a source of the given settings, arriving at NOW."""

    def run(record: Any, **settings: Any) -> dict[str, Any]:
        worker = Normaliser(SourceConfig("shop", "web", **{"format": "json", **settings}))
        raw = (
            record
            if isinstance(record, bytes)
            else record.encode()
            if isinstance(record, str)
            else orjson.dumps(record)
        )
        event = worker.normalise(raw, None, NOW)
        return {**event, "counters": worker.counters}

    return run
