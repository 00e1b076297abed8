"""AlertRule: what to alert on, what to do then, and the tests that prove it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from vedette_crds import sigma_text
from vedette_crds.common import (
    Count,
    Duration,
    EventMap,
    FieldName,
    Label,
    Line,
    Logsource,
    Query,
    Severity,
    Text,
    Timestamp,
    Url,
    Word,
)
from vedette_crds.model import Checked, Fault, Model, Opt, unique
from vedette_crds.resource import AGE, READY, REASON, Column, Resource, ResourceStatus

MAX_BYTES = 262_144
MAX_TEST_EVENTS = 10_000

Bound = Annotated[float, Field(ge=-1e15, le=1e15)]
GroupBy = Annotated[list[FieldName], Field(max_length=10)]
#: Kinds of detection besides Sigma; none of them says how severe it is by itself.
OTHERS = ("search", "absence", "newTerms", "indicatorMatch", "travel")


class Comparison(Checked):
    """Limits of a number; all that are given must hold."""

    CEL = (
        {
            "rule": "has(self.gt) || has(self.gte) || has(self.lt) || has(self.lte) || has(self.eq) || has(self.neq)",
            "message": "at least one of gt, gte, lt, lte, eq, neq is needed",
        },
    )

    gt: Opt[Bound] = Field(None, description="More than.")
    gte: Opt[Bound] = Field(None, description="At least.")
    lt: Opt[Bound] = Field(None, description="Less than.")
    lte: Opt[Bound] = Field(None, description="At most.")
    eq: Opt[Bound] = Field(None, description="Exactly.")
    neq: Opt[Bound] = Field(None, description="Anything but.")

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """At least one limit."""
        if not data.keys() & {"gt", "gte", "lt", "lte", "eq", "neq"}:
            yield Fault("at least one of gt, gte, lt, lte, eq, neq is needed")


class Distinct(Comparison):
    """Limits of the number of different values of a field."""

    field: FieldName = Field(description="The field whose different values count.")


class SearchCondition(Checked):
    """When a window of a search alerts; both must hold when both are given.

    Windows slide: what counts at a moment are the events of the time `window` before it. As long as the condition stays
    true it is one alert.
    """

    CEL = ({"rule": "has(self.count) || has(self.distinct)", "message": "at least one of count, distinct is needed"},)

    count: Opt[Comparison] = Field(
        None, description="Limits of the number of events in the window, by `gt` and `gte` of at most 10000."
    )
    distinct: Opt[Distinct] = Field(
        None, description="Limits of the number of different values in the window, by `gt` and `gte`."
    )

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """At least one of the two."""
        if not data.keys() & {"count", "distinct"}:
            yield Fault("at least one of count, distinct is needed")


class Search(Model):
    """A query that runs again and again over stored events: each run looks for those stored since the last one.

    Events count by their own time, `@timestamp`; one that comes late makes the alerts that it would have made in time.
    """

    query: Query = Field(description="Which events, in Lucene's syntax as the search bar takes it; without times.")
    every: Duration = Field("1m", description="How often it runs, 1s to 1d. An alert comes up to so much later.")
    window: Duration = Field("5m", description="How much event time the condition looks at, 1s to 30d.")
    group_by: GroupBy = Field(
        default_factory=list,
        description="Judge the events of each combination of these fields' values by themselves. A field that an event "
        "lacks is a value too, each of several values counts; case does not matter.",
    )
    condition: SearchCondition = Field(description="When a window alerts.")


class Watched(Model):
    """What must not be quiet."""

    field: FieldName = Field(description="The field that names it.")
    values: Annotated[list[Line], Field(min_length=1, max_length=1000)] = Field(
        description="The values that must occur."
    )


class Absence(Model):
    """Alerts when something that should happen does not."""

    query: Query = Field(description="Which events show life, in Lucene's syntax.")
    of: Opt[Watched] = Field(None, description="Watch each of these values by itself.")
    for_: Duration = Field(alias="for", description="Alert when none came for so long.")


class NewTerms(Model):
    """Alerts on values that were never seen before."""

    query: Query = Field(description="Which events, in Lucene's syntax.")
    fields: Annotated[list[FieldName], Field(min_length=1, max_length=4)] = Field(
        description="Alert on a combination of their values that is new."
    )
    history: Duration = Field("30d", description="New means: not seen for so long.")
    every: Duration = Field("5m", description="How often it runs.")


class IndicatorMatch(Model):
    """Alerts on events in which an indicator of compromise occurs, also when the indicator came later."""

    query: Query = Field("*", description="Which events, in Lucene's syntax.")
    fields: Annotated[list[FieldName], Field(min_length=1, max_length=32)] = Field(description="The fields to look in.")
    indicators: Annotated[list[Label], Field(min_length=1, max_length=32)] = Field(
        description="Names of Enrichments with `indicators`."
    )
    look_back: Duration = Field("7d", description="How far back to look for a new indicator.")


class Travel(Model):
    """Alerts on one user at two places between which nobody travels so fast."""

    query: Query = Field(description="Which events, in Lucene's syntax.")
    user_field: FieldName = Field("user.name", description="The field that names the user.")
    location_field: FieldName = Field("source.geo.location", description="The field with latitude and longitude.")
    faster_than: Annotated[str, StringConstraints(max_length=16, pattern=r"^[1-9][0-9]{0,5}(km/h|mph)$")] = Field(
        "900km/h", description="Faster than this is impossible."
    )
    ignore_within: Annotated[str, StringConstraints(max_length=16, pattern=r"^[0-9]{1,5}(km|mi)$")] = Field(
        "100km", description="Places closer than this count as one."
    )


class Suppress(Model):
    """One alert instead of many."""

    by: GroupBy = Field(default_factory=list, description="Alerts that agree in these fields are one.")
    for_: Duration = Field(alias="for", description="From the first alert on, in event time.")


class OpenIncident(Model):
    """Which incident the rule's alerts belong to."""

    open: Literal["auto", "suggest", "never"] = Field(
        "suggest",
        description="`auto` opens one by itself, at most 20 of a rule within an hour: beyond that its alerts join "
        "the last one, which says so. `suggest` offers it, `never` does neither.",
    )
    group_by: GroupBy = Field(default_factory=list, description="Alerts that agree in these fields share an incident.")
    within: Duration = Field("24h", description="For so long after the first alert.")
    template: Opt[Label] = Field(None, description="Name of the incident template: tasks and defaults.")


