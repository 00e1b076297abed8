"""Scheduled searches on the pages of rules and alerts, however strange what they tell."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.store.protocol import Heartbeat
from vedette_engine.query.lucene import parse
from vedette_webui import searched

EVIL = "\"'><script>x</script>{{7*7}}\u202e"
SPEC: dict[str, Any] = {
    "severity": "high",
    "search": {
        "query": "event.action:ssh_login AND NOT user.name:ana",
        "every": "30s",
        "window": "10m",
        "groupBy": ["source.ip"],
        "condition": {"distinct": {"field": "user.name", "gte": 5}},
    },
}
DETECTION: dict[str, Any] = {
    "kind": "search",
    "query": "event.action:ssh_login OR a",
    "count": 57,
    "distinct": {"field": "user.name", "count": 5},
    "window": {"start": 1_795_000_000_000, "end": 1_795_000_600_000},
    "group": {"source.ip": "192.0.2.7", "host.name": None},
    "tags": [],
}


@pytest.fixture
def ana(world: Any) -> Any:
    return world.visitor("ana-token")


def test_the_page_of_a_rule_tells_what_it_searches_for(world: Any, ana: Any) -> None:
    world.apply("AlertRule", "spray", SPEC)
    figures = {"rounds": 31, "matches": 70, "alerts": 2, "truncated": 3, "last_round": int(world.now * 1000)}
    body = {"role": "scheduler", "rules": {"spray": figures}}
    world.store.put_heartbeat(Heartbeat("scheduler", "1", int(world.now * 1000), body))
    page = ana.get("/rules/spray").text
    assert "event.action:ssh_login AND NOT user.name:ana" in page
    assert "Alerts on at least 5 different values of user.name within 10m for each source.ip" in page
    assert "runs every 30s" in page
    for name, value in (("Runs", 31), ("Groups not read in full", 3), ("Matches", 70)):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page
    (address,) = re.findall(r'href="(/search[^"]*)">See what it finds now', page)
    assert parse_qs(urlsplit(html.unescape(address)).query)["q"] == [SPEC["search"]["query"]]
    assert 'href="/rules/spray' in ana.get("/rules").text


@pytest.mark.parametrize(
    "search",
    [5, "x", {}, {"query": EVIL}, {"query": 5, "every": []}, {"query": "(", "condition": {"count": {"gte": 1}}}],
    ids=str,
)
def test_a_search_that_nobody_could_run_does_not_break_the_page(world: Any, ana: Any, search: Any) -> None:
    world.apply("AlertRule", "spray", {"severity": "high", "search": search})
    answer = ana.get("/rules/spray")
    assert answer.status_code == 200
    assert "<script>x" not in answer.text
    assert ana.get("/rules").status_code == 200


def test_the_page_of_an_alert_tells_what_was_found(world: Any, ana: Any) -> None:
    events = [{"id": f"{n:032x}", "time": 1_795_000_000_001 + n, "document": {"host.name": "web1"}} for n in range(20)]
    world.alert(body={"detection": DETECTION, "events": events})
    page = ana.get("/alerts/alert-1").text
    for text in (
        "<bdi>event.action:ssh_login OR a</bdi>",
        "57 events</b>",
        "<b>5</b> different values of <code><bdi>user.name</bdi></code> within 10 min",
        "absent in all of them",
        "<bdi>192.0.2.7</bdi>",
        "of 57, the earliest",
    ):
        assert text in page
    assert "carries no explanation" not in page
    (address,) = re.findall(r'href="(/search[^"]*)">Search for these events', page)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(html.unescape(address)).query).items()}
    assert asked["q"] == '((event.action:ssh_login OR a) AND source.ip:"192.0.2.7") AND NOT host.name:*'
    # The window is open at its start, the page's range at its end.
    assert (asked["from"][-5:], asked["to"][-5:]) == (".001Z", ".001Z")
    assert ana.get(html.unescape(address)).status_code == 200


def test_the_link_finds_the_events_of_the_window_and_no_others(world: Any, ana: Any) -> None:
    end = int(world.now * 1000) - 3000
    document = {"event.action": "ssh_login", "source.ip": "192.0.2.7"}
    # Their times: 1 s, 2 s, … before now; the window holds (now - 6 s, now - 3 s].
    world.events({number: {**document, "host.name": f"web{number}"} for number in range(1, 9)})
    detection = {
        **DETECTION,
        "query": "event.action:ssh_login",
        "window": {"start": end - 3000, "end": end},
        "group": {"source.ip": "192.0.2.7"},
    }
    world.alert(body={"detection": detection, "events": []})
    (address,) = re.findall(r'href="(/search[^"]*)">Search for these', ana.get("/alerts/alert-1").text)
    page = ana.get(html.unescape(address)).text
    assert [number for number in range(1, 9) if f"web{number}" in page] == [3, 4, 5]


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | st.just(EVIL),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries({"kind": st.just("search")}, optional={name: json for name in DETECTION if name != "kind"})
)
def test_an_alert_of_any_shape_can_be_read(detection: dict[str, Any]) -> None:
    found = searched.read(detection)
    assert found is not None
    assert isinstance(found.length, str)
    assert all(found.span.values())
    if found.text:
        parse(found.text)


@pytest.mark.parametrize("field", [name for name in DETECTION if name != "kind"])
def test_what_an_alert_tells_is_escaped(world: Any, ana: Any, field: str) -> None:
    for number, value in enumerate((EVIL, {EVIL: EVIL, "field": EVIL}, [EVIL], None, 2**62)):
        world.alert(number, id=f"a{number}", body={"detection": {**DETECTION, field: value}, "events": []})
        answer = ana.get(f"/alerts/a{number}")
        assert answer.status_code == 200
        assert "<script>x" not in answer.text


def test_what_no_search_raised_is_told_as_before() -> None:
    assert searched.read({"explanation": {}}) is None
    assert searched.of_rule({"sigma": "x"}) is None
