"""The engine of a worker: a set of rules that changes, and events that go by.

Rules are loaded into a main index; a rule that comes later goes into a side index at once, and `merge` makes one index
of both when there is time. Matches are right before, between and after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vedette_crds.problems import Problem
from vedette_engine.detect.index import Index
from vedette_engine.detect.logsource import Logsources
from vedette_engine.detect.naming import ECS, Naming
from vedette_engine.detect.regex import RegexError
from vedette_engine.detect.rule import Rule
from vedette_engine.detect.scanner import HAVE_HYPERSCAN
from vedette_engine.detect.witness import Statistics, learn

Event = Mapping[str, Any]

_OFTEN_NEW = 0.3  # a field of which more than this share of events bring a new value is varied
_ENOUGH_EVENTS = 2_000


class Engine:
    """Matches events against many rules.

    Args:
        rules: loaded from the start; two rules with one key are one.
        naming: how the events call their fields.
        sample: some hundred real events, in that naming; the engine is faster on events like these.
        hyperscan: whether to use Hyperscan; None where it is installed.
    """

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        *,
        naming: Naming = ECS,
        sample: Iterable[Event] = (),
        hyperscan: bool | None = None,
    ) -> None:
        self.naming = naming
        self.hyperscan = HAVE_HYPERSCAN if hyperscan is None else hyperscan
        self.problems: list[Problem] = []
        self._rules: dict[int, Rule] = {}
        self._numbers: dict[str, int] = {}
        self._next = 0
        self._seen = 0
        listed = list(rules)
        events = list(sample)
        conditions = (naming.condition(rule) for rule in listed)
        self._statistics = learn(events, conditions) if events else Statistics()
        self._main = Index(self._statistics, hyperscan=self.hyperscan)
        self._side = Index(self._statistics, hyperscan=False)
        for rule in listed:
            self._load(rule, self._main)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The loaded rules in the order in which they were added."""
        return tuple(self._rules.values())

    @property
    def pending(self) -> int:
        """How many rules are in the side index, for `merge` to move."""
        return len(self._side.bits_of)

    def add(self, rule: Rule) -> None:
        """Load a rule; it takes part in the next match. A rule that is loaded already stays where it is."""
        self._load(rule, self._side)

    def remove(self, key: str) -> None:
        """Unload the rule with this key, if it is loaded."""
        number = self._numbers.pop(key, None)
        if number is None:
            return
        del self._rules[number]
        index = self._main if number in self._main.bits_of else self._side
        index.remove(number)

    def merge(self, sample: Iterable[Event] = ()) -> None:
        """Make one index of all loaded rules, with what was learnt of the events since; takes up to a second.

        Args:
            sample: recent events; without it the engine keeps the statistics that it has.
        """
        events = list(sample)
        conditions = [(number, rule, self.naming.condition(rule)) for number, rule in self._rules.items()]
        if events:
            self._statistics = learn(events, (condition for _, _, condition in conditions))
        else:
            self._statistics = self._observed()
        self._main = Index(self._statistics, hyperscan=self.hyperscan)
        self._side = Index(self._statistics, hyperscan=False)
        self._seen = 0
        for number, rule, condition in conditions:
            self._main.add(number, rule.logsource, condition)

    def match(self, event: Event, raw: bytes | None = None, logsources: Logsources | None = None) -> Sequence[Rule]:
        """The rules that match an event, in the order in which they were added.

        Args:
            event: flat, or nested as its source wrote it.
            raw: the JSON text that the event was decoded from, when that holds all values of the event: it makes
                keywords faster. None for events that were normalised.
            logsources: what the event is; rules for other log sources are left out. None tries all rules.
        """
        self._seen += 1
        found = self._main.match(event, raw, logsources)
        if self._side.bits_of:
            found = sorted(found + self._side.match(event, raw, logsources))
        if not found:
            return ()
        rules = self._rules
        return [rules[number] for number in found]

    def warm_up(self) -> None:
        """Build what the first match would build."""
        self._main.match({}, None, None)
        self._side.match({}, None, None)

    def forget(self) -> None:
        """Drop what was remembered of events; matches stay the same."""
        self._main.forget()
        self._side.forget()

    def _load(self, rule: Rule, index: Index) -> None:
        if rule.key in self._numbers:
            return
        number = self._next
        try:
            index.add(number, rule.logsource, self.naming.condition(rule))
        except (RegexError, ValueError) as error:  # a compiled form that this program did not write
            self.problems.append(Problem(f"the rule cannot be loaded: {error}", object=f"rule {rule.title!r}"))
            return
        self._next += 1
        self._numbers[rule.key] = number
        self._rules[number] = rule

    def _observed(self) -> Statistics:
        """The statistics, with fields moved between varied and recurring by how often their values were new."""
        if self._seen < _ENOUGH_EVENTS:
            return self._statistics
        varied = {name for name, field in self._main.fields.items() if field.misses > _OFTEN_NEW * self._seen}
        return Statistics(self._statistics.varied | varied, self._statistics.shares)
