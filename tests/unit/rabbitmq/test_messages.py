"""Between messages and AMQP."""

import datetime as dt
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.broker.rabbitmq_messages import DELIVERY_LIMIT, UNREADABLE, Received, buried, received, sent

OURS = frozenset({"vedette.shop"})
_NAMES = st.text("abcdefgh.-_", min_size=1, max_size=8)
_TABLES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.datetimes() | st.decimals(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
).flatmap(lambda value: st.dictionaries(st.text(max_size=12), st.just(value), max_size=3))


def properties(headers: dict[str, Any] | None = None, **fields: Any) -> SimpleNamespace:
    named = ("message_id", "timestamp", "content_type", "content_encoding", "user_id")
    return SimpleNamespace(headers=headers, **{name: fields.get(name) for name in named})


def deliver(headers: dict[str, Any] | None, *, queue: str = "q", exchange: str = "", **fields: Any) -> Received:
    redelivered = fields.pop("redelivered", False)
    return received(queue, exchange, "key", properties(headers, **fields), redelivered=redelivered, ours=OURS)


@given(st.dictionaries(_NAMES, st.text(st.characters())), st.integers(0, 1 << 45))
def test_headers_come_back_as_they_were_sent(headers: dict[str, str], now: int) -> None:
    fields = sent(headers, now, "vedette.shop")
    found = deliver(fields["headers"], user_id=fields["user_id"])
    assert found.headers == headers
    assert (found.deliveries, found.redelivered, found.published) == (1, False, now)


@given(
    table=_TABLES,
    queue=st.sampled_from(["q", "q.dead"]),
    exchange=st.sampled_from(["", "eventtask"]),
    redelivered=st.booleans(),
)
def test_whatever_a_publisher_writes_becomes_text(
    table: dict[str, Any], queue: str, exchange: str, *, redelivered: bool
) -> None:
    found = deliver(table, queue=queue, exchange=exchange, redelivered=redelivered)
    assert all(isinstance(value, str) for value in found.headers.values())
    assert (found.headers.get("amqp.exchange") == "eventtask") == bool(exchange)
    assert found.deliveries >= 1 + redelivered


@given(_TABLES.map(lambda table: {**table, "amqp.exchange": "", "amqp.published": 7, "x-death": []}))
def test_a_foreign_message_cannot_look_like_one_of_ours(table: dict[str, Any]) -> None:
    found = deliver(table, exchange="eventtask")
    assert found.headers["amqp.exchange"] == "eventtask"
    assert found.published is None


@pytest.mark.parametrize(
    ("table", "redelivered", "deliveries"),
    [
        pytest.param({}, False, 1, id="first"),
        pytest.param({"x-delivery-count": 50}, False, 1, id="claimed"),
        pytest.param({"x-delivery-count": 4}, True, 5, id="fifth"),
        pytest.param({}, True, 2, id="uncounted"),
        pytest.param({"x-delivery-count": "many"}, True, 2, id="no number"),
        pytest.param({"x-delivery-count": -3}, True, 2, id="negative"),
        pytest.param({UNREADABLE: "true"}, True, DELIVERY_LIMIT, id="unreadable"),
    ],
)
def test_deliveries_are_counted(*, table: dict[str, Any], redelivered: bool, deliveries: int) -> None:
    assert deliver(table, redelivered=redelivered).deliveries == deliveries


def test_a_dead_letter_that_the_server_moved_is_ours_only_if_one_of_ours_published_it() -> None:
    death = {"queue": "q", "exchange": "", "reason": "delivery_limit", "routing-keys": ["q"]}
    ours = deliver({"x-death": [death], "source": "web"}, queue="q.dead", user_id="vedette.shop")
    assert ours.headers == {"source": "web", "reason": "DeliveryLimit"}
    for user in (None, "vedette.shop.web"):
        foreign = deliver({"x-death": [death], "amqp.exchange": ""}, queue="q.dead", user_id=user)
        assert foreign.headers["amqp.exchange"] == "unknown"


def test_a_dead_letter_keeps_where_it_came_from_even_if_its_headers_are_too_large() -> None:
    headers = {"amqp.exchange": "eventtask", "big": "x" * 70_000}
    found = deliver(buried(headers, "bad", 1, "vedette.shop")["headers"], queue="q.dead")
    assert found.headers == {"amqp.exchange": "eventtask", "reason": "bad"}


def test_values_are_shown_as_people_write_them() -> None:
    table = {"t": True, "d": Decimal("1.50"), "w": dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "l": [1, {"a": b"x"}]}
    shown = deliver(table).headers
    assert shown == {"t": "true", "d": "1.50", "w": "2026-01-02T00:00:00+00:00", "l": '[1, {"a": "x"}]'}
