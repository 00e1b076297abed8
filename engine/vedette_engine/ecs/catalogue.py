"""Which field names the Elastic Common Schema 9 knows, and the type of each.

Everything that decides by "is this an ECS field" asks here: the normaliser, the rule compiler, the query compiler
and the stores' mappings. The facts are in `fields.tsv` beside this module.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class FieldType:
    """What a field holds.

    Attributes:
        type: the Elasticsearch type: keyword, wildcard, constant_keyword, match_only_text, long, integer, float,
            double, scaled_float, boolean, date, ip or geo_point.
        array: ECS asks for a list here; other fields may hold one too.
    """

    type: str
    array: bool = False


VERSION = "9.4.0"
"""The ECS release that the table was made from."""

TEXT_TYPES = frozenset({"keyword", "wildcard", "constant_keyword", "match_only_text"})
"""Types whose values are text."""

INTEGER_TYPES = frozenset({"long", "integer"})
"""Types whose values are whole numbers."""

FLOAT_TYPES = frozenset({"float", "double", "scaled_float"})
"""Types whose values are numbers with a fraction."""

_CONTAINER_TYPES = frozenset({"object", "nested", "flattened"})

_OWN_FIELDS = {
    "vedette.source": FieldType("keyword"),
    "vedette.timestamp_problem": FieldType("keyword"),
    "vedette.enrichment_failed": FieldType("keyword", array=True),
    "vedette.stored": FieldType("date"),
}
"""Fields that Vedette itself adds; nobody else's `vedette.*` reaches a document's top level."""


def _read() -> tuple[dict[str, FieldType], frozenset[str]]:
    leaves: dict[str, FieldType] = dict(_OWN_FIELDS)
    containers: set[str] = set()
    text = resources.files(__package__).joinpath("fields.tsv").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, kind, *array = line.split("\t")
        if kind in _CONTAINER_TYPES:
            containers.add(name)
        else:
            leaves[name] = FieldType(kind, array=bool(array))
    return leaves, frozenset(containers)


_LEAVES, CONTAINERS = _read()

CATALOGUE: Mapping[str, FieldType] = MappingProxyType(_LEAVES)
"""Name → type of every leaf; containers (`labels`, `dns.answers`, `log.syslog`) are not leaves."""

ROOTS: frozenset[str] = frozenset(name.split(".", 1)[0] for name in CATALOGUE if "." in name)
"""First parts of dotted ECS names: process, source, event …"""


def is_ecs(name: str) -> bool:
    """Whether the name is a catalogued leaf, so that it may stand at the top of a document."""
    return name in _LEAVES


def is_open(name: str) -> bool:
    """Whether ECS leaves the name to users: it is below a container such as `labels`, and not itself catalogued."""
    if name in _LEAVES:
        return False
    end = name.find(".")
    while end > 0:
        if name[:end] in CONTAINERS:
            return True
        end = name.find(".", end + 1)
    return name in CONTAINERS


def suggest(name: str) -> list[str]:
    """Up to three catalogued names that a mistyped one may have meant, the likeliest first; [] when none is near."""
    if len(name) > 128:
        return []
    same_leaf = [known for known in _LEAVES if known.endswith("." + name)] if "." not in name and name else []
    near = difflib.get_close_matches(name, _LEAVES, n=3, cutoff=0.8)
    return list(dict.fromkeys([*near, *sorted(same_leaf, key=lambda known: (known.count("."), len(known)))]))[:3]
