"""Who may do what, and what queues look like."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.broker.rabbitmq_roles import gateway, librarian, own_users, publisher, worker
from vedette_backends.broker.rabbitmq_topology import arguments, dead_arguments, limit_of

_NAMES = st.text("abcXYZ019._-", min_size=1, max_size=20)


@given(_NAMES)
def test_nobody_but_the_operator_may_declare(name: str) -> None:
    for role in (worker(), gateway(), librarian(), publisher("eventtask")):
        assert not re.search(role.configure, name)


@given(_NAMES)
def test_ours_write_to_the_default_exchange_only(name: str) -> None:
    for role in (worker(), gateway(), librarian()):
        assert re.search(role.write, "amq.default")
        assert not re.search(role.write, name)


@given(_NAMES)
def test_only_workers_read_events(queue: str) -> None:
    assert re.search(worker().read, queue)
    assert not re.search(gateway().read, queue)
    assert bool(re.search(librarian().read, queue)) == queue.endswith(".dead")


@given(_NAMES, _NAMES)
def test_a_foreign_publisher_writes_to_its_exchange_only(exchange: str, other: str) -> None:
    role = publisher(exchange)
    assert re.search(role.write, exchange)
    assert bool(re.search(role.write, other)) == (other == exchange)
    assert not re.search(role.write, "amq.default")


@pytest.mark.parametrize("exchange", ["", "amq.default", "amq.topic"])
def test_the_servers_own_exchanges_are_nobodys(exchange: str) -> None:
    with pytest.raises(ValueError, match="foreign publisher"):
        publisher(exchange)


def test_parts_of_a_release_know_each_other() -> None:
    expected = {"vedette.shop", "my-release-gateway", "my-release-librarian", "my-release-web"}
    assert own_users("my-release-librarian", "vedette.shop") == expected
    assert own_users("vedette.shop", "vedette.shop") == {"vedette.shop"}
    # A foreign publisher's name is a namespace's and a source's.
    assert "vedette.shop.web" not in own_users("vedette-librarian", "vedette.shop")


@given(_NAMES, _NAMES)
def test_a_limit_fits_its_queue_only(queue: str, other: str) -> None:
    policy = limit_of(queue, 5)
    assert re.search(policy.pattern, queue)
    assert bool(re.search(policy.pattern, other)) == (other == queue)
    assert policy.definition == {"max-length-bytes": 5}


def test_what_cannot_be_changed_later_is_no_limit() -> None:
    for made in (arguments("q", single=True), arguments("q", single=False), dead_arguments()):
        assert made["x-queue-type"] == "quorum"
        assert made["x-overflow"] == "reject-publish"
        assert not [name for name in made if name.startswith("x-max")]
    assert arguments("q", single=True)["x-single-active-consumer"] is True
    assert arguments("q", single=False)["x-dead-letter-routing-key"] == "q.dead"
