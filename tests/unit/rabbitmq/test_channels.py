"""Confirms, questions and acks, without a server."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.broker.protocol import Delivery
from vedette_backends.broker.rabbitmq_channels import Batch, Control, Events, Publisher, translated
from vedette_backends.broker.rabbitmq_consumer import RabbitMQConsumer, Unacked, prefetch_per_queue
from vedette_backends.errors import BackendError, FullError, NotFoundError, RefusedError, UnavailableError


class Channel:
    """Remembers what is called and lets the test answer."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.returned: Callable[..., None]
        self.confirmed: Callable[[Any], None]

    def add_on_return_callback(self, callback: Callable[..., None]) -> None:
        self.returned = callback

    def confirm_delivery(self, confirmed: Callable[[Any], None], /, *, callback: Callable[[Any], None]) -> None:
        self.confirmed = confirmed
        callback(None)

    def basic_publish(self, _exchange: str, queue: str, _body: bytes, _properties: Any, *, mandatory: bool) -> None:
        assert mandatory
        self.published.append(queue)

    def answer(self, tag: int, *, multiple: bool = False, nack: bool = False) -> None:
        name = "Basic.Nack" if nack else "Basic.Ack"
        self.confirmed(SimpleNamespace(method=SimpleNamespace(NAME=name, delivery_tag=tag, multiple=multiple)))


class FakeLink:
    """A connection that opens channels at once, or refuses to."""

    def __init__(self, refuses: BackendError | None = None) -> None:
        self.channels: list[Channel] = []
        self._refuses = refuses

    def run(self, work: Callable[[], None]) -> bool:
        work()
        return True

    def later(self, seconds: float, work: Callable[[], None]) -> None: ...

    def channel(self, opened: Callable[[Any], None], closed: Callable[[BackendError], None]) -> None:
        if self._refuses is not None:
            closed(self._refuses)
            return
        self.channels.append(Channel())
        opened(self.channels[-1])

    @staticmethod
    def properties(fields: dict[str, Any]) -> Any:
        return fields

    def drop(self, error: BackendError) -> None: ...

    def close(self) -> None: ...


def batch(*queues: str) -> Batch:
    return Batch([(queue, b"", {}) for queue in queues])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.data())
def test_every_call_is_told_when_its_own_messages_are_confirmed(sizes: list[int], data: st.DataObject) -> None:
    link = FakeLink()
    publisher = Publisher(link)
    calls = [batch(*["q"] * size) for size in sizes]
    for call in calls:
        publisher.send(call)
    owner = [call for call, size in zip(calls, sizes, strict=True) for _ in range(size)]
    left = set(range(1, len(owner) + 1))
    refused: set[int] = set()
    while left:
        tag = data.draw(st.sampled_from(sorted(left)))
        multiple, nack = data.draw(st.booleans()), data.draw(st.booleans())
        settled = {each for each in left if each <= tag} if multiple else {tag}
        link.channels[0].answer(tag, multiple=multiple, nack=nack)
        left -= settled
        refused |= settled if nack else set()
        for call in calls:
            tags = {number for number, each in enumerate(owner, 1) if each is call}
            assert call.done.is_set() == (not tags & left)
            assert isinstance(call.error, FullError) == bool(tags & refused)


def test_a_returned_message_fails_the_calls_that_wait_for_its_queue() -> None:
    link = FakeLink()
    publisher = Publisher(link)
    lost, fine = batch("gone"), batch("q")
    publisher.send(lost)
    publisher.send(fine)
    link.channels[0].returned(None, SimpleNamespace(routing_key="gone"), None, b"")
    link.channels[0].answer(2, multiple=True)
    assert isinstance(lost.error, NotFoundError)
    assert fine.error is None


def test_blocked_publishers_are_told_at_once() -> None:
    link = FakeLink()
    publisher = Publisher(link)
    waiting, late, after = batch("q"), batch("q"), batch("q")
    publisher.send(waiting)
    publisher.blocked("low on memory")
    publisher.send(late)
    publisher.blocked("")
    publisher.send(after)
    for call in (waiting, late):
        assert call.done.is_set()
        assert "low on memory" in str(call.error)
    assert not after.done.is_set()
    # The late answer to the first one is nobody's, and counts for none of the others.
    link.channels[0].answer(1)
    assert not after.done.is_set()
    link.channels[0].answer(2)
    assert after.done.is_set()
    assert after.error is None


def test_a_channel_that_cannot_be_opened_fails_those_who_wait() -> None:
    publisher = Publisher(FakeLink(RefusedError("no")))
    call = batch("q")
    publisher.send(call)
    assert isinstance(call.error, RefusedError)


def test_a_question_that_closes_the_channel_does_not_take_the_next_one_with_it() -> None:
    link = FakeLink()
    control = Control(link)
    told: list[object] = []
    answers: list[Callable[[Any], None]] = []

    def ask(name: str) -> None:
        control.ask(
            lambda _channel, answered: answers.append(answered),
            lambda frame: told.append((name, frame)),
            lambda error: told.append((name, type(error))),
        )

    for name in ("a", "b", "c"):
        ask(name)
    assert len(answers) == 1
    control.fail(NotFoundError("no queue"))
    answers[1]("yes")
    control.abandon(UnavailableError("lost"))
    assert told == [("a", NotFoundError), ("b", "yes"), ("c", UnavailableError)]
    assert len(link.channels) == 2


@pytest.mark.parametrize(
    ("code", "kind"),
    [(404, NotFoundError), (403, RefusedError), (406, RefusedError), (530, RefusedError), (320, UnavailableError)],
)
def test_a_reason_for_closing_is_one_of_our_errors(code: int, kind: type[BackendError]) -> None:
    error = translated(SimpleNamespace(reply_code=code, reply_text="why"))
    assert type(error) is kind
    assert str(error) == "why"


@given(st.sets(st.integers(1, 30)), st.data())
def test_acks_cover_exactly_what_is_done(outstanding: set[int], data: st.DataObject) -> None:
    consumer = RabbitMQConsumer(_no_connection, ["q"], prefetch=1, bury=_no_burial, ours=frozenset())
    for tag in sorted(outstanding):
        consumer._outstanding[tag] = Unacked(Delivery(tag, "q", b"", {}, 1, redelivered=False), tag, 0)
    done = data.draw(st.sets(st.sampled_from(sorted(outstanding)))) if outstanding else set()
    covered, rest = consumer._settle([consumer._outstanding[tag] for tag in done])
    assert {tag for tag in outstanding if tag <= covered} | set(rest) == done
    assert set(consumer._outstanding) == outstanding - done


def _no_connection(_events: Events) -> FakeLink:
    return FakeLink()


def _no_burial(*_args: object) -> None:
    raise AssertionError


@given(st.integers(1, 2000), st.integers(1, 200))
def test_the_prefetch_is_shared_by_many_queues(prefetch: int, queues: int) -> None:
    each = prefetch_per_queue(prefetch, queues)
    assert 1 <= each <= prefetch
    assert each * queues <= max(4 * prefetch, 2 * queues)
    assert each == prefetch or queues > 4 or prefetch < 3
