"""Reads the YAML documents of a rule file that a stranger wrote: bounded, and every value with its line.

PyYAML would expand aliases without end and nest until the C stack is gone, so that the stream of events is measured
first; then the documents are built from its nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from vedette_crds.problems import Problem

MAX_TEXT: Final = 1 << 20
MAX_DEPTH: Final = 24
MAX_NODES: Final = 200_000
MAX_ALIASES: Final = 1_000

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document.

    Attributes:
        data: what it holds.
        line: 1-based line of its first content.
        lines: 1-based line of each key and list item, by its path.
    """

    data: Any
    line: int
    lines: Mapping[Path, int] = field(default_factory=dict)

    def line_of(self, path: Path) -> int:
        """The line of a path, or of the nearest place above it that is known."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return self.line


class YamlProblem(Exception):  # noqa: N818 # carries a problem of the user's, is no fault of the program
    """The text is not YAML that can be read; `problem` says where and why."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def read_documents(text: str) -> list[Document]:
    """All documents of a text that are not empty.

    Raises:
        YamlProblem: not YAML, or beyond one of the bounds of this module.
    """
    if len(text) > MAX_TEXT:
        raise YamlProblem(Problem(f"the text has {len(text)} characters, more than {MAX_TEXT}", hint="split it"))
    try:
        _measure(text)
        return list(_documents(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        raise YamlProblem(Problem(f"not valid YAML: {error.problem or error}", line=line)) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise YamlProblem(Problem(f"not valid YAML: {str(error).splitlines()[0]}")) from error


def _measure(text: str) -> None:
    depth = nodes = aliases = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        for count, limit, what in (
            (depth, MAX_DEPTH, "levels of nesting"),
            (nodes, MAX_NODES, "values"),
            (aliases, MAX_ALIASES, "aliases"),
        ):
            if count > limit:
                raise YamlProblem(Problem(f"more than {limit} {what}", line=_line(event)))


def _documents(text: str) -> Iterator[Document]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                continue
            builder = _Builder(loader)
            data = builder.build(node, ())
            if data is not None:
                yield Document(data, _line(node), builder.lines)
    finally:
        loader.dispose()


def _line(place: yaml.Node | yaml.Event) -> int:
    return place.start_mark.line + 1 if place.start_mark is not None else 1


class _Builder:
    """Builds one document; aliases count as often as they are used."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self.loader = loader
        self.lines: dict[Path, int] = {}
        self.built = 0

    def build(self, node: yaml.Node, path: Path) -> Any:
        self.built += 1
        line = _line(node)
        if self.built > MAX_NODES:
            raise YamlProblem(Problem("the aliases expand to too many values", line=line))
        if len(path) > MAX_DEPTH:
            raise YamlProblem(Problem("the aliases nest too deeply", line=line))
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self.lines[*path, index] = _line(item)
                items.append(self.build(item, (*path, index)))
            return items
        return self.loader.construct_object(node)

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlProblem(Problem("a key is a list or a mapping", line=line, hint="write a plain key"))
            key = key_node.value
            if key in built:
                raise YamlProblem(Problem(f"the key {key!r} is given twice", line=line, hint="remove one of them"))
            self.lines[*path, key] = line
            built[key] = self.build(value_node, (*path, key))
        return built
