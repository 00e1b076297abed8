"""Effects reach the store once, whatever fails meanwhile, and only then is a message acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vedette_backends.broker.protocol import Consumer
from vedette_backends.errors import BackendError, RefusedError, UnavailableError
from vedette_backends.store.protocol import AlertFilter
from vedette_engine.wire import decode
from vedette_workers.pipeline import committer as module
from vedette_workers.pipeline.committer import Batch, Committer
from vedette_workers.pipeline.effects import Arrival

Manifest = Callable[..., str]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed commits are tried again at once."""
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)


@pytest.fixture
def batch_of(line: Any) -> Callable[[Consumer], Batch]:
    """What waits in the queues, processed."""

    def take(consumer: Consumer) -> Batch:
        batch = Batch()
        for delivery in consumer.fetch(100, 5):
            message = decode("shop", delivery.body, delivery.headers)
            for record in message.records:
                line.processor.process(
                    record, Arrival(message.source, message.ingested, 1, delivery.redelivered), batch.effects
                )
            batch.tags.append((consumer, delivery.tag))
        return batch

    return take


@pytest.fixture
def two_classes(space: Any, line: Any, make_source: Manifest, make_rule: Manifest) -> None:
    manifests = (make_source("app"), make_source("web", retention="7d"), make_rule())
    space.publish(space.bundle(*manifests))
    line.load(*manifests)


def commit(space: Any, line: Any, store: Any, batch: Batch) -> Committer:
    made = Committer(store, space.broker, line.processor.counters)
    assert made.commit(batch)
    return made


@pytest.mark.parametrize("late", [(), "all"], ids=["before the work", "after the work"])
@pytest.mark.parametrize("method", ["create_events", "create_alerts", "put_dead_letters"])
@pytest.mark.parametrize("error", [UnavailableError("gone"), RefusedError("read-only")], ids=["gone", "refused"])
@pytest.mark.usefixtures("two_classes")
def test_a_failing_store_neither_loses_nor_doubles_anything(
    space: Any, line: Any, batch_of: Any, unavailable: Any, method: str, error: BackendError, late: str | tuple[()]
) -> None:
    space.send(b'{"event":{"action":"marked"}}', b"{}", b"broken", keyed=False)
    space.send(b"{}", source="web", keyed=False)
    consumer = space.broker.consume(["events.app", "events.web"], prefetch=10)
    store = unavailable(space.store, {method: [error, error]}, [method] if late else [])
    made = commit(space, line, store, batch_of(consumer))
    assert store.failures == {method: []}
    assert made.problem == ""
    assert space.count() == 3
    assert [letter.reason for letter in space.letters()] == ["MalformedJson"]
    assert space.store.search_alerts(AlertFilter()).total == 1
    assert space.drained("app")
    assert space.drained("web")


@pytest.mark.usefixtures("two_classes")
def test_what_was_stored_before_a_failure_is_not_stored_again(
    space: Any, line: Any, batch_of: Any, unavailable: Any
) -> None:
    """The first retention class is written, then the second fails: unkeyed events are not looked up by themselves."""
    space.send(b"{}", b"{}", keyed=False)
    space.send(b"{}", source="web", keyed=False)
    consumer = space.broker.consume(["events.app", "events.web"], prefetch=10)
    store = unavailable(space.store, {"create_events": []})
    calls: list[str] = []
    real = space.store.create_events

    def create(retention: str, events: Any) -> Any:
        calls.append(retention)
        if len(calls) == 2:
            raise UnavailableError("the disk is full")
        return real(retention, events)

    store.create_events = create
    commit(space, line, store, batch_of(consumer))
    assert space.count() == 3
    totals = line.processor.counters.totals
    assert (totals["events"], totals["stored"], totals["duplicates"]) == (3, 3, 0)


@pytest.mark.usefixtures("two_classes")
def test_alerts_that_were_written_before_a_failure_are_counted(
    space: Any, line: Any, batch_of: Any, unavailable: Any
) -> None:
    space.send(b'{"event":{"action":"marked"}}')
    consumer = space.broker.consume(["events.app"], prefetch=10)
    store = unavailable(space.store, {"create_events": [UnavailableError("gone")]})
    commit(space, line, store, batch_of(consumer))
    assert line.processor.counters.totals["alerts"] == 1
    assert line.processor.counters.to_json(1)["rules"]["marked"]["alerts"] == 1


@pytest.mark.usefixtures("two_classes")
def test_nothing_is_acknowledged_before_it_is_stored(space: Any, line: Any, batch_of: Any, unavailable: Any) -> None:
    space.send(b"{}")
    consumer = space.broker.consume(["events.app"], prefetch=10)
    store = unavailable(space.store, {"create_events": [UnavailableError("gone")] * 100_000})
    made = Committer(store, space.broker, line.processor.counters)
    made.give_up()
    assert not made.commit(batch_of(consumer))
    assert space.count() == 0
    assert space.broker.stats("events.app").unacked == 1
    consumer.close()
    assert space.broker.stats("events.app").ready == 1


@pytest.mark.usefixtures("two_classes")
def test_a_repeated_delivery_is_counted_as_duplicate_and_stored_once(space: Any, line: Any, batch_of: Any) -> None:
    for _ in range(2):
        space.send(b'{"event":{"action":"marked"}}', key="same")
    consumer = space.broker.consume(["events.app"], prefetch=10)
    commit(space, line, space.store, batch_of(consumer))
    totals = line.processor.counters.totals
    assert space.count() == 1
    assert (totals["events"], totals["stored"], totals["duplicates"], totals["alerts"]) == (2, 1, 1, 1)


@pytest.mark.usefixtures("two_classes")
def test_another_content_under_the_same_key_is_a_dead_letter(space: Any, line: Any, batch_of: Any) -> None:
    for content in (b'{"a":1}', b'{"a":2}', b'{"a":3}', b'{"a":2}'):
        space.send(content, key="same")
    consumer = space.broker.consume(["events.app"], prefetch=10)
    commit(space, line, space.store, batch_of(consumer))
    (stored,) = space.events()
    assert stored.document["vedette.other"]["a"] == 1
    letters = space.letters()
    assert {letter.reason for letter in letters} == {"IdCollision"}
    assert sorted(letter.original for letter in letters) == [b'{"a":2}', b'{"a":3}']


@pytest.mark.usefixtures("two_classes")
def test_a_fault_of_the_program_acknowledges_nothing(space: Any, line: Any, batch_of: Any, unavailable: Any) -> None:
    space.send(b"{}")
    consumer = space.broker.consume(["events.app"], prefetch=10)
    store = unavailable(space.store, {"create_events": [ZeroDivisionError()]})
    made = Committer(store, space.broker, line.processor.counters)
    with pytest.raises(ZeroDivisionError):
        made.commit(batch_of(consumer))
    assert space.broker.stats("events.app").unacked == 1
