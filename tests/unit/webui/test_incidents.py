"""Incidents: opened once whoever asks, changed field by field, written on by several people at once."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from vedette_backends.cluster.protocol import Key
from vedette_crds.problems import ProblemsError
from vedette_webui import auth

Post = Callable[..., Any]
HTMX = {"hx-request": "true"}


def spec(world: Any, name: str) -> dict[str, Any]:
    return dict(world.cluster.get(Key("Incident", "shop", name)).manifest["spec"])


def escalate(world: Any, client: Any, post: Post, number: int = 1, **data: Any) -> str:
    version = world.store.get_alert(f"alert-{number}").version
    answer = post(client, "/alerts/escalate", {"alert": f"alert-{number}:{version}", **data})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"].split("/")[2].split("?")[0])


def test_escalating_opens_an_incident_with_what_the_alert_says(world: Any, ana: Any, post: Post) -> None:
    world.alert(1, severity="critical")
    name = escalate(world, ana, post)
    assert name.startswith("inc-20261118-")
    assert len(name) == len("inc-20261118-") + 10
    made = spec(world, name)
    assert made["title"] == "192.0.2.1 guessed its way into web1 as root"
    assert (made["severity"], made["phase"], made["assignee"]) == ("critical", "Identification", "ana")
    workflow = world.store.get_alert("alert-1").workflow
    assert (workflow["incident"], workflow["status"], workflow["owner"]) == (name, "acknowledged", "ana")
    page = ana.get(f"/incidents/{name}").text
    assert "guessed its way into web1" in page


def test_what_the_ui_creates_is_a_valid_incident(world: Any, ana: Any, post: Post) -> None:
    from vedette_crds.load import load_text  # noqa: PLC0415 # one test needs it

    world.alert(1, summary="a\nb\x00" + "c" * 500)
    found = world.cluster.get(Key("Incident", "shop", escalate(world, ana, post)))
    text = json.dumps({key: found.manifest[key] for key in ("apiVersion", "kind", "metadata", "spec")})
    try:
        loaded = load_text(text, "incident.json")
    except ProblemsError as error:
        pytest.fail(str(error))
    assert loaded.problems == [] or list(loaded.problems) == []


def test_escalating_twice_opens_one_incident(world: Any, ana: Any, post: Post) -> None:
    world.alert(1)
    assert escalate(world, ana, post) == escalate(world, world.visitor("bo-token"), post)
    assert len(world.cluster.list("Incident", "shop")) == 1


def test_two_people_escalating_at_once_open_one_incident(world: Any, post: Post) -> None:
    world.alert(1)
    clients = [world.visitor(token) for token in ("ana-token", "bo-token") * 3]
    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(lambda client: post(client, "/alerts/escalate", {"alert": "alert-1:1"}), clients))
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert len(world.cluster.list("Incident", "shop")) == 1
    assert world.store.get_alert("alert-1").version == 2


def test_several_alerts_become_one_incident_named_after_the_first(world: Any, ana: Any, post: Post) -> None:
    for number in (1, 2, 3):
        world.alert(number, severity="critical" if number == 2 else "low")
    answer = post(ana, "/alerts/escalate", {"alert": [f"alert-{number}:1" for number in (1, 2, 3)]}, **HTMX)
    name = answer.headers["hx-redirect"].split("/")[2].split("?")[0]
    assert spec(world, name)["severity"] == "critical"
    assert {world.store.get_alert(f"alert-{number}").workflow["incident"] for number in (1, 2, 3)} == {name}


def test_an_alert_can_be_added_to_an_open_incident(world: Any, ana: Any, post: Post) -> None:
    world.alert(1)
    world.alert(2)
    name = escalate(world, ana, post, 1)
    assert escalate(world, ana, post, 2, incident=name) == name
    assert ana.get(f"/alerts?incident={name}&status=all").text.count("data-row=") == 2


def test_an_alert_of_one_incident_is_not_taken_by_another(world: Any, ana: Any, post: Post) -> None:
    world.alert(1)
    world.alert(2)
    first = escalate(world, ana, post, 1)
    second = escalate(world, ana, post, 2)
    escalate(world, ana, post, 1, incident=second)
    assert world.store.get_alert("alert-1").workflow["incident"] == first


def test_an_incident_that_does_not_exist_takes_no_alert(world: Any, ana: Any, post: Post) -> None:
    world.alert(1)
    answer = post(ana, "/alerts/escalate", {"alert": "alert-1:1", "incident": "inc-20200101-0000000000"})
    assert answer.status_code == 404
    assert "incident" not in world.store.get_alert("alert-1").workflow


@pytest.fixture
def incident(ana: Any, post: Post) -> str:
    answer = post(ana, "/incidents", {"title": "Odd logins", "severity": "medium"})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"].split("/")[2].split("?")[0])


def change(client: Any, post: Post, name: str, field: str, was: str, value: str, **more: str) -> Any:
    return post(client, f"/incidents/{name}/change", {"field": field, "was": was, "value": value, **more}, **HTMX)


def test_changing_the_phase_is_kept_and_written_on_the_timeline(
    world: Any, ana: Any, post: Post, incident: str
) -> None:
    assert change(ana, post, incident, "phase", "Identification", "Containment").status_code == 204
    assert spec(world, incident)["phase"] == "Containment"
    assert "set phase to <b>Containment</b>" in ana.get(f"/incidents/{incident}").text


def test_closing_keeps_the_disposition(world: Any, ana: Any, post: Post, incident: str) -> None:
    change(ana, post, incident, "phase", "Identification", "Closed", disposition="true-positive")
    assert spec(world, incident)["disposition"] == "true-positive"
    assert incident not in ana.get("/incidents").text
    assert incident in ana.get("/incidents?phase=all").text


def test_changes_of_different_fields_do_not_hinder_each_other(world: Any, ana: Any, post: Post, incident: str) -> None:
    bo = world.visitor("bo-token")
    assert change(ana, post, incident, "phase", "Identification", "Containment").status_code == 204
    assert change(bo, post, incident, "assignee", "ana", "bo").status_code == 204
    assert change(ana, post, incident, "title", "Odd logins", "Stolen password").status_code == 204
    made = spec(world, incident)
    assert (made["phase"], made["assignee"], made["title"]) == ("Containment", "bo", "Stolen password")


def test_a_change_on_top_of_what_nobody_saw_is_refused_and_names_it(
    world: Any, ana: Any, post: Post, incident: str
) -> None:
    change(world.visitor("bo-token"), post, incident, "severity", "medium", "critical")
    answer = change(ana, post, incident, "severity", "medium", "low")
    assert answer.status_code == 409
    assert "critical" in answer.headers["hx-trigger"]
    assert spec(world, incident)["severity"] == "critical"


@pytest.mark.parametrize(
    ("field", "value"),
    [("phase", "Done"), ("severity", "severe"), ("title", ""), ("opened", "2020-01-01"), ("status", "x")],
)
def test_a_value_that_the_kind_does_not_know_is_refused(
    world: Any, ana: Any, post: Post, incident: str, field: str, value: str
) -> None:
    before = spec(world, incident)
    assert change(ana, post, incident, field, str(before.get(field, "")), value).status_code == 400
    assert spec(world, incident) == before


def test_notes_of_two_people_at_once_are_all_kept_in_order(world: Any, post: Post, incident: str) -> None:
    clients = [world.visitor("ana-token"), world.visitor("bo-token")]

    def write(number: int) -> int:
        data = {"id": f"{number:013d}-{'ab'[number % 2] * 8}", "text": f"note {number}\nsecond line"}
        return int(post(clients[number % 2], f"/incidents/{incident}/notes", data).status_code)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write, range(40))) == {303}
    notes = [record.body for record in world.store.list_records("notes", incident) if record.body["kind"] == "note"]
    assert sorted(note["text"] for note in notes) == sorted(f"note {number}\nsecond line" for number in range(40))
    assert {note["author"] for note in notes} == {"ana", "bo"}


def test_a_note_that_is_sent_twice_is_stored_once(world: Any, ana: Any, post: Post, incident: str) -> None:
    for _ in range(2):
        assert (
            post(ana, f"/incidents/{incident}/notes", {"id": "0000000000001-abcdefab", "text": "once"}).status_code
            == 303
        )
    texts = [record.body.get("text") for record in world.store.list_records("notes", incident)]
    assert texts.count("once") == 1


def test_another_note_under_a_taken_id_is_not_lost_silently(ana: Any, post: Post, incident: str) -> None:
    data = {"id": "0000000000001-abcdefab"}
    post(ana, f"/incidents/{incident}/notes", {**data, "text": "first"})
    assert post(ana, f"/incidents/{incident}/notes", {**data, "text": "second"}).status_code == 409


@pytest.mark.parametrize(
    "data",
    [
        {"id": "0000000000001-abcdefab", "text": "  "},
        {"id": "../x", "text": "t"},
        {"id": "0000000000001-abcdefab", "text": "x" * 20_001},
    ],
)
def test_a_note_that_cannot_be_kept_is_refused(
    world: Any, ana: Any, post: Post, incident: str, data: dict[str, str]
) -> None:
    before = len(world.store.list_records("notes", incident))
    assert post(ana, f"/incidents/{incident}/notes", data).status_code == 400
    assert len(world.store.list_records("notes", incident)) == before


def test_an_incident_that_does_not_exist_says_so(ana: Any, post: Post) -> None:
    assert ana.get("/incidents/inc-20200101-0000000000").status_code == 404
    assert (
        post(ana, "/incidents/inc-20200101-0000000000/notes", {"id": "0000000000001-abcdefab", "text": "x"}).status_code
        == 404
    )


def test_notes_are_for_those_who_may_read_them(
    world: Any, ana: Any, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.alert(1)
    name = escalate(world, ana, post)
    note = {"text": "the password was hunter2", "id": "0001795000000000-0001"}
    assert post(ana, f"/incidents/{name}/notes", note).status_code == 303
    viewer = world.visitor("vic-token")
    assert "hunter2" in viewer.get(f"/incidents/{name}").text
    monkeypatch.setitem(auth.RIGHTS, "viewer", auth.RIGHTS["viewer"] - {auth.Right("list", "notes")})
    page = viewer.get(f"/incidents/{name}").text
    assert "hunter2" not in page
    assert "You may not read the notes" in page


def test_adding_to_the_incident_of_another_alert_takes_the_right_to_change_it(
    world: Any, ana: Any, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.alert(1)
    world.alert(2)
    escalate(world, ana, post)
    monkeypatch.setitem(auth.RIGHTS, "responder", auth.RIGHTS["responder"] - {auth.Right("patch", "incidents")})
    versions = [world.store.get_alert(f"alert-{number}").version for number in (1, 2)]
    chosen = [f"alert-{number}:{version}" for number, version in zip((1, 2), versions, strict=True)]
    assert post(world.visitor("bo-token"), "/alerts/escalate", {"alert": chosen}).status_code == 403
    assert "incident" not in world.store.get_alert("alert-2").workflow
