"""One store per backend: whatever passes as `store` here has to pass every test in this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vedette_backends.store.embedded import open_store
from vedette_backends.store.protocol import NewEvent, Store

T0 = 1_795_348_800_000
"""2026-11-22T12:00:00Z: no test depends on the clock of the machine."""

MakeEvent = Callable[..., NewEvent]


@pytest.fixture(params=["embedded"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store that creates events."""
    assert request.param == "embedded"
    opened = open_store(tmp_path / "ns" / "shop", writer=True, clock=lambda: T0)
    yield opened
    opened.close()


@pytest.fixture
def make_event() -> MakeEvent:
    """Builds an event from a number: its id, and, unless given, seconds after T0."""

    def make(number: int, document: dict[str, Any] | None = None, **changes: Any) -> NewEvent:
        time = changes.pop("time", T0 + number * 1000)
        values: dict[str, Any] = {
            "id": f"{number:032x}",
            "ingested": time,
            "time": time,
            "hash": f"hash of {number}",
            "document": document if document is not None else {"event.dataset": "test"},
        }
        return NewEvent(**{**values, **changes})

    return make
