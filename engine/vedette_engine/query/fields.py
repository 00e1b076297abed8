"""What a query may ask of a field, by its type in the ECS catalogue.

Both stores obey the same table, so that a search gives the same answer on a laptop and in a cluster. Names outside the
catalogue live below `vedette.other`, where every value is text and only operators for text are allowed.
"""

from __future__ import annotations

import enum

from vedette_engine.ecs.catalogue import CATALOGUE, FLOAT_TYPES, INTEGER_TYPES

OTHER = "vedette.other"
OTHER_PREFIX = OTHER + "."

TIME = "@timestamp"
INGESTED = "event.ingested"

SEARCHABLE_CHARACTERS = 8000
"""Longer values can be found by their words and by equality, not by pattern (`ignore_above` of the mapping)."""

WORD_CHARACTERS = 32_768
"""So much of one value is searched for words."""


class Kind(enum.Enum):
    """How the values of a field are compared."""

    TEXT = "text"
    WORDS = "words"
    """Full text (`message`): `field:word` looks for the word, not for the whole value."""
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    DATE = "date"
    IP = "ip"
    OTHER = "other"
    """Outside the catalogue: text below `vedette.other`."""


TEXT_KINDS = frozenset({Kind.TEXT, Kind.WORDS, Kind.OTHER})
"""Kinds that take patterns."""

ORDERED_KINDS = frozenset({Kind.INTEGER, Kind.FLOAT, Kind.DATE, Kind.IP})
"""Kinds that take ranges."""

_KINDS = {
    "match_only_text": Kind.WORDS,
    "boolean": Kind.BOOLEAN,
    "date": Kind.DATE,
    "ip": Kind.IP,
    **dict.fromkeys(INTEGER_TYPES, Kind.INTEGER),
    **dict.fromkeys(FLOAT_TYPES, Kind.FLOAT),
}


def kind_of(name: str) -> Kind:
    """The kind of a field; OTHER for names outside the catalogue, with or without the prefix `vedette.other.`."""
    known = CATALOGUE.get(name)
    return Kind.OTHER if known is None else _KINDS.get(known.type, Kind.TEXT)


def other_name(name: str) -> str:
    """The name below `vedette.other` that an OTHER field stands for."""
    return name.removeprefix(OTHER_PREFIX)