class Backtest(Model):
    """Trying the rule on stored events before it alerts."""

    over: Duration = Field("7d", description="How far back.")
    max_alerts: Annotated[int, Field(ge=0, le=100_000)] = Field(
        20, description="More alerts than this refuse the rule."
    )


class Probe(Model):
    """Sending the rule's own positive test through everything, to prove that it still works."""

    every: Duration = Field("6h", description="How often.")


class Rollout(Model):
    """How a new version of the rule comes into use."""

    mode: Literal["shadow", "canary", "active"] = Field(
        "active", description="`shadow` records matches only, `canary` alerts the owner only, `active` alerts."
    )
    max_alerts_per_day: Opt[Annotated[int, Field(ge=1, le=100_000)]] = Field(
        None, description="More than this sets the rule back to `shadow`."
    )
    backtest: Opt[Backtest] = Field(None, description="Try it on stored events first.")
    probe: Opt[Probe] = Field(None, description="Prove again and again that it works.")


class Repeat(Model):
    """The same event several times."""

    count: Annotated[int, Field(ge=1, le=MAX_TEST_EVENTS)] = Field(description="How many in all.")
    every: Duration = Field("1s", description="Time between two.")


class TimelineEntry(Model):
    """An event of a test."""

    at: Duration = Field("0s", description="When it happens, from the timeline's zero.")
    arrives: Opt[Duration] = Field(
        None, description="When it arrives, from the timeline's zero. Default: when it happens."
    )
    repeat: Opt[Repeat] = Field(None, description="The same event several times.")
    logsource: Opt[Logsource] = Field(
        None, description="Which kind of log it is. Default: the rule's. Searches do not ask for it."
    )
    event: EventMap = Field(description="Its fields, under ECS names or the names that the rule uses.")


