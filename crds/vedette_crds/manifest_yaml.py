"""YAML as manifests use it: the JSON part of it, bounded, with the line of every value.

PyYAML parses (its C parser where it was built), this module makes values of the nodes: duplicate keys, tags, and
whatever JSON cannot hold are problems; anchors and aliases work within a budget of nodes, so a file of a few lines
cannot expand into gigabytes. `vedette_crds.scalars` says what unquoted scalars mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import yaml

from vedette_crds import paths
from vedette_crds.problems import Problem
from vedette_crds.scalars import key_text, resolve

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML without libyaml: slower, the same otherwise
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

MAX_DEPTH = 60
MAX_NODES = 100_000

_PLAIN, _QUOTED, _COLLECTION = "plain", "quoted", "collection"
_TEXT = "tag:yaml.org,2002:str"
_HARMLESS_TAGS = frozenset({_TEXT, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
_DOCUMENT = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_NO_CONTENT = re.compile(r"(?:[ \t]*(?:[%#].*)?(?:\r?\n|\Z))*\Z")


@dataclass(slots=True)
class Spot:
    """Where a value stands.

    Attributes:
        line: 1-based; of its key where it has one.
        text_line: of a block text (`|`), the line of the file on which its first line stands.
        inside: the spots of its fields or entries.
    """

    line: int
    text_line: int | None = None
    inside: dict[str, Spot] | list[Spot] | None = None

    def at(self, path: paths.Path) -> Spot:
        """The spot that the path leads to, or the last one on the way that there is."""
        spot = self
        for step in path:
            below = spot._below(step)
            if below is None:
                break
            spot = below
        return spot

    def _below(self, step: str | int) -> Spot | None:
        if isinstance(self.inside, dict) and isinstance(step, str):
            return self.inside.get(step)
        if isinstance(self.inside, list) and isinstance(step, int) and step < len(self.inside):
            return self.inside[step]
        return None


@dataclass(slots=True)
class Tree:
    """One document: its value as JSON, where everything stands, and what is wrong with its YAML."""

    value: Any
    spot: Spot
    problems: list[Problem] = field(default_factory=list)


class _TooMuchError(Exception):
    """A bound was passed; the problem says which and where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def read(text: str) -> Iterator[Tree]:
    """The documents of a text; one with a mistake in it does not hide the next. Empty documents are left out."""
    starts = [match.start() for match in _DOCUMENT.finditer(text)]
    bounds = [0, *starts, len(text)]
    line = 0
    for start, end in pairwise(bounds):
        part = text[start:end]
        if start != end and not _NO_CONTENT.match(part.removeprefix("---")):
            yield from _read_part(part, line)
        line += part.count("\n")


def _read_part(text: str, line: int) -> Iterator[Tree]:
    try:
        composer = _BoundedComposer(text, line)
        while composer.check_node():
            composer.begin()
            node = composer.get_node()
            if node is None or (node.tag == _PLAIN and node.value == ""):
                continue
            builder = _Builder(line)
            value, spot = builder.build(node, (), 0)
            yield Tree(value, spot, builder.problems)
    except _TooMuchError as error:
        yield _broken(error.problem, line)
    except yaml.MarkedYAMLError as error:
        yield _broken(_syntax_problem(error, text, line), line)
    except yaml.reader.ReaderError as error:
        yield _broken(_character_problem(error, text, line), line)
    except RecursionError:  # pragma: no cover - only the pure Python parser recurses before the composer counts
        yield _broken(_too_deep(line + 1), line)


def _broken(problem: Problem, line: int) -> Tree:
    return Tree(None, Spot(problem.line or line + 1), [problem])


class _BoundedComposer(_Loader):
    """PyYAML's composer, told not to guess types, and stopped when a document grows too large or too deep."""

    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self._line = line
        self.begin()

    def begin(self) -> None:
        """Start counting for a document."""
        self._nodes = 0
        self._depth = 0

    def resolve(self, kind: type[yaml.Node], _value: str | None, implicit: Any) -> str:
        if kind is not yaml.ScalarNode:
            return _COLLECTION
        return _PLAIN if implicit[0] else _QUOTED

    def descend_resolver(self, parent: yaml.Node | None, _index: Any) -> None:
        self._nodes += 1
        self._depth += 1
        if self._nodes > MAX_NODES or self._depth > MAX_DEPTH:
            line = self._line + (parent.start_mark.line if parent is not None else 0) + 1
            raise _TooMuchError(_too_deep(line) if self._depth > MAX_DEPTH else _too_many(line))

    def ascend_resolver(self) -> None:
        self._depth -= 1


def _too_deep(line: int) -> Problem:
    return Problem(f"the document is nested more than {MAX_DEPTH} deep", line=line)


def _too_many(line: int) -> Problem:
    hint = "make several documents of it; an alias counts with everything inside it"
    return Problem(f"the document has more than {MAX_NODES:,} values", hint=hint, line=line)


