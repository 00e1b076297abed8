"""The addresses of nodes, without any node."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cluster.addresses import NUMBERS, RANGE, Addresses


def test_no_two_nodes_share_an_address() -> None:
    slices = [Addresses(number).all for number in NUMBERS]
    assert not any(one.overlaps(other) for one, other in combinations(slices, 2))
    assert all(each.subnet_of(RANGE) for each in slices)


@given(st.sampled_from(NUMBERS))
def test_the_parts_of_a_slice_are_apart_and_inside(number: int) -> None:
    addresses = Addresses(number)
    parts = [addresses.link, addresses.services, addresses.pods]
    assert all(part.subnet_of(addresses.all) for part in parts)
    assert not any(one.overlaps(other) for one, other in combinations(parts, 2))
    assert {addresses.machine, addresses.node} == set(addresses.link.hosts())
    assert addresses.dns in addresses.services
    assert len(addresses.machine_link) <= 15
    assert len(addresses.node_link) <= 15


@pytest.mark.parametrize(
    ("route", "collides"),
    [
        ("default", False),
        ("192.0.2.0/24", False),
        ("10.77.0.0/24", True),
        ("10.77.4.9", True),
        ("10.0.0.0/8", True),
        ("10.77.16.0/20", False),
    ],
)
def test_a_slice_that_the_machine_routes_elsewhere_is_seen(route: str, collides: bool) -> None:  # noqa: FBT001 # a table
    assert Addresses(0).collide([route]) is collides
