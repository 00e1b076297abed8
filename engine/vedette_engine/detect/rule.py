"""A compiled rule: what bundles carry, caches keep and engines load.

The JSON form needs no Sigma parser to read. It is written by `Rule.to_json` and carries FORMAT; the readers accept the
versions in READABLE.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from vedette_engine.detect import ir
from vedette_engine.detect.logsource import Logsource

FORMAT = 1
READABLE = (1,)
LEVELS = ("informational", "low", "medium", "high", "critical")


class RuleFormatError(ValueError):
    """The JSON form of a rule is damaged, or of a version that this program does not read."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One Sigma rule, ready to be matched.

    Attributes:
        id: the rule's Sigma id; else its name; else the beginning of its key.
        name: Sigma's name, by which filters and correlations refer to it; may be empty.
        title, description, author, status, references, falsepositives: as the author wrote them.
        level: one of LEVELS; medium where the author gave none.
        tags: such as attack.t1059.001, in lower case.
        logsource: what it is for.
        condition: a tree over native Sigma names.
        fields: native names worth showing in an alert.
        key: hash of everything above; equal for equal rules, on every machine.
    """

    id: str
    name: str
    title: str
    level: str
    status: str
    tags: tuple[str, ...]
    description: str
    author: str
    logsource: Logsource
    condition: ir.Node
    fields: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    falsepositives: tuple[str, ...] = ()
    key: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.key:
            body = self._body()
            if not self.id:
                del body["id"]
            key = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
            object.__setattr__(self, "key", key)
        if not self.id:
            object.__setattr__(self, "id", self.name or self.key[:16])

    def _body(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "id": self.id,
            "name": self.name,
            "title": self.title,
            "level": self.level,
            "status": self.status,
            "tags": list(self.tags),
            "description": self.description,
            "author": self.author,
            "logsource": list(self.logsource),
            "condition": ir.to_json(self.condition),
            "fields": list(self.fields),
            "references": list(self.references),
            "falsepositives": list(self.falsepositives),
        }

    def to_json(self) -> dict[str, Any]:
        """A plain dict of JSON values."""
        return self._body() | {"key": self.key}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rule:
        """The rule that `to_json` wrote.

        Raises:
            RuleFormatError: the data is damaged or of an unknown version.
        """
        try:
            if data["format"] not in READABLE:
                raise RuleFormatError(f"rules of format {data['format']!r} cannot be read; known: {READABLE}")
            return cls(
                id=data["id"],
                name=data["name"],
                title=data["title"],
                level=data["level"],
                status=data["status"],
                tags=tuple(data["tags"]),
                description=data["description"],
                author=data["author"],
                logsource=Logsource(*data["logsource"]),
                condition=ir.from_json(data["condition"]),
                fields=tuple(data["fields"]),
                references=tuple(data["references"]),
                falsepositives=tuple(data["falsepositives"]),
                key=data["key"],
            )
        except (KeyError, TypeError, IndexError, ValueError) as error:
            if isinstance(error, RuleFormatError):
                raise
            raise RuleFormatError(f"the compiled rule is damaged: {error!r}") from error
