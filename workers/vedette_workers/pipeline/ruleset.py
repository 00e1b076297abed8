"""The rules in force in one worker: an engine that follows bundles, and what their alerts say.

Engines are faster on events like those that they have seen when they were built, so some of the events that go by are
kept and used when there is time to build anew.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vedette_engine.alerting.bundle import Bundle, BundledRule
from vedette_engine.detect.engine import Engine
from vedette_engine.detect.logsource import Logsources, fits
from vedette_engine.detect.naive import matches
from vedette_engine.detect.rule import Rule
from vedette_workers.pipeline.alerts import Alerting

Event = dict[str, Any]

log = logging.getLogger(__name__)

MAX_PROBLEMS = 20
MANY = 50
"""So many changed rules at once build a new engine; fewer go into the one that runs."""
SAMPLE = 400
SAMPLE_EVERY = 16
LEARN_AGAIN = 5_000_000
"""Events after which what was learnt is learnt anew, since logs change."""
QUIET = 60.0
"""Seconds between two rebuilds that only tidy up changed rules."""


class Ruleset:
    """Not thread-safe: the worker's one thread calls it. Engine keys are `<AlertRule>/<index of the document>`."""

    def __init__(self, namespace: str) -> None:
        self.alerting = Alerting(namespace)
        self._engine = Engine()
        self._loaded: dict[str, tuple[str, tuple[Rule, ...]]] = {}
        self._sample: deque[Event] = deque(maxlen=SAMPLE)
        self._seen = 0
        self._learn_at = SAMPLE * SAMPLE_EVERY
        self._version = 0
        self._builder: _Builder | None = None
        self._built_at = 0.0
        self._learned = False
        self._errors: dict[str, str] = {}
        self.failures: Counter[str] = Counter()
        """AlertRule → how often it could not be tried on an event."""

    def prepare(self, bundle: Bundle) -> dict[str, tuple[Rule, ...]]:
        """The rules of the bundle that are new or changed, ready to load; raises RuleFormatError."""
        return {
            item.name: tuple(_keyed(item))
            for item in bundle.rules
            if item.name not in self._loaded or self._loaded[item.name][0] != item.hash
        }

    def swap(self, bundle: Bundle, fresh: Mapping[str, tuple[Rule, ...]]) -> None:
        """Take over a bundle, given what `prepare` made of it."""
        names = {item.name for item in bundle.rules}
        gone = [name for name in self._loaded if name in fresh or name not in names]
        keys = [rule.key for name in gone for rule in self._loaded.pop(name)[1]]
        for name in gone:
            self.alerting.forget(name)
        for item in bundle.rules:
            if item.name in fresh:
                self._loaded[item.name] = (item.hash, fresh[item.name])
                self.alerting.learn(item, fresh[item.name])
        self._version += 1
        self._errors = {key: said for key, said in self._errors.items() if key.rpartition("/")[0] not in gone}
        if len(fresh) + len(gone) > MANY:
            # Compiling for Hyperscan takes seconds and can wait; events cannot.
            self._engine = Engine(self._rules(), sample=self._sample, hyperscan=False)
            self._engine.warm_up()
            self._built_at, self._learned = 0.0, False
            self._learn_at = self._seen + SAMPLE * SAMPLE_EVERY
            return
        for key in keys:
            self._engine.remove(key)
        for rules in fresh.values():
            for rule in rules:
                self._engine.add(rule)

    def _rules(self) -> list[Rule]:
        return [rule for _, rules in self._loaded.values() for rule in rules]

    def match(self, event: Event, text: bytes, logsources: Logsources | None) -> Sequence[Rule]:
        """The rules that match. `text`: JSON with all values of the event, for keywords."""
        self._seen += 1
        if not self._seen % SAMPLE_EVERY:
            self._sample.append(event)
        try:
            return self._engine.match(event, text, logsources)
        except Exception:
            log.exception("matching failed; each rule is tried by itself")
            return list(self._one_by_one(event, logsources))

    def _one_by_one(self, event: Event, logsources: Logsources | None) -> Iterator[Rule]:
        """The rules that match, without those that cannot be tried: a bad rule never stops the others."""
        for rule in self._rules():
            try:
                if (logsources is None or fits(rule.logsource, logsources)) and matches(rule, event):
                    yield rule
            except Exception as error:
                log.exception("rule %s cannot be tried on this event", rule.key)
                name = rule.key.rpartition("/")[0]
                self.failures[name] += 1
                self._errors[rule.key] = f"rule {name}: {type(error).__name__}: {error}"

    def problems(self) -> list[str]:
        """What is wrong with loaded rules, for people: those that the engine refused, those that failed on an event."""
        return [*(str(problem) for problem in self._engine.problems), *self._errors.values()][:MAX_PROBLEMS]

    def state(self) -> dict[str, Any]:
        """For heartbeats: how many rules are loaded, and whether the engine was built for the events that go by."""
        return {"rules": len(self._engine.rules), "learned": self._learned}

    def settle(self, now: float) -> bool:
        """Start or finish building a better engine beside the one that runs; whether a new one took over.

        Args:
            now: monotonic seconds.
        """
        builder = self._builder
        if builder is not None:
            if builder.is_alive():
                return False
            self._builder = None
            if builder.version != self._version:
                self._learn_at = self._seen  # rules changed meanwhile: once more
            elif builder.engine is not None:
                self._engine, self._built_at, self._learned = builder.engine, now, True
                return True
        elif self._seen >= self._learn_at or (self._engine.pending and now - self._built_at > QUIET):
            self._learn_at = self._seen + LEARN_AGAIN
            self._built_at = now
            self._builder = _Builder(self._version, self._rules(), list(self._sample))
            self._builder.start()
        return False


class _Builder(threading.Thread):
    """Builds an engine of these rules, for events like these."""

    def __init__(self, version: int, rules: Sequence[Rule], sample: Sequence[Event]) -> None:
        super().__init__(name="engine-builder", daemon=True)
        self.version = version
        self.engine: Engine | None = None
        self._rules = rules
        self._sample = sample

    def run(self) -> None:
        engine = Engine(self._rules, sample=self._sample)
        engine.warm_up()
        self.engine = engine


def _keyed(item: BundledRule) -> list[Rule]:
    return [replace(Rule.from_json(document), key=f"{item.name}/{index}") for index, document in enumerate(item.sigma)]
