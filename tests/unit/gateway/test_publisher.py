from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from vedette_backends.broker.protocol import Broker, Message
from vedette_backends.errors import BackendError, FullError, UnavailableError
from vedette_engine.wire import decode
from vedette_workers.gateway.errors import Unavailable
from vedette_workers.gateway.limits import InFlight
from vedette_workers.gateway.metrics import Metrics
from vedette_workers.gateway.publisher import Publisher, messages
from vedette_workers.gateway.records import Key, Parsed, parse_events
from vedette_workers.gateway.settings import Settings
from vedette_workers.gateway.sources import Limits, Source

WEB = Source("shop", "web", text=False, queue="events.web", limits=Limits())
AUTH = Source("shop", "auth", text=True, queue="events.auth", limits=Limits())


def parsed(count: int, key: str = "k", *, text: bool = False) -> Parsed:
    body = b'{"a":1}\n' * count
    return parse_events(
        body, Key(key, given=False), text=text, json_type=False, max_event_bytes=100, settings=Settings()
    )


class Gate:
    """The real broker behind a gate: a fault that a test opens and closes, and a record of every call."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.error: Exception | None = None
        self.calls: list[list[Message]] = []

    def publish(self, batch: Sequence[Message]) -> None:
        self.entered.set()
        assert self.open.wait(30)
        self.calls.append(list(batch))
        if self.error is not None:
            raise self.error
        self._broker.publish(batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)


@pytest.fixture
def gate(site: Any) -> Gate:
    return Gate(site.broker("shop"))


def lane(gate: Gate, **settings: Any) -> tuple[Publisher, Callable[[Source, Parsed], Any], InFlight, Metrics]:
    limits, metrics = Settings(**settings), Metrics()
    flight = InFlight(limits)
    brokers: Callable[[str], Any] = lambda _: gate  # noqa: E731 # a broker for every namespace
    publisher = Publisher(brokers, limits, metrics, now=lambda: 17)

    def submit(source: Source, request: Parsed) -> Any:
        held = flight.open(source.key)
        held.grow(request.size)
        return publisher.submit(source, request, held)

    return publisher, submit, flight, metrics


def run(work: Callable[[], Any]) -> Any:
    return asyncio.run(work())


def test_requests_that_wait_go_out_together_in_one_call_and_one_message_per_source(gate: Gate, site: Any) -> None:
    async def work() -> None:
        publisher, submit, flight, _ = lane(gate)
        gate.open.clear()
        first = asyncio.create_task(submit(WEB, parsed(1, "first")))
        await asyncio.to_thread(gate.entered.wait, 10)
        others = [asyncio.create_task(submit(WEB, parsed(2, str(number)))) for number in range(5)]
        others.append(asyncio.create_task(submit(AUTH, parsed(3, text=True))))
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(first, *others)
        assert flight.total == 0
        await publisher.close()

    run(work)
    assert [len(call) for call in gate.calls] == [1, 2]
    by_queue = {message.queue: decode("shop", message.body, message.headers) for message in gate.calls[1]}
    assert len(by_queue["events.web"].records) == 10
    assert by_queue["events.auth"].kind == "text"
    assert by_queue["events.web"].ingested == 17
    assert len({record.id for record in site.drain()}) == 11


def test_nothing_is_answered_before_the_broker_confirmed(gate: Gate) -> None:
    async def work() -> None:
        publisher, submit, flight, _ = lane(gate)
        gate.open.clear()
        task = asyncio.create_task(submit(WEB, parsed(1)))
        await asyncio.to_thread(gate.entered.wait, 10)
        assert not task.done()
        assert flight.total > 0
        gate.open.set()
        await task
        await publisher.close()

    run(work)


def test_a_broker_that_does_not_confirm_in_time_gives_503_for_what_waits_and_at_once_for_what_comes(
    gate: Gate, site: Any
) -> None:
    async def work() -> None:
        publisher, submit, flight, _ = lane(gate, confirm=0.05)
        gate.open.clear()
        with pytest.raises(Unavailable, match="may be stored or not"):
            await submit(WEB, parsed(1))
        assert flight.total > 0, "the broker still holds the bytes"
        with pytest.raises(Unavailable, match="does not confirm"):
            await submit(WEB, parsed(1))
        gate.open.set()
        while flight.total:
            await publisher.idle()
        await submit(WEB, parsed(2))
        await publisher.close()

    run(work)
    assert len(site.drain()) == 3, "the first was stored after all"


def test_a_request_that_was_given_up_while_it_waited_is_not_published(gate: Gate, site: Any) -> None:
    async def work() -> None:
        publisher, submit, flight, _ = lane(gate, confirm=0.2)
        gate.open.clear()
        first = asyncio.create_task(submit(WEB, parsed(1)))
        await asyncio.to_thread(gate.entered.wait, 10)
        second = asyncio.create_task(submit(WEB, parsed(5)))
        outcomes = await asyncio.gather(first, second, return_exceptions=True)
        assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
        gate.open.set()
        while flight.total:
            await publisher.idle()
        await publisher.close()

    run(work)
    assert len(site.drain()) == 1


@pytest.mark.parametrize("error", [UnavailableError("gone"), BackendError("other"), RuntimeError("a bug")])
def test_a_failing_broker_gives_503_and_the_lane_lives_on(gate: Gate, site: Any, error: Exception) -> None:
    async def work() -> None:
        publisher, submit, flight, metrics = lane(gate)
        gate.error = error
        with pytest.raises(Unavailable) as refused:
            await submit(WEB, parsed(1))
        assert refused.value.retry_after
        assert metrics.get("publish_errors_total", "shop", type(error).__name__) == 1
        gate.error = None
        await submit(WEB, parsed(2))
        assert flight.total == 0
        await publisher.close()

    run(work)
    assert len(site.drain()) == 2


def test_a_full_queue_refuses_its_own_source_only(gate: Gate, site: Any) -> None:
    gate._broker.declare("events.auth", max_bytes=10)

    async def work() -> None:
        publisher, submit, _, _ = lane(gate)
        gate.open.clear()
        first = asyncio.create_task(submit(WEB, parsed(1)))
        await asyncio.to_thread(gate.entered.wait, 10)
        web = asyncio.create_task(submit(WEB, parsed(2)))
        auth = asyncio.create_task(submit(AUTH, parsed(30, text=True)))
        await asyncio.sleep(0)
        gate.open.set()
        outcomes = await asyncio.gather(first, web, auth, return_exceptions=True)
        assert outcomes[0] is outcomes[1] is None
        assert isinstance(outcomes[2], Unavailable)
        assert isinstance(outcomes[2].__cause__, FullError)
        assert "full" in outcomes[2].reason
        await publisher.close()

    run(work)
    assert len(site.drain()) == 3
    assert site.drain("shop", "auth") == []


def test_a_queue_that_is_not_declared_yet_gives_503(site: Any) -> None:
    with site.client() as client:
        broker = site.broker("shop")
        broker.delete("events.web")
        assert client.post("/events", b"{}").status_code == 503
        broker.declare("events.web")
        assert client.post("/events", b"{}").status_code == 200
        broker.close()
    assert len(site.drain()) == 1


def test_a_broker_that_cannot_be_opened_gives_503_until_it_can(site: Any) -> None:
    broken = threading.Event()
    broken.set()

    def brokers(namespace: str) -> Any:
        if broken.is_set():
            raise UnavailableError("not yet")
        return site.broker(namespace)

    with site.client(brokers=brokers) as client:
        refused = client.post("/events", b"{}")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert client.post("/_bulk", b'{"create":{}}\n{}\n').json()["status"] == 503
        broken.clear()
        assert client.post("/events", b"{}").status_code == 200


def test_a_broker_that_is_away_does_not_fill_the_log(
    site: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vedette_workers.gateway.publisher.QUIET", 3600.0)

    def brokers(_: str) -> Any:
        raise UnavailableError("away")

    with site.client(brokers=brokers) as client:
        for _ in range(20):
            assert client.post("/events", b"{}").status_code == 503
    assert [record.message for record in caplog.records] == ["publishing in shop failed (and 0 times before): away"]


def test_closing_finishes_what_was_begun_and_takes_nothing_new(gate: Gate, site: Any) -> None:
    async def work() -> None:
        publisher, submit, flight, _ = lane(gate)
        gate.open.clear()
        task = asyncio.create_task(submit(WEB, parsed(1)))
        await asyncio.to_thread(gate.entered.wait, 10)
        closing = asyncio.create_task(publisher.close())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="stopping"):
            await submit(WEB, parsed(1))
        gate.open.set()
        await task
        await closing
        assert flight.total == 0

    run(work)
    assert len(site.drain()) == 1


def test_one_call_of_the_broker_is_bounded(gate: Gate) -> None:
    async def work() -> None:
        publisher, submit, _, _ = lane(gate, max_publish=3000)
        gate.open.clear()
        first = asyncio.create_task(submit(WEB, parsed(1)))
        await asyncio.to_thread(gate.entered.wait, 10)
        others = [asyncio.create_task(submit(WEB, parsed(200))) for _ in range(4)]
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(first, *others)
        await publisher.close()

    run(work)
    sizes = [sum(len(message.body) for message in call) for call in gate.calls]
    assert len(sizes) == 3
    assert max(sizes) <= 3000 + 800


def test_a_brokers_namespace_that_is_gone_is_closed(site: Any) -> None:
    closed = []

    def brokers(namespace: str) -> Any:
        broker = site.broker(namespace)
        original = broker.close

        def close() -> None:
            closed.append(namespace)
            original()

        broker.close = close
        return broker

    async def work() -> None:
        settings, metrics = Settings(), Metrics()
        publisher = Publisher(brokers, settings, metrics)
        await publisher.submit(WEB, parsed(1), InFlight(settings).open(WEB.key))
        publisher.retain({"shop"})
        assert closed == []
        publisher.retain(set())
        await publisher.close()

    run(work)
    assert closed == ["shop"]


def test_messages_hold_one_source_and_at_most_five_hundred_records() -> None:
    made = messages([(WEB, parsed(700, "a")), (AUTH, parsed(1, text=True)), (WEB, parsed(400, "b"))], 5)
    web = [decode("shop", each.body, each.headers) for each in made if each.queue == "events.web"]
    assert [len(batch.records) for batch in web] == [500, 500, 100]
    keys = [(record.key, record.position) for batch in web for record in batch.records]
    assert keys == [("a", number) for number in range(700)] + [("b", number) for number in range(400)]