class _Builder:
    """Makes JSON of nodes."""

    def __init__(self, line: int) -> None:
        self.problems: list[Problem] = []
        self._first = line + 1
        self._nodes = 0

    def build(self, node: yaml.Node, path: paths.Path, line: int) -> tuple[Any, Spot]:
        """The value of a node and where it stands; `line` is its key's, 0 for its own."""
        own = self._first + node.start_mark.line
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _TooMuchError(_too_many(own))
        if len(path) > MAX_DEPTH:
            raise _TooMuchError(_too_deep(own))
        spot = Spot(line or own)
        if node.tag == _PLAIN:
            return self._plain(node, path, own), spot
        if node.tag not in (_QUOTED, _COLLECTION) and node.tag not in _HARMLESS_TAGS:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            self._problem(f"the tag {tag[:60]} is not allowed", path, own, "remove it; quote a value to make it text")
        if isinstance(node, yaml.MappingNode):
            value, spot.inside = self._mapping(node, path)
            return value, spot
        if isinstance(node, yaml.SequenceNode):
            built = [self.build(child, (*path, index), 0) for index, child in enumerate(node.value)]
            spot.inside = [place for _, place in built]
            return [entry for entry, _ in built], spot
        if isinstance(node, yaml.ScalarNode) and node.style == "|":
            spot.text_line = own + 1
        return node.value, spot

    def _plain(self, node: yaml.Node, path: paths.Path, line: int) -> Any:
        value = resolve(node.value)
        if isinstance(value, float) and not math.isfinite(value):
            self._problem(f"{node.value} is not a number in JSON", path, line, "quote it if it is meant as text")
            return None
        return value

    def _mapping(self, node: yaml.MappingNode, path: paths.Path) -> tuple[dict[str, Any], dict[str, Spot]]:
        values: dict[str, Any] = {}
        spots: dict[str, Spot] = {}
        merged: list[tuple[dict[str, Any], dict[str, Spot]]] = []
        for key_node, value_node in node.value:
            line = self._first + key_node.start_mark.line
            if key_node.tag == _PLAIN and key_node.value == "<<":
                merged += self._merge(value_node, path, line)
                continue
            key = self._key(key_node, path, line)
            if key is None:
                continue
            if key in values:
                above = line - spots[key].line
                hint = f"the other one stands {above} lines higher" if above else "the other one is in the same line"
                self._problem(f"the key {key[:60]!r} is there twice", (*path, key), line, hint)
            values[key], spots[key] = self.build(value_node, (*path, key), line)
        for more_values, more_spots in merged:
            values = {**more_values, **values}
            spots = {**more_spots, **spots}
        return values, spots

    def _merge(self, node: yaml.Node, path: paths.Path, line: int) -> Iterator[tuple[dict[str, Any], dict[str, Spot]]]:
        """`<<: *anchor` and `<<: [*one, *two]`: fields to take over where the mapping has none of its own."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                self._problem(
                    "<< takes a mapping or a list of mappings", path, line, "quote the key if it is meant as text"
                )
                continue
            value, spot = self.build(source, (*path, "<<"), 0)
            assert isinstance(spot.inside, dict)
            yield value, spot.inside

    def _key(self, node: yaml.Node, path: paths.Path, line: int) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._problem("a key must be text, not a list or a mapping", path, line, "")
            return None
        if node.tag != _PLAIN:
            return str(node.value)
        key = key_text(self._plain(node, path, line))
        if key is None:
            self._problem("a key must be text, not null", path, line, "write the key before the colon, or quote it")
        return key

    def _problem(self, message: str, path: paths.Path, line: int, hint: str) -> None:
        self.problems.append(Problem(message, path=paths.write(path), line=line, hint=hint))


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, line: int) -> Problem:
    mark = error.problem_mark or error.context_mark
    message = " ".join(part for part in (error.context, error.problem) if part)
    wrong = next(iter(text.splitlines()[mark.line :]), "") if mark else ""
    hint = ""
    if "\t" in wrong[: len(wrong) - len(wrong.lstrip())] or "tab character" in message:
        hint = "YAML is indented with blanks, not with tabs"
    elif "mapping values are not allowed" in message:
        hint = "quote a value that has a colon followed by a blank"
    return Problem(f"this is not YAML: {message}", line=line + mark.line + 1 if mark else None, hint=hint)


def _character_problem(error: yaml.reader.ReaderError, text: str, line: int) -> Problem:
    where = line + text.count("\n", 0, error.position) + 1
    shown = f"U+{error.character:04X}" if isinstance(error.character, int) else repr(error.character)
    hint = 'write it as an escape in a double-quoted text: "\\u0000"'
    return Problem(f"the character {shown} is not allowed in YAML", line=where, hint=hint)
