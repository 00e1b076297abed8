"""The status of an Incident."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.store.protocol import Alert
from vedette_crds.conditions import REASONS, TYPES
from vedette_crds.duration import format_duration, parse_duration
from vedette_crds.incident import Incident, IncidentStatus
from vedette_operator.incidents import HOUR, MINUTE, SLA, status

OPENED = int(dt.datetime(2026, 11, 22, 10, 0, tzinfo=dt.UTC).timestamp() * 1000)


def at(minutes: float) -> str:
    return dt.datetime.fromtimestamp(OPENED / 1000 + minutes * 60, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def incident(**spec: Any) -> Object:
    full = {"title": "Guessing", "severity": "high", "phase": "Identification", "opened": at(0), **spec}
    manifest = {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": "inc-20261122-0123456789", "namespace": "shop", "creationTimestamp": at(-1)},
        "spec": {name: value for name, value in full.items() if value is not None},
    }
    return Object(Key("Incident", "shop", "inc-20261122-0123456789"), manifest, {}, 3, 1)


def alert(*documents: Mapping[str, Any]) -> Alert:
    events = [{"id": str(number), "time": 0, "document": document} for number, document in enumerate(documents)]
    return Alert("a", 0, 0, "rule", "high", "title", "summary", {"events": events})


def look(item: Object, minutes: float = 1, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    found = status(item, [], 0, before=before or {}, now=OPENED + int(minutes * MINUTE))
    IncidentStatus.model_validate(found)
    return found


def condition(found: Mapping[str, Any], kind: str) -> tuple[str, str]:
    (one,) = [one for one in found["conditions"] if one["type"] == kind]
    assert kind in TYPES
    assert one["reason"] in REASONS
    return one["status"], one["reason"]


# timers and limits ---------------------------------------------------------------------------------------------------
def test_a_new_incident_is_open_and_in_time() -> None:
    found = look(incident())
    assert found["observedGeneration"] == 3
    assert "timers" not in found
    assert condition(found, "Ready") == ("True", "Open")
    assert condition(found, "SLA") == ("True", "InTime")


def test_timers_are_what_people_wrote_down() -> None:
    item = incident(phase="Closed", disposition="benign", acknowledged=at(3.5), contained=at(60), closed=at(120))
    found = look(item, 500)
    assert found["timers"] == {"acknowledge": "3m30s", "contain": "1h", "resolve": "2h"}
    assert condition(found, "Ready") == ("True", "Closed")


def test_a_step_that_nobody_wrote_down_counts_from_when_it_was_seen_and_stays() -> None:
    first = look(incident(assignee="ana"), 2)
    assert first["timers"] == {"acknowledge": "2m"}
    second = look(incident(assignee="ana", phase="Eradication"), 60, first)
    assert second["timers"] == {"acknowledge": "2m", "contain": "1h"}
    third = look(incident(assignee="ana", phase="Closed", disposition="benign"), 90, second)
    assert third["timers"] == {"acknowledge": "2m", "contain": "1h", "resolve": "1h30m"}


def test_a_step_back_takes_its_timer_back() -> None:
    first = look(incident(phase="Recovery"), 5)
    assert look(incident(phase="Containment"), 9, first)["timers"] == {"acknowledge": "5m"}


def test_a_step_lies_before_the_later_ones_that_were_written_down() -> None:
    found = look(incident(phase="Closed", disposition="benign", resolved=at(30)), 600)
    assert found["timers"] == {"acknowledge": "30m", "contain": "30m", "resolve": "30m"}


def test_a_time_before_the_opening_is_no_time_at_all() -> None:
    assert look(incident(acknowledged=at(-10)))["timers"] == {"acknowledge": "0s"}


def test_without_an_opening_the_object_s_own_beginning_counts() -> None:
    assert look(incident(opened=None, acknowledged=at(4)))["timers"] == {"acknowledge": "5m"}


@pytest.mark.parametrize(
    ("item", "minutes", "in_time"),
    [
        pytest.param(incident(severity="critical"), 15, True, id="to the minute"),
        pytest.param(incident(severity="critical"), 15.1, False, id="nobody took it on"),
        pytest.param(incident(severity="critical", acknowledged=at(20)), 21, False, id="taken on too late"),
        pytest.param(incident(severity="critical", acknowledged=at(2)), 239, True, id="not contained yet"),
        pytest.param(incident(severity="critical", acknowledged=at(2)), 241, False, id="not contained in time"),
        pytest.param(incident(severity="low"), 60, True, id="low"),
        pytest.param(incident(severity="informational"), 9_999_999, True, id="no limit"),
        pytest.param(
            incident(severity="high", acknowledged=at(2), contained=at(3), phase="Recovery"), 9_999_999, True, id="done"
        ),
    ],
)
def test_limits_depend_on_the_severity(item: Object, minutes: float, *, in_time: bool) -> None:
    wanted = ("True", "InTime") if in_time else ("False", "Late")
    assert condition(look(item, minutes), "SLA") == wanted


def test_worse_incidents_have_shorter_limits() -> None:
    order = [SLA[name] for name in ("critical", "high", "medium", "low")]
    for tighter, looser in pairwise(order):
        assert (tighter.acknowledge or 0) < (looser.acknowledge or 0)
        assert (tighter.contain or 0) < (looser.contain or 0)
    assert SLA["critical"].contain == 4 * HOUR


def test_the_limits_are_the_documented_ones() -> None:
    for severity, limits in SLA.items():
        if limits.acknowledge and limits.contain:
            told = f"{format_duration(limits.acknowledge)} and {format_duration(limits.contain)}"
            assert re.search(rf"{told}( after opening)? when( it is)? {severity}", TYPES["SLA"])


def test_a_status_changes_only_when_something_did() -> None:
    first = look(incident(), 1)
    assert look(incident(), 2, first) == first
    late = look(incident(), 31, first)
    assert late != first
    assert look(incident(), 40, late) == late


# the object ----------------------------------------------------------------------------------------------------------
def test_an_incident_that_is_not_valid_says_what_is_wrong() -> None:
    found = look(incident(phase="Closed"))
    assert condition(found, "Accepted") == ("False", "Invalid")
    assert condition(found, "Ready") == ("False", "Invalid")
    assert "disposition" in found["conditions"][0]["message"]


def test_an_incident_of_the_api_server_is_accepted() -> None:
    item = incident()
    metadata = item.manifest["metadata"]
    metadata |= {"uid": "u", "generation": 3, "resourceVersion": "7", "managedFields": [{"manager": "x"}]}
    Incident.model_validate(item.manifest)
    assert condition(look(item), "Accepted") == ("True", "Valid")


# alerts --------------------------------------------------------------------------------------------------------------
def test_entities_are_collected_from_the_events_of_its_alerts() -> None:
    alerts = [alert({"source.ip": "192.0.2.7", "host.name": ["a", "b"]}), alert({"source.ip": "192.0.2.7"})]
    found = status(incident(), alerts, 3, before={}, now=OPENED)
    assert found["alerts"] == 3
    assert found["entities"] == {"host.name": ["a", "b"], "source.ip": ["192.0.2.7"]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=15,
)
names = st.sampled_from(["host.name", "user.name", "source.ip", "process.executable", "file.path", "other"])


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.dictionaries(names, json_values), max_size=3).map(lambda found: alert(*found)), max_size=5),
    st.integers(0, 10**6),
)
def test_whatever_events_hold_the_status_is_one_that_the_kind_allows(alerts: list[Alert], total: int) -> None:
    found = status(incident(), alerts, total, before={}, now=OPENED)
    IncidentStatus.model_validate(found)


@given(json_values)
def test_whatever_an_alert_holds_it_is_read(body: Any) -> None:
    one = Alert("a", 0, 0, "rule", "high", "t", "s", body if isinstance(body, dict) else {"events": body})
    assert status(incident(), [one], 1, before={}, now=OPENED)["alerts"] == 1


@given(
    st.sampled_from(["Identification", "Containment", "Eradication", "Recovery", "Lessons Learned", "Closed"]),
    st.dictionaries(
        st.sampled_from(["acknowledged", "contained", "resolved", "closed", "opened"]),
        st.datetimes(timezones=st.just(dt.UTC)).map(lambda moment: f"{moment:%Y-%m-%dT%H:%M:%SZ}".rjust(20, "0")),
    ),
    st.integers(-(10**13), 10**14),
)
def test_any_times_give_timers_that_are_durations(phase: str, times: Mapping[str, str], now: int) -> None:
    found = status(incident(phase=phase, disposition="benign", **times), [], 0, before={}, now=now)
    timers = found.get("timers", {})
    assert all(parse_duration(text) >= 0 for text in timers.values())
    again = status(incident(phase=phase, disposition="benign", **times), [], 0, before=found, now=now)
    assert again == found
