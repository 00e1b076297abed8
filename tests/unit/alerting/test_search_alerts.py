"""What an alert of a scheduled search says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vedette_engine.alerting.bundle import BundledRule
from vedette_engine.alerting.search_alerts import (
    MAX_BYTES_KEPT,
    MAX_EVENTS_KEPT,
    Found,
    build_alert,
    build_notice,
    search_alert_id,
    seen,
    summary_view,
)
from vedette_engine.alerting.searches import Interval, Limits, SearchSpec, Seen, intervals

SPEC = SearchSpec("event.action:x", 60_000, 1000, ("source.ip",), Limits(at_least=2), ("user.name", Limits(at_least=1)))
RULE = BundledRule(
    "guessing",
    "hash",
    [],
    severity="high",
    title="Guessing",
    summary="{source.ip} tried {user.name} {count} times, {distinct} accounts, {x.kept}",
    owner="soc",
    runbook="https://runbooks.example/x",
    tags=["attack.t1110"],
    search=SPEC.to_json(),
)
GROUP = ("192.0.2.7",)


def found(number: int, time: int, **fields: Any) -> Found:
    event = {name.replace("__", "."): value for name, value in fields.items()}
    return Found(time, f"{number:02d}", {"source.ip": "192.0.2.7", **event})


EVENTS = [
    found(1, 500, user__name="never seen, too early"),
    found(4, 1800, user__name="bo"),
    found(2, 1000, user__name="Ana"),
    found(3, 1500, user__name=["ana", "bo"], **{"vedette.other": {"x.kept": "yes"}}),
    found(5, 1801, user__name="never seen, too late"),
]
OPENED = Interval(1800, 2800, "04", 3, 2)


def test_the_alert_tells_of_its_window() -> None:
    alert = build_alert(RULE, "shop", SPEC, GROUP, OPENED, EVENTS, 5000)
    assert (alert.time, alert.raised, alert.rule, alert.severity, alert.title) == (
        1800,
        5000,
        "guessing",
        "high",
        "Guessing",
    )
    assert alert.summary == "192.0.2.7 tried Ana, bo 3 times, 2 accounts, yes"
    assert alert.body["detection"] == {
        "kind": "search",
        "query": "event.action:x",
        "count": 3,
        "distinct": {"field": "user.name", "count": 2},
        "window": {"start": 800, "end": 1800},
        "group": {"source.ip": "192.0.2.7"},
        "tags": ["attack.t1110"],
        "owner": "soc",
        "runbook": "https://runbooks.example/x",
        "rule_hash": "hash",
        "rule_version": "",
    }
    assert [event["id"] for event in alert.body["events"]] == ["02", "03", "04"]
    assert alert.body["events"][0] == {"id": "02", "time": 1000, "document": EVENTS[2].document}


def test_without_title_and_summary_the_rules_name_stands() -> None:
    bare = replace(RULE, title="", summary="", severity="")
    alert = build_alert(bare, "shop", SPEC, (None,), OPENED, EVENTS, 0)
    assert (alert.title, alert.summary, alert.severity) == ("guessing", "guessing", "medium")
    assert alert.body["detection"]["group"] == {"source.ip": None}


def test_ids_tell_namespace_rule_group_and_opening_event_apart() -> None:
    ids = {
        search_alert_id("shop", "r", ("a",), "1"),
        search_alert_id("shop", "r", ("a",), "2"),
        search_alert_id("shop", "r", (None,), "1"),
        search_alert_id("shop", "s", ("a",), "1"),
        search_alert_id("web", "r", ("a",), "1"),
    }
    assert len(ids) == 5
    alert = build_alert(RULE, "shop", SPEC, GROUP, OPENED, EVENTS, 0)
    assert alert.id == search_alert_id("shop", "guessing", GROUP, "04")


def test_values_come_by_frequency_in_the_first_spelling_and_one_alone_is_no_list() -> None:
    events = [
        found(1, 1, user__name="bo"),
        found(2, 2, user__name="Ana"),
        found(3, 3, user__name="ANA"),
        found(4, 4, host__name=["w", "W"]),
    ]
    view = summary_view("{user.name} {host.name} {absent}", replace(OPENED, count=4, distinct=0), events)
    assert view == {"user.name": ["Ana", "bo"], "host.name": "w", "count": 4, "distinct": 0}


def test_only_the_first_events_are_kept() -> None:
    many = [found(number, 1000 + number) for number in range(50)]
    alert = build_alert(RULE, "shop", SPEC, GROUP, replace(OPENED, start=1049), many, 0)
    assert [event["id"] for event in alert.body["events"]] == [f"{number:02d}" for number in range(20)]
    assert len(alert.body["events"]) == MAX_EVENTS_KEPT


@pytest.mark.parametrize(("size", "kept"), [(MAX_BYTES_KEPT, 1), (MAX_BYTES_KEPT // 3, 2)])
def test_large_events_leave_no_room_for_others_and_the_first_is_kept_always(size: int, kept: int) -> None:
    many = [found(number, 1000 + number, message="x" * size) for number in range(5)]
    alert = build_alert(RULE, "shop", SPEC, GROUP, replace(OPENED, start=1004), many, 0)
    assert len(alert.body["events"]) == kept


def test_a_notice_groups_by_the_searchs_group_and_else_by_the_opening_event() -> None:
    rule = replace(RULE, incident={"groupBy": ["source.ip", "user.name", "x.kept"], "within": 7})
    alert = build_alert(rule, "shop", SPEC, GROUP, OPENED, EVENTS, 0)
    notice = build_notice(rule, alert, SPEC, GROUP, OPENED, EVENTS)
    assert notice is not None
    assert (notice.alert, notice.rule, notice.time, notice.within) == (alert.id, "guessing", 1800, 7)
    assert notice.group == '["192.0.2.7","bo",null]'
    assert build_notice(RULE, alert, SPEC, GROUP, OPENED, EVENTS) is None


def test_what_counts_of_an_event_are_its_time_and_the_different_values() -> None:
    assert seen(SPEC, EVENTS[3]) == Seen(1500, "03", ("ana", "bo"))
    assert seen(replace(SPEC, distinct=None), EVENTS[3]) == Seen(1500, "03", ())


def test_an_alert_keeps_as_many_events_as_its_interval_counted() -> None:
    (interval,) = intervals(SPEC, [seen(SPEC, event) for event in EVENTS[1:4]])
    assert interval == Interval(1500, 2500, "03", 2, 2)
    alert = build_alert(RULE, "shop", SPEC, GROUP, interval, EVENTS[1:4], 0)
    assert [event["id"] for event in alert.body["events"]] == ["02", "03"]