class Expectation(Model):
    """What the timeline must lead to."""

    alerts: Annotated[int, Field(ge=0, le=MAX_TEST_EVENTS)] = Field(description="How many alerts.")
    fields: EventMap = Field(
        default_factory=dict,
        description="Fields that every alert's event has, with their values; of a search, the event at which the "
        "condition became true.",
    )


class RuleTest(Model):
    """A timeline of events and the alerts that it must raise."""

    name: Line = Field(description="What the test shows, as a sentence.")
    timeline: Annotated[list[TimelineEntry], Field(min_length=1, max_length=200)] = Field(description="The events.")
    expect: Expectation = Field(description="What they must lead to.")


class AlertRuleSpec(Checked):
    """What the user asks for: exactly one kind of detection."""

    ONE_OF = ("sigma", *OTHERS)
    CEL = (
        {
            "rule": "has(self.sigma) || has(self.severity)",
            "message": "severity is needed: only Sigma rules bring a level of their own",
        },
    )

    title: Opt[Line] = Field(None, description="Title of the alerts. Default: Sigma's `title`, else the object's name.")
    description: Opt[Text] = Field(None, description="What the rule finds and why it matters.")
    tags: Annotated[list[Word], Field(max_length=64)] = Field(
        default_factory=list, description="ATT&CK and other tags, `attack.t1110.001`; added to Sigma's own."
    )
    severity: Opt[Severity] = Field(None, description="How bad a true alert is. Default: Sigma's `level`.")
    owner: Opt[Line] = Field(None, description="Who looks after the rule.")
    runbook: Opt[Url] = Field(None, description="What to do about an alert.")
    references: Annotated[list[Url], Field(max_length=32)] = Field(default_factory=list, description="Further reading.")
    sigma: Opt[Annotated[str, StringConstraints(min_length=1, max_length=MAX_BYTES)]] = Field(
        None, description="One or more Sigma documents, with `---` between them: rules, correlations, filters."
    )
    search: Opt[Search] = Field(None, description="A query over stored events, run by the worker `scheduler`.")
    absence: Opt[Absence] = Field(None, description="Something that should happen and does not.")
    new_terms: Opt[NewTerms] = Field(None, description="Values that were never seen before.")
    indicator_match: Opt[IndicatorMatch] = Field(None, description="Indicators of compromise, also late ones.")
    travel: Opt[Travel] = Field(None, description="One user at two distant places.")
    summary: Opt[Annotated[str, StringConstraints(min_length=1, max_length=1024)]] = Field(
        None,
        description="The alert in one sentence, with fields in braces: `{source.ip} guessed {user.name|top(3)}`. "
        "Searches also know `{count}` and `{distinct}`.",
    )
    lateness: Opt[Duration] = Field(None, description="How late an event may arrive and still count.")
    suppress: Opt[Suppress] = Field(None, description="One alert instead of many.")
    incident: OpenIncident = Field(
        default_factory=OpenIncident, json_schema_extra={"default": {}}, description="Which incident alerts belong to."
    )
    rollout: Opt[Rollout] = Field(None, description="How a new version comes into use.")
    tests: Annotated[list[RuleTest], Field(max_length=100)] = Field(
        default_factory=list,
        description="Timelines of events and the alerts that they must raise.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """One detection; a severity where Sigma brings none; tests that are bounded and have names of their own."""
        yield from super().across(data)
        if "severity" not in data and data.keys() & set(OTHERS):
            yield Fault("severity is needed: only Sigma rules bring a level of their own", hint="add severity: medium")
        yield from unique(data, "tests", "name")
        yield from _bounded_tests(data)
        if isinstance(text := data.get("sigma"), str):
            yield from sigma_text.faults(text)


def _bounded_tests(data: Mapping[str, Any]) -> Iterator[Fault]:
    tests = data.get("tests")
    for index, test in enumerate(tests if isinstance(tests, list) else ()):
        timeline = test.get("timeline") if isinstance(test, dict) else None
        counts = [_count(entry) for entry in timeline] if isinstance(timeline, list) else []
        if sum(counts) > MAX_TEST_EVENTS:
            yield Fault(
                f"{sum(counts):,} events in one test",
                hint=f"at most {MAX_TEST_EVENTS:,}",
                at=("tests", index, "timeline"),
            )


def _count(entry: Any) -> int:
    repeat = entry.get("repeat") if isinstance(entry, dict) else None
    count = repeat.get("count") if isinstance(repeat, dict) else None
    return count if isinstance(count, int) else 1


class AlertRuleStats(Model):
    """Figures of a window, rounded, every few minutes."""

    window: Opt[Duration] = Field(None, description="The time that the figures are about.")
    matches: Opt[Count] = Field(None, description="Events that matched.")
    alerts: Opt[Count] = Field(None, description="Alerts raised.")
    suppressed: Opt[Count] = Field(None, description="Alerts that joined an open one.")
    false_positives: Opt[Count] = Field(None, description="Alerts that people closed as false.")
    lag_seconds: Opt[Word] = Field(None, description="From an event's arrival to its alert.")
    cost_micros: Opt[Word] = Field(None, description="Time that the rule takes per event, in microseconds.")
    last_alert_time: Opt[Timestamp] = Field(None, description="When the last alert was raised.")


class AlertRuleStatus(ResourceStatus):
    """What the operator observed."""

    spec_hash: Opt[Word] = Field(None, description="Hash of the spec that is loaded.")
    mode: Opt[Literal["shadow", "canary", "active"]] = Field(None, description="The mode in force.")
    stats: Opt[AlertRuleStats] = Field(None, description="Figures, rounded.")


class AlertRule(Resource):
    """What to alert on, what to do then, and the tests that prove it."""

    KIND = "AlertRule"
    PLURAL = "alertrules"
    SINGULAR = "alertrule"
    SHORT_NAMES = ("ar", "rule")
    PRINTER_COLUMNS = (
        READY,
        REASON,
        Column("Severity", "string", ".spec.severity", "How bad a true alert is; empty where Sigma says it."),
        Column("Mode", "string", ".status.mode", "The roll-out mode in force.", 1),
        Column("Alerts", "integer", ".status.stats.alerts", "Alerts raised in the window of the figures."),
        Column("False", "integer", ".status.stats.falsePositives", "Alerts that people closed as false.", 1),
        Column("Last alert", "date", ".status.stats.lastAlertTime", "When the last alert was raised."),
        Column("Owner", "string", ".spec.owner", "Who looks after the rule.", 1),
        AGE,
    )

    kind: Literal["AlertRule"] = Field(description="Always `AlertRule`.")
    spec: AlertRuleSpec = Field(description="What the user asks for.")
    status: Opt[AlertRuleStatus] = Field(None, description="What the operator observed; users do not write it.")

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """The spec's size: etcd keeps objects of 1.5 MiB at most, and kubectl doubles them in an annotation."""
        size = len(json.dumps(data.get("spec"), ensure_ascii=False, default=str).encode(errors="replace"))
        if size > MAX_BYTES:
            hint = f"at most {MAX_BYTES:,}: make several rules of it"
            yield Fault(f"the spec takes {size:,} bytes", hint=hint, at=("spec",))
