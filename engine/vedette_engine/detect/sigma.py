"""Sigma text → compiled rules. The only part of the engine that needs pySigma; workers load the compiled form instead.

Supported: Sigma 2.1 rules and filters. A document with a mistake yields problems instead of a rule, and does not stop
the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sigma import exceptions
from sigma.rule import SigmaRule

from vedette_crds.problems import Problem
from vedette_engine.detect.conditions import DetectionReader, problem
from vedette_engine.detect.ir import And, Named, Node
from vedette_engine.detect.logsource import Logsource
from vedette_engine.detect.rule import Rule
from vedette_engine.detect.sigma_values import Placeholders
from vedette_engine.detect.unmatchable import check_fields
from vedette_engine.detect.yamldocs import Document, Path, YamlProblem, read_documents

DEFAULT_LEVEL: Final = "medium"
MAX_DOCUMENTS: Final = 2_000

_METADATA = (
    "title",
    "id",
    "name",
    "status",
    "description",
    "author",
    "date",
    "modified",
    "tags",
    "level",
    "fields",
    "falsepositives",
    "references",
    "logsource",
)
_TEXTS = ("title", "id", "name", "status", "description", "author", "level")
_LISTS = ("tags", "fields", "falsepositives", "references")
_MAX_METADATA = 65_536
# pySigma wants a detection to read the rest; ours is read by DetectionReader, which knows lines.
_NO_DETECTION = {"selection": {"field": 1}, "condition": "selection"}
_PLACES = {
    exceptions.SigmaTitleError: "title",
    exceptions.SigmaIdentifierError: "id",
    exceptions.SigmaNameError: "name",
    exceptions.SigmaStatusError: "status",
    exceptions.SigmaDateError: "date",
    exceptions.SigmaModifiedError: "modified",
    exceptions.SigmaTagError: "tags",
    exceptions.SigmaLevelError: "level",
    exceptions.SigmaLogsourceError: "logsource",
}


@dataclass(frozen=True, slots=True)
class Filter:
    """A Sigma filter: a further condition for the rules that it names.

    Attributes:
        title: as the author wrote it.
        logsource: the filter applies only to rules whose log source has these parts.
        rules: ids and names of rules; None for all.
        condition: must hold besides the rule's own.
    """

    title: str
    logsource: Logsource
    rules: frozenset[str] | None
    condition: Node

    def applies_to(self, rule: Rule) -> bool:
        """Whether the filter narrows this rule."""
        if self.rules is not None and rule.id not in self.rules and (not rule.name or rule.name not in self.rules):
            return False
        return all(part is None or part == own for part, own in zip(self.logsource, rule.logsource, strict=True))


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a text holds.

    Attributes:
        rules: those that can be loaded, filters applied, in the order of the text.
        problems: why documents are missing from `rules`; lines are those of the text.
        warnings: mistakes of rules that can be loaded all the same.
        filters: the filters of the text, for other texts.
    """

    rules: tuple[Rule, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    filters: tuple[Filter, ...] = ()


def compile_sigma(
    text: str,
    *,
    filters: Sequence[Filter] = (),
    placeholders: Placeholders | None = None,
    known_fields: Iterable[str] = (),
) -> Compiled:
    """Compile all documents of a Sigma text.

    Args:
        text: YAML, one document or several.
        filters: filters from elsewhere, applied besides those of the text.
        placeholders: values of `%name%` under the modifier `expand`.
        known_fields: names that sources set although ECS does not list them; never taken for typing mistakes.
    """
    try:
        documents = read_documents(text)
    except YamlProblem as error:
        return Compiled(problems=(error.problem,))
    if not documents:
        return Compiled(problems=(Problem("there is no document in the text", hint="write a Sigma rule"),))
    if len(documents) > MAX_DOCUMENTS:
        return Compiled(problems=(Problem(f"there are {len(documents)} documents, more than {MAX_DOCUMENTS}"),))
    readers = [
        _DocumentReader(document, index if len(documents) > 1 else None, placeholders or {})
        for index, document in enumerate(documents)
    ]
    known = frozenset(known_fields)
    read = [reader.read() for reader in readers]
    own = tuple(one for one in read if isinstance(one, Filter))
    rules: list[Rule] = []
    warnings: list[Problem] = []
    for reader, one in zip(readers, read, strict=True):
        if not isinstance(one, Rule):
            continue
        rule = apply_filters(one, (*own, *filters))
        doubts, matchable = check_fields(rule, known)
        found = [reader.place(doubt) for doubt in doubts]
        if matchable:
            rules.append(rule)
            warnings.extend(found)
        else:
            reader.problems.extend(found)
    problems = tuple(problem for reader in readers for problem in reader.problems)
    return Compiled(tuple(rules), problems, tuple(warnings), own)


def apply_filters(rule: Rule, filters: Iterable[Filter]) -> Rule:
    """The rule, narrowed by the filters that apply to it."""
    extra = [Named(f"filter {one.title}", one.condition) for one in filters if one.applies_to(rule)]
    return replace(rule, condition=And((rule.condition, *extra)), key="") if extra else rule


class _DocumentReader:
    """Reads one document of a text."""

    def __init__(self, document: Document, index: int | None, placeholders: Placeholders) -> None:
        self.document = document
        self.prefix: Path = () if index is None else (index,)
        self.placeholders = placeholders
        self.problems: list[Problem] = []

    def report(self, path: Path, message: str, hint: str = "") -> None:
        self.problems.append(problem(message, (*self.prefix, *path), hint, self.document.line_of(path)))

    def place(self, doubt: Problem) -> Problem:
        """A problem that names a field, with the line where the rule uses that field."""
        for path, line in self.document.lines.items():
            if isinstance(path[-1], str) and path[-1].partition("|")[0] == doubt.path:
                return problem(doubt.message, (*self.prefix, *path), doubt.hint, line)
        return replace(doubt, path="", line=self.document.line)

    def read(self) -> Rule | Filter | None:
        data = self.document.data
        if not isinstance(data, Mapping):
            self.report((), "the document is not a mapping", "a Sigma rule starts with `title:`")
            return None
        if "correlation" in data:
            self.report(("correlation",), "correlation rules are not supported yet")
            return None
        if "action" in data:
            self.report(("action",), "documents with an `action` are not supported", "write complete rules")
            return None
        return self.filter(data) if "filter" in data else self.rule(data)

    def rule(self, data: Mapping[str, Any]) -> Rule | None:
        parsed = self.metadata(data)
        condition = None
        if "detection" in data:
            reader = DetectionReader(("detection",), self.placeholders, self.report)
            condition = reader.read(data["detection"])
        else:
            self.report((), "the rule has no detection", "write selections and a condition")
        if parsed is None or condition is None:
            return None
        return Rule(
            id=str(parsed.id) if parsed.id is not None else "",
            name=parsed.name or "",
            title=parsed.title,
            level=parsed.level.name.lower() if parsed.level is not None else DEFAULT_LEVEL,
            status=parsed.status.name.lower() if parsed.status is not None else "",
            tags=tuple(str(tag).lower() for tag in parsed.tags),
            description=parsed.description or "",
            author=parsed.author or "",
            logsource=_logsource(parsed.logsource),
            condition=condition,
            fields=tuple(map(str, parsed.fields)),
            references=tuple(map(str, parsed.references)),
            falsepositives=tuple(map(str, parsed.falsepositives)),
        )

    def filter(self, data: Mapping[str, Any]) -> Filter | None:
        parsed = self.metadata(data)
        section = data["filter"]
        reader = DetectionReader(("filter",), self.placeholders, self.report)
        condition = reader.read(section, skip=("condition", "rules"))
        names = self.filter_rules(section) if isinstance(section, Mapping) else None
        if parsed is None or condition is None or self.problems:
            return None
        return Filter(parsed.title, _logsource(parsed.logsource), names, condition)

    def filter_rules(self, section: Mapping[str, Any]) -> frozenset[str] | None:
        rules = section.get("rules")
        if rules == [] or (isinstance(rules, str) and rules.lower() == "any"):
            return None
        names = [rules] if isinstance(rules, str) else rules
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return frozenset(names)
        self.report(("filter", "rules"), "the filter names no rules", "list ids or names of rules, or write `any`")
        return None

    def metadata(self, data: Mapping[str, Any]) -> SigmaRule | None:
        """Everything but the detection, as pySigma reads it; None after a mistake."""
        wrong = [name for name in _TEXTS if not isinstance(data.get(name), str | None)]
        wrong += [name for name in _LISTS if not isinstance(data.get(name), list | None)]
        for name in wrong:
            self.report((name,), f"{name} is not a {'text' if name in _TEXTS else 'list'}")
        if not isinstance(data.get("logsource", {}), Mapping):
            self.report(("logsource",), "the logsource is not a mapping", "name product, category or service")
            wrong.append("logsource")
        chosen = {name: data[name] for name in _METADATA if name in data}
        if sum(len(str(value)) for value in chosen.values()) > _MAX_METADATA:
            self.report((), f"the description of the rule has more than {_MAX_METADATA} characters")
            return None
        if wrong:
            return None
        parsed = SigmaRule.from_dict(chosen | {"detection": _NO_DETECTION}, collect_errors=True)
        for error in parsed.errors:
            self.report((_PLACES.get(type(error), ""),), error.args[0] if error.args else str(error))
        return None if parsed.errors else parsed


def _logsource(parsed: Any) -> Logsource:
    return Logsource(*(part.lower() if part else None for part in (parsed.product, parsed.category, parsed.service)))
