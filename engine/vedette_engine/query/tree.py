"""The one query tree: what the search bar, scheduled rules and stores share.

Stores compile it to their own language; `vedette_engine.query.lucene` parses text into it.
Field names are ECS; names outside the catalogue are looked for under `vedette.other`.
"""

from __future__ import annotations

from dataclasses import dataclass


class QueryError(ValueError):
    """A query that cannot be parsed or asked; `position` is the 0-based character in the text, None when unknown."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True, slots=True)
class MatchAll:
    """Every event."""


@dataclass(frozen=True, slots=True)
class Term:
    """The field has this value; case does not matter for text. `value` as typed by the user or int/float/bool."""

    field: str
    value: str | int | float | bool


@dataclass(frozen=True, slots=True)
class Text:
    """Some value of the event (or of `field`) holds these words in this order, as a phrase; case does not matter."""

    text: str
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Wildcard:
    """The whole value fits the pattern: `*` any run of characters, `?` one, backslash escapes; case does not matter."""

    field: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Regex:
    """The whole value fits the regular expression (the common subset of RE2 and Lucene); case matters."""

    field: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Range:
    """low ≤ value ≤ high (exclusive where said); None is open. For numbers, dates (ISO 8601) and IP addresses."""

    field: str
    low: str | int | float | None
    high: str | int | float | None
    include_low: bool = True
    include_high: bool = True


@dataclass(frozen=True, slots=True)
class Cidr:
    """The address lies inside the network."""

    field: str
    network: str


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has a value."""

    field: str


@dataclass(frozen=True, slots=True)
class And:
    """All parts hold; true when empty."""

    parts: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Some part holds; false when empty."""

    parts: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Query


Query = MatchAll | Term | Text | Wildcard | Regex | Range | Cidr | Exists | And | Or | Not
