"""One round of one scheduled search: read what was stored since the last, judge, remember, alert.

The order makes a crash harmless: intervals, checkpoint and the alerts drawn up are remembered in one write under the
version that was read; then alerts are created, notices published, and the alerts taken off the record. Whoever comes
next finishes what stands there first. Nothing of it does any harm when it is done twice, by this scheduler or another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from vedette_backends.broker.protocol import Broker
from vedette_backends.store.protocol import Outcome, Store
from vedette_engine.alerting.bundle import BundledRule
from vedette_engine.alerting.groups import Group, group_text
from vedette_engine.alerting.search_alerts import Found, build_alert, build_notice, search_alert_id
from vedette_engine.alerting.searches import MAX_EVENTS, Interval, SearchSpec, fresh, intervals
from vedette_engine.query.tree import Query
from vedette_workers.notify import tell_responder
from vedette_workers.scheduler.figures import Figures
from vedette_workers.scheduler.reading import MOST_GROUPS, Reader, Reading
from vedette_workers.scheduler.state import COLLECTION, MOST, PARENT, Pending, RuleState

log = logging.getLogger(__name__)

STRIDE: Final = 3_600_000
"""ms of storing that one round looks at, at most: who comes late catches up in steps."""
SMALLEST: Final = 1_000
"""ms of storing that are not halved again, however many groups they hold."""
MOST_PENDING: Final = 100
"""Alerts that are remembered at a time, before they are written: a record has a size."""
SAVE_EVERY: Final = 300_000
"""ms after which a checkpoint is remembered though nothing happened: reading again does no harm."""
TOO_MANY: Final = (
    f"more than {MAX_EVENTS:,} events of one group, or more than {MOST_GROUPS:,} groups within a second: what is "
    "beyond was not looked at; a narrower query, or more fields in groupBy, helps"
)
TOO_OFTEN: Final = (
    f"more than {MOST:,} alerts within the time for which they are remembered: events that come late may raise some of "
    "them again; a narrower query, or a higher threshold, helps"
)
LEFT_OUT: Final = "a group of events could not be judged and is left out; the scheduler's log says why"
_FAULTS_OF_DATA: Final = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
"""What values that nobody thought of may cause."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One rule in force, with its search and its query, parsed."""

    rule: BundledRule
    spec: SearchSpec
    query: Query


@dataclass(slots=True)
class _Kept:
    """What is remembered of a rule, the version of its record (None before the first), and the checkpoint in it."""

    state: RuleState
    version: int | None
    saved: int = 0


