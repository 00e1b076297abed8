"""The status of a source: counters are written when they changed, and not more often than asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_backends.store.protocol import Heartbeat
from vedette_operator.observe import Observer, Patience
from vedette_operator.space import Known, Space
from vedette_operator.verdict import Verdict

START = 1_800_000_000_000
EVERY = 300_000
KEY = Key("LogSource", "shop", "web")


class Desk:
    """An operator that looks at one source whose worker beats whenever it looks."""

    def __init__(self, store: EmbeddedStore) -> None:
        self.store = store
        self.now = START
        self.letters = 0
        self.begin({})

    def begin(self, status: Mapping[str, Any]) -> None:
        """An operator that starts, and finds this status."""
        self.observer = Observer(lambda: self.now, Patience(stats=EVERY))
        self.space = Space("shop", None)
        manifest = {"metadata": {"name": "web"}, "spec": {"silence": {"after": "365d"}}}
        self.space.objects["LogSource"]["web"] = Known(Object(KEY, manifest, status, 1, 1), Verdict((), {}))

    def look(self, seconds: float = 0) -> list[dict[str, Any]]:
        """Statuses to write, so much later."""
        self.now += int(seconds * 1000)
        counters = {"rate": 0.0, "lag_ms": 0, "dead_letters": self.letters, "last_event": START, "last_ingested": START}
        body = {"role": "pipeline", "bundle": "", "sources": {"web": counters}}
        self.store.put_heartbeat(Heartbeat("pipeline", "1", self.now, body))
        return [dict(status) for key, status in self.observer.observe(self.space, self.store) if key == KEY]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = open_store(tmp_path / "store", writer=True)
    yield Desk(store)
    store.close()


def test_counters_that_changed_are_written_when_their_time_has_come(desk: Desk) -> None:
    assert [status["stats"]["deadLetters"] for status in desk.look()] == [0]
    desk.letters = 3
    assert desk.look(EVERY / 2000) == []
    assert [status["stats"]["deadLetters"] for status in desk.look(EVERY / 2000)] == [3]


def test_counters_that_stay_are_never_written_again(desk: Desk) -> None:
    assert len(desk.look()) == 1
    for _ in range(5):
        assert desk.look(EVERY / 1000) == []
    desk.letters = 1
    # They were due all the time.
    assert len(desk.look(1)) == 1


def test_an_operator_that_starts_leaves_a_status_that_is_as_it_should_be(desk: Desk) -> None:
    (status,) = desk.look()
    desk.begin(status)
    assert desk.look(1) == []
    desk.letters = 1
    assert [each["stats"]["deadLetters"] for each in desk.look(EVERY / 1000)] == [1]


def test_what_could_not_be_written_is_written_later(desk: Desk) -> None:
    assert len(desk.look()) == 1
    assert desk.look(1) == []
    desk.observer.forget([KEY])
    assert len(desk.look(1)) == 1


def test_the_workers_of_a_new_namespace_are_starting_before_they_are_missing(desk: Desk) -> None:
    desk.now += 60_000  # the operator has run for a while

    def available() -> list[str]:
        written = [status["conditions"] for _, status in desk.observer.observe(desk.space, desk.store)]
        return [one["reason"] for conditions in written for one in conditions if one["type"] == "Available"]

    assert available() == ["Starting"]
    desk.now += Patience().starting
    assert available() == ["NoWorkers"]
    desk.look()
    desk.now += Patience().alive
    assert available() == ["NoWorkers"]
