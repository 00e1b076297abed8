"""The queue and one alert: filters, actions under versions, undo, history."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Post = Callable[..., Any]


def rows(page: Any) -> list[str]:
    return [part.split('"')[0] for part in page.text.split('data-row="')[1:]]


@pytest.fixture
def queue(world: Any) -> Any:
    world.alert(1, severity="critical", rule="lsass-dump", summary="rundll32.exe dumped LSASS")
    world.alert(
        2,
        severity="high",
        body={"detection": {}, "events": [{"id": "e", "time": 1, "document": {"user.name": "mallory"}}]},
    )
    world.alert(3, severity="low", workflow={"status": "acknowledged", "owner": "ana"})
    world.alert(4, workflow={"status": "closed", "owner": "bo", "disposition": "benign"})
    return world


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({}, [1, 2, 3]),
        ({"status": "all"}, [1, 2, 3, 4]),
        ({"status": "closed"}, [4]),
        ({"severity": ["critical", "low"]}, [1, 3]),
        ({"rule": "lsass-dump"}, [1]),
        ({"owner": "me"}, [3]),
        ({"owner": "bo", "status": "all"}, [4]),
        ({"owner": "nobody"}, [1, 2]),
        ({"q": "mallory"}, [2]),
        ({"q": "LSASS"}, [1]),
        ({"from": "2026-11-18T10:00:00Z", "to": "2026-11-18T10:00:01Z"}, []),
        ({"range": "15m"}, [1, 2, 3]),
        ({"q": "nothing like it"}, []),
    ],
    ids=str,
)
def test_the_address_says_which_alerts_are_shown(ana: Any, params: dict[str, Any], found: list[int]) -> None:
    assert rows(ana.get("/alerts", params=params)) == [f"alert-{number}" for number in found]


def test_an_empty_queue_says_what_would_make_something_appear(ana: Any) -> None:
    page = ana.get("/alerts").text
    assert "No alerts yet" in page
    assert "vedette demo" in page


@pytest.mark.usefixtures("queue")
def test_a_filter_that_fits_nothing_offers_the_way_back(ana: Any) -> None:
    assert "Show all alerts" in ana.get("/alerts?q=zzz").text


def test_paging_goes_through_all_alerts_once(world: Any, ana: Any) -> None:
    for number in range(120):
        world.alert(number)
    seen: list[str] = []
    address = "/alerts"
    while address:
        page = ana.get(address, headers={"hx-request": "true"} if seen else {})
        seen += rows(page)
        after = (
            page.text.partition('hx-get="')[2]
            if not seen[50:]
            else page.text.partition('class="more"')[2].partition('hx-get="')[2]
        )
        more = page.text.partition('<tr class="more">')[2].partition('href="')[2].partition('"')[0]
        address = more.replace("&amp;", "&")
        assert len(seen) <= 120, after
    assert sorted(seen) == sorted(f"alert-{number}" for number in range(120))


def test_acknowledging_sets_status_and_owner_and_is_written_down(queue: Any, ana: Any, post: Post) -> None:
    answer = post(
        ana, "/alerts/actions", {"action": "acknowledge", "alert": ["alert-1:1", "alert-2:1"]}, **{"hx-request": "true"}
    )
    assert answer.status_code == 204
    assert json.loads(answer.headers["hx-trigger"])["toast"]["text"] == "2 alerts acknowledged"
    alert = queue.store.get_alert("alert-1")
    assert (alert.workflow["status"], alert.workflow["owner"]) == ("acknowledged", "ana")
    history = queue.store.list_records("history", "alert-1")
    assert [(record.body["author"], record.body["fields"]["status"]) for record in history] == [("ana", "acknowledged")]
    assert "ana</b> set status to acknowledged" in ana.get("/alerts/alert-1").text


def test_undo_brings_back_what_was(queue: Any, ana: Any, post: Post) -> None:
    answer = post(
        ana,
        "/alerts/actions",
        {"action": "close", "disposition": "benign", "alert": "alert-3:1"},
        **{"hx-request": "true"},
    )
    undo = json.loads(answer.headers["hx-trigger"])["toast"]["undo"]
    assert queue.store.get_alert("alert-3").workflow["status"] == "closed"
    assert post(ana, undo["action"], {"items": undo["items"]}).status_code == 303
    workflow = queue.store.get_alert("alert-3").workflow
    assert (workflow["status"], workflow["disposition"], workflow["owner"]) == ("acknowledged", "", "ana")


@pytest.mark.parametrize(
    "workflow",
    [{}, {"status": "new"}, {"status": "closed"}, {"owner": ""}, {"disposition": ""}, {"status": "acknowledged"}],
    ids=str,
)
def test_undo_takes_the_rights_of_what_it_undoes(queue: Any, post: Post, workflow: dict[str, str]) -> None:
    before = queue.store.get_alert("alert-3")
    items = json.dumps([{"id": "alert-3", "version": before.version, "workflow": workflow}])
    assert post(queue.visitor("vic-token"), "/alerts/undo", {"items": items}).status_code == 403
    assert queue.store.get_alert("alert-3") == before


def test_undo_does_not_touch_what_somebody_changed_since(queue: Any, ana: Any, post: Post) -> None:
    answer = post(ana, "/alerts/actions", {"action": "acknowledge", "alert": "alert-1:1"}, **{"hx-request": "true"})
    undo = json.loads(answer.headers["hx-trigger"])["toast"]["undo"]
    post(
        queue.visitor("bo-token"), "/alerts/actions", {"action": "close", "disposition": "benign", "alert": "alert-1:2"}
    )
    told = post(ana, undo["action"], {"items": undo["items"]}, **{"hx-request": "true"})
    assert "changed again by somebody else" in told.headers["hx-trigger"]
    assert queue.store.get_alert("alert-1").workflow["status"] == "closed"


@pytest.mark.parametrize(
    "items",
    [
        "x",
        "[]1",
        '[{"id": "alert-1", "version": 1, "workflow": {"incident": "inc-1"}}]',
        '[{"id": "alert-1", "version": 1, "workflow": {"status": "root"}}]',
        '[{"id": "alert-1", "version": 1, "workflow": []}]',
    ],
)
def test_undo_sets_nothing_that_an_action_could_not_have_changed(queue: Any, ana: Any, post: Post, items: str) -> None:
    assert post(ana, "/alerts/undo", {"items": items}).status_code in {303, 400}
    assert queue.store.get_alert("alert-1").version == 1 or "incident" not in queue.store.get_alert("alert-1").workflow
    assert queue.store.get_alert("alert-1").workflow["status"] == "new"


def test_an_action_on_an_old_version_changes_nothing_and_says_so(queue: Any, ana: Any, post: Post) -> None:
    bo = queue.visitor("bo-token")
    post(bo, "/alerts/actions", {"action": "acknowledge", "alert": "alert-1:1"})
    answer = post(
        ana, "/alerts/actions", {"action": "close", "alert": ["alert-1:1", "alert-2:1"]}, **{"hx-request": "true"}
    )
    text = json.loads(answer.headers["hx-trigger"])["toast"]["text"]
    assert "1 alert closed" in text
    assert "1 had been changed by somebody else" in text
    assert queue.store.get_alert("alert-1").workflow["owner"] == "bo"


@pytest.mark.parametrize(
    "data",
    [
        {"action": "explode", "alert": "alert-1:1"},
        {"action": "close"},
        {"action": "close", "alert": "alert-1"},
        {"action": "close", "alert": "alert-1:1", "disposition": "magic"},
        {"action": "assign", "alert": "alert-1:1", "owner": "x" * 300},
    ],
)
def test_an_action_that_makes_no_sense_is_refused_with_a_reason(
    queue: Any, ana: Any, post: Post, data: dict[str, Any]
) -> None:
    answer = post(ana, "/alerts/actions", data)
    assert answer.status_code == 400
    assert "<h1>" in answer.text
    assert queue.store.get_alert("alert-1").version == 1


@pytest.mark.usefixtures("queue")
def test_without_script_an_action_leads_back_to_the_list(ana: Any, post: Post) -> None:
    answer = post(
        ana, "/alerts/actions", {"action": "acknowledge", "alert": "alert-1:1", "back": "/alerts?ns=shop&status=all"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/alerts?ns=shop&status=all")


@pytest.mark.usefixtures("queue")
def test_the_way_back_never_leads_to_another_site(ana: Any, post: Post) -> None:
    answer = post(ana, "/alerts/actions", {"action": "acknowledge", "alert": "alert-1:1", "back": "//evil.example/"})
    assert answer.headers["location"] == "/alerts"


def test_an_alert_shows_why_it_fired_with_what_matched(world: Any, ana: Any) -> None:
    explanation = {
        "kind": "and",
        "held": True,
        "parts": [
            {"kind": "selection", "name": "selection_img", "held": True, "parts": [
                {"kind": "atom", "held": True, "field": "process.executable", "expected": "ends with",
                 "actual": ["C:\\cmd.exe"]}]},
            {"kind": "not", "held": True, "parts": [
                {"kind": "selection", "name": "filter_main", "held": False, "parts": [
                    {"kind": "atom", "held": False, "field": "user.name", "expected": "svc", "why": "field absent"}]}]},
        ],
    }  # fmt: skip
    document = {"process.executable": "C:\\cmd.exe", "host.name": "web1", "vedette.other": {"vendor.field": "kept"}}
    world.alert(
        1,
        body={
            "detection": {"explanation": explanation, "tags": ["attack.t1110.001"], "owner": "soc"},
            "events": [{"id": "e1", "time": 5, "document": document}],
        },
    )
    page = ana.get("/alerts/alert-1").text
    assert "selection_img" in page
    assert "<mark><bdi>C:\\cmd.exe</bdi></mark>" in page
    assert "field absent" in page
    assert 'class="matched"' in page
    assert "vendor.field" in page
    assert "T1110.001" in page


def test_the_raw_alert_is_one_click_away(world: Any, ana: Any) -> None:
    world.alert(1)
    assert "&#34;severity&#34;: &#34;high&#34;" in ana.get("/alerts/alert-1?tab=raw").text
    assert ana.get("/alerts/alert-1/json").json()["id"] == "alert-1"


def test_an_alert_that_does_not_exist_says_so(ana: Any) -> None:
    assert ana.get("/alerts/nothing").status_code == 404