class Rounds:
    """The rounds of all scheduled searches of one namespace. One thread calls it.

    Args:
        namespace: whose.
        store, broker: of the namespace.
        clock: ms since the epoch.
        settle: ms after which what was stored can be read, by everybody's clock.
        breathe: called again and again; may raise to end a round in the middle.
    """

    def __init__(
        self,
        namespace: str,
        store: Store,
        broker: Broker,
        clock: Callable[[], int],
        settle: int,
        breathe: Callable[[], object],
    ) -> None:
        self._namespace = namespace
        self._store = store
        self._broker = broker
        self._clock = clock
        self._settle = settle
        self._breathe = breathe
        self._kept: dict[str, _Kept] = {}

    def run(self, scheduled: Scheduled, figures: Figures) -> bool:
        """One round; whether there is more to look at already.

        Raises:
            ConflictError: another scheduler was faster; the next try begins with what that one remembered.
            BackendError, QueryError: nothing is lost; the next try begins where the last round ended.
        """
        try:
            return self._run(scheduled, figures)
        except BaseException:
            # What is in memory may be ahead of what is remembered.
            self._kept.pop(scheduled.rule.name, None)
            raise

    def retire(self, name: str) -> bool:
        """Remember that a rule is gone; whether anything was remembered of it. Raises BackendError."""
        try:
            kept = self._load(name)
            if kept is None:
                return False
            if kept.state.pending:
                self._finish(name, kept, Figures())
            if kept.state.gone is None:
                kept.state.gone = self._clock()
                self._save(name, kept)
            elif kept.state.groups and kept.state.is_over(self._clock()):
                kept.state.groups = {}
                self._save(name, kept)
            return True
        finally:
            self._kept.pop(name, None)

    def remembered(self) -> list[str]:
        """Rules of which something is remembered, in force or not. Raises BackendError."""
        return [record.id for record in self._store.list_records(COLLECTION, PARENT)]

    # one round ------------------------------------------------------------------------------------------------------
    def _run(self, scheduled: Scheduled, figures: Figures) -> bool:
        name, spec = scheduled.rule.name, scheduled.spec
        newest = self._clock() - self._settle
        kept = self._begin(name, spec, newest)
        if kept.state.pending:
            self._finish(name, kept, figures)
        after = kept.state.checkpoint
        figures.checkpoint = after
        until = min(newest, after + STRIDE)
        if until <= after:
            return False
        reader = Reader(self._store, spec, scheduled.query, self._breathe)
        changed, more = reader.changed(after, until)
        while more and until - after > SMALLEST:
            until = after + (until - after) // 2
            changed, more = reader.changed(after, until)
        truncated, skipped = int(more), 0
        for group, span in reader.candidates(changed, until):
            try:
                reading = reader.read(group, span, after, until)
                self._judge(scheduled, kept, group, reading, reader, until)
            except _FAULTS_OF_DATA:
                # It would come up in every round: one group must not keep the others waiting.
                log.exception("rule %s: a group of events is left out", name)
                skipped += 1
                continue
            truncated += reading.truncated
            if len(kept.state.pending) >= MOST_PENDING:
                self._save(name, kept)
                self._finish(name, kept, figures)
        figures.truncated += truncated
        figures.skipped += skipped
        figures.note = LEFT_OUT if skipped else TOO_MANY if truncated else ""
        self._end(name, kept, spec, until, figures, happened=bool(changed))
        _count(figures, sum(span.count for span in changed.values()), self._clock(), until)
        return until < newest

    def _begin(self, name: str, spec: SearchSpec, newest: int) -> _Kept:
        kept = self._load(name)
        if kept is None or kept.state.is_over(self._clock()):
            first = RuleState(newest - spec.window, spec.hash)
            kept = _Kept(first, None if kept is None else kept.version)
            self._save(name, kept)
        elif kept.state.gone is not None:
            kept.state.gone = None
            self._save(name, kept)
        self._kept[name] = kept
        return kept

    def _judge(
        self, scheduled: Scheduled, kept: _Kept, group: Group, reading: Reading, reader: Reader, until: int
    ) -> None:
        """What the events of one group come to, into the state."""
        rule, spec, state = scheduled.rule, scheduled.spec, kept.state
        found = intervals(spec, reading.seen)
        if not found:
            return
        text = group_text(group)
        merged, new = fresh(
            state.known(text), found, lambda one: search_alert_id(self._namespace, rule.name, group, one.opening)
        )
        made = []
        for interval in new:
            events = reading.events if reading.events is not None else reader.opening(group, interval)
            made.append(self._draw_up(rule, spec, group, interval, events))
        state.learn(text, merged, found, until)
        state.pending += made

    def _draw_up(
        self, rule: BundledRule, spec: SearchSpec, group: Group, interval: Interval, events: Sequence[Found]
    ) -> Pending:
        alert = build_alert(rule, self._namespace, spec, group, interval, events, self._clock())
        made = Pending(alert, build_notice(rule, alert, spec, group, interval, events))
        made.encode()  # what cannot be written is this group's fault: fail here
        return made

    def _end(self, name: str, kept: _Kept, spec: SearchSpec, until: int, figures: Figures, *, happened: bool) -> None:
        """Remember how far this round came, with the alerts that are not written yet; then write them."""
        state = kept.state
        state.checkpoint, state.spec = until, spec.hash
        forgotten = state.forget(spec.window)
        figures.forgotten += forgotten
        if forgotten:
            figures.note = TOO_OFTEN
        if happened or state.pending or until - kept.saved >= SAVE_EVERY:
            self._save(name, kept)
        if state.pending:
            self._finish(name, kept, figures)

    def _finish(self, name: str, kept: _Kept, figures: Figures) -> None:
        """Write the alerts that are remembered, tell the responder, and take them off the record."""
        pending = kept.state.pending
        self._breathe()
        results = self._store.create_alerts([one.stored() for one in pending])
        told = []
        for one, result in zip(pending, results, strict=True):
            if result.outcome is Outcome.REJECTED:
                log.error("alert %s of rule %s cannot be stored: %s", one.alert.id, name, result.reason)
                figures.rejected += 1
                continue
            if result.outcome is Outcome.CREATED:
                figures.alerts += 1
                figures.last_alert = self._clock()
            if one.notice is not None:
                told.append(one.notice)
        tell_responder(self._broker, told)
        kept.state.pending = []
        self._save(name, kept)

    # what is remembered ---------------------------------------------------------------------------------------------
    def _load(self, name: str) -> _Kept | None:
        if name in self._kept:
            return self._kept[name]
        self._breathe()
        record = self._store.get_record(COLLECTION, PARENT, name)
        if record is None:
            return None
        state = RuleState.read(record.body)
        return _Kept(state, record.version, state.checkpoint)

    def _save(self, name: str, kept: _Kept) -> None:
        """Under the version that was read; raises ConflictError when another scheduler was faster."""
        record = self._store.put_record(COLLECTION, PARENT, name, kept.state.write(), kept.version)
        kept.version, kept.saved = record.version, kept.state.checkpoint


def _count(figures: Figures, matches: int, now: int, until: int) -> None:
    figures.rounds += 1
    figures.matches += matches
    figures.last_round, figures.checkpoint = now, until
    figures.error = ""
