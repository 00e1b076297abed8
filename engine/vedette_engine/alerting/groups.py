"""Groups of events: which an event belongs to, and the query that finds the events of one.

A group is a tuple of values, one for each field that is grouped by; None stands for a field that is not there.
Values are written in one way, however they were spelled: two are equal where a `Term` of the query tree says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv6Address
from itertools import islice, product
from typing import Any, Final

from vedette_engine.alerting.notices import group_of
from vedette_engine.query import tree
from vedette_engine.query.fields import OTHER, SEARCHABLE_CHARACTERS, Kind, kind_of, other_name
from vedette_engine.query.tree import Query
from vedette_engine.query.values import address_number, fold, leaves, text_of

Group = tuple[str | None, ...]
Document = Mapping[str, Any]

MAX_GROUPS: Final = 1000
"""Groups of one event; lists of values multiply."""
_V4_MAPPED: Final = 0xFFFF


GROUPABLE: Final = frozenset({Kind.TEXT, Kind.WORDS, Kind.INTEGER, Kind.BOOLEAN, Kind.IP, Kind.OTHER})
"""Kinds whose values name something: not times and fractions, which measure."""


def canonical(field: str, value: Any) -> str:
    """One spelling for all values of a field that are equal, be they a document's or a store's texts."""
    kind = kind_of(field)
    text = text_of(value)
    if kind is Kind.IP:
        return _address(text)
    return fold(text)


def values_of(document: Document, field: str) -> tuple[str, ...]:
    """The different values of a field in a stored document; texts too long for a search by pattern do not count."""
    raw = document.get(OTHER, {}).get(other_name(field)) if kind_of(field) is Kind.OTHER else document.get(field)
    found = (value for value in leaves(raw) if not (isinstance(value, str) and len(value) > SEARCHABLE_CHARACTERS))
    return tuple(dict.fromkeys(canonical(field, value) for value in found))


def groups_of(document: Document, group_by: Sequence[str]) -> Iterator[Group]:
    """The groups that a stored document belongs to, at most `MAX_GROUPS`; `()` where it is not grouped by anything."""
    return islice(product(*((values_of(document, field) or (None,)) for field in group_by)), MAX_GROUPS)


def belongs(document: Document, group_by: Sequence[str], group: Group) -> bool:
    """Whether a stored document is of the group."""
    return all(value in (values_of(document, field) or (None,)) for field, value in zip(group_by, group, strict=True))


def canonical_group(group_by: Sequence[str], values: Sequence[str | None]) -> Group:
    """A group as a store tells it, in our spelling: stores may keep `Root` and `root` apart."""
    return tuple(
        None if value is None else canonical(field, value) for field, value in zip(group_by, values, strict=True)
    )


def group_query(group_by: Sequence[str], group: Group) -> Query:
    """What the events of a group satisfy."""
    return tree.And(
        tuple(
            tree.Not(tree.Exists(field)) if value is None else tree.Term(field, value)
            for field, value in zip(group_by, group, strict=True)
        )
    )


def group_text(group: Group) -> str:
    """The group as one text of bounded length, different for different groups."""
    return group_of(group)


def _address(text: str) -> str:
    number = address_number(text)
    if number is None:
        return fold(text)
    if number >> 32 == _V4_MAPPED:
        return ".".join(str(number >> shift & 0xFF) for shift in (24, 16, 8, 0))
    return str(IPv6Address(number))
