"""Search, rules, sources, dead letters: what they show and how the address drives them."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.unit.webui.conftest import NOW

from vedette_backends.cluster.protocol import Key
from vedette_backends.errors import UnavailableError
from vedette_backends.store.protocol import DeadLetter, Heartbeat, NewEvent
from vedette_crds.problems import Problem
from vedette_webui.app import create_app
from vedette_webui.render import AssetsMissingError
from vedette_webui.settings import Settings

Post = Callable[..., Any]


@pytest.fixture
def events(world: Any) -> Any:
    users = ["mallory", "ana", "ana"]
    world.events(
        {
            number: {
                "event.action": "ssh_login",
                "user.name": users[number % 3],
                "host.name": f"web{number % 2}",
                "source.ip": f"192.0.2.{number}",
                "message": f"Failed password for {users[number % 3]}",
                "vedette.other": {"vendor.number": str(number)},
            }
            for number in range(60)
        }
    )
    return world


def total(page: Any) -> int:
    return int(page.text.split('<p class="total"><strong>')[1].split("<")[0])


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("", 60),
        ("user.name:mallory", 20),
        ("failed password", 60),
        ("source.ip:192.0.2.0/28", 16),
        ("user.name:mallory AND NOT host.name:web0", 10),
        ("vendor.number:7", 1),
        ("user.name:nobody", 0),
    ],
)
def test_a_query_finds_what_the_store_finds(ana: Any, query: str, number: int) -> None:
    page = ana.get("/search", params={"q": query, "range": "all"})
    if number:
        assert total(page) == number
    else:
        assert "Nothing found" in page.text


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize(("query", "character"), [('user.name:"ana', 11), ("(a OR b", None), ("user.name:/[/", None)])
def test_a_query_that_cannot_be_read_keeps_its_text_and_says_where(ana: Any, query: str, character: int | None) -> None:
    page = ana.get("/search", params={"q": query})
    assert page.status_code == 200
    assert 'aria-invalid="true"' in page.text
    assert 'id="query-error"' in page.text
    if character is not None:
        assert f"(character {character})" in page.text


@pytest.mark.usefixtures("events")
def test_deep_and_long_queries_are_errors_in_the_page(ana: Any) -> None:
    for query in ("(" * 3000 + "a" + ")" * 3000, "a OR " * 1500 + "b", "NOT " * 2000 + "a"):
        page = ana.get("/search", params={"q": query})
        assert page.status_code in {200, 414}


@pytest.mark.usefixtures("events")
def test_paging_shows_every_event_once(ana: Any) -> None:
    seen: list[str] = []
    address = "/search?range=all"
    while address:
        page = ana.get(address, headers={"hx-request": "true"} if seen else {}).text
        seen += [part.split('"')[0] for part in page.split('data-row="')[1:]]
        address = page.partition('<tr class="more">')[2].partition('href="')[2].partition('"')[0].replace("&amp;", "&")
    assert sorted(seen) == sorted(f"{number:032x}" for number in range(60))


def test_a_search_at_any_time_works_beside_events_of_all_ages(world: Any, ana: Any) -> None:
    world.events({1: {"message": "now"}})
    old = [
        NewEvent(f"{n:032x}", NOW, at, f"old-{n}", {"message": "old"})
        for n, at in ((8, 0), (9, -(10**13)), (10, 10**14))
    ]
    world.store.create_events("30d", old)
    for query in ("", "now", "old"):
        page = ana.get("/search", params={"q": query, "range": "all"})
        assert 'id="query-error"' not in page.text
        assert "data-chart" in page.text


@pytest.mark.usefixtures("events")
def test_fields_show_their_top_values_with_shares(ana: Any) -> None:
    part = ana.get("/search/field", params={"field": "user.name", "range": "all"}).text
    assert part.index("ana") < part.index("mallory")
    assert "66.7%" in part
    assert "33.3%" in part


@pytest.mark.usefixtures("events")
def test_columns_can_be_chosen_and_stay_in_the_address(ana: Any) -> None:
    page = ana.get("/search?range=all&cols=user.name,vendor.number").text
    assert page.count('<td class="mono"') == 100
    assert "cols=user.name&amp;" in page or 'cols=user.name"' in page


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize("negate", ["", "1"])
def test_a_value_can_be_filtered_for_and_out_from_its_menu(ana: Any, negate: str) -> None:
    params = {
        "field": "user.name",
        "value": 'ma"llory\\',
        "q": "host.name:web0 OR host.name:web1",
        "range": "all",
        "negate": negate,
    }
    answer = ana.get("/search/filter", params=params)
    assert answer.status_code == 303
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["range"] == ["all"]
    page = ana.get(answer.headers["location"])
    assert 'aria-invalid="true"' not in page.text
    if negate:
        assert total(page) == 60
    else:
        assert "Nothing found" in page.text


@pytest.mark.usefixtures("events")
def test_words_are_completed_to_fields_and_values(ana: Any) -> None:
    assert "user.name:" in ana.get("/search/complete?typed=user.na").json()
    assert any("mallory" in offer for offer in ana.get("/search/complete?typed=user.name:mal").json())
    assert ana.get("/search/complete?typed=" + "x" * 2000).json() == []


@pytest.mark.usefixtures("events")
def test_an_event_has_its_own_address(ana: Any) -> None:
    page = ana.get(f"/events/{7:032x}")
    assert "192.0.2.7" in page.text
    assert "vendor.number" in page.text
    assert ana.get("/events/none").status_code == 404


def condition(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, str]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-11-18T10:00:00Z",
    }


@pytest.mark.parametrize(
    ("conditions", "word"),
    [
        ([], "waiting"),
        ([condition("Accepted", "True"), condition("Ready", "True")], "live"),
        ([condition("Accepted", "False", "InvalidSigma", "line 3: unknown modifier")], "rejected"),
        ([condition("Accepted", "False", "NotYetSupported", "correlations")], "not yet supported"),
        (
            [condition("Accepted", "True"), condition("Tested", "False", "TestsFailed", "one: expected 1 alert")],
            "tests fail",
        ),
        ([condition("Accepted", "True"), condition("Loaded", "False"), condition("Ready", "False")], "loading"),
        ([condition("DataAvailable", "False", "NoSource"), condition("Ready", "True")], "no data"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_says_in_one_word_where_it_stands(
    world: Any, ana: Any, conditions: list[dict[str, str]], word: str
) -> None:
    world.apply("AlertRule", "one", {"sigma": "title: A rule\nlevel: high\n"})
    world.cluster.patch_status(Key("AlertRule", "shop", "one"), {"conditions": conditions})
    page = ana.get("/rules").text
    assert f"</i>{word}</span>" in page
    assert "A rule" in page
    for each in conditions:
        if each["message"]:
            assert each["message"] in ana.get("/rules/one").text


def test_counters_of_all_workers_add_up(world: Any, ana: Any) -> None:
    world.apply("AlertRule", "one", {"sigma": "title: A rule\n"})
    for worker in ("a", "b"):
        body = {
            "role": "pipeline",
            "rules": {"one": {"matches": 20, "errors": 1, "micros": 1.5, "last": 5}},
            "sources": {
                "web-auth": {"rate": 2.25, "events": 10, "lag_ms": 400, "last_ingested": int(world.now * 1000)}
            },
        }
        world.store.put_heartbeat(Heartbeat(worker, "1", int(world.now * 1000), body))
    world.store.put_heartbeat(
        Heartbeat("gone", "1", int(world.now * 1000) - 10**6, {"sources": {"web-auth": {"rate": 100.0, "events": 1}}})
    )
    assert '<td class="num" data-label="matches">40</td>' in ana.get("/rules").text
    page = ana.get("/sources").text
    assert '<td class="num" data-label="events/s">4.5</td>' in page
    assert '<td class="num" data-label="events">21</td>' in page
    assert "400 ms" in page
    assert "receiving" in page


def test_a_heartbeat_of_any_shape_does_not_break_the_pages(world: Any, ana: Any) -> None:
    world.apply("AlertRule", "one", {"sigma": 5})
    bodies: list[dict[str, Any]] = [
        {},
        {"rules": [], "sources": None},
        {"rules": {"one": 5}, "sources": {"web-auth": {"rate": "x", "lag_ms": None, "events": True}}},
        {"counters": {}, "errors": ["<b>"]},
    ]
    for number, body in enumerate(bodies):
        world.store.put_heartbeat(Heartbeat(f"w{number}", "1", int(world.now * 1000), body))
    for path in ("/rules", "/rules/one", "/sources"):
        assert ana.get(path).status_code == 200


def test_problems_of_files_are_shown_with_path_and_line(world: Any, ana: Any) -> None:
    world.problems.append(
        Problem(
            "duplicate key",
            object="AlertRule shop/x",
            path="spec.sigma",
            hint="remove one",
            file="rules/x.yaml",
            line=17,
        )
    )
    page = ana.get("/rules").text
    assert "rules/x.yaml:17" in page
    assert "duplicate key" in page
    assert "remove one" in page


def test_thousands_of_rules_come_in_pages(world: Any, ana: Any) -> None:
    for number in range(130):
        world.apply("AlertRule", f"rule-{number:03d}", {"sigma": f"title: Rule {number}\n"})
    assert ana.get("/rules").text.count("data-row=") == 100
    assert ana.get("/rules?page=1").text.count("data-row=") == 30
    assert ana.get("/rules?q=rule+12").text.count("data-row=") == 11


def test_dead_letters_are_replayed_and_dismissed(world: Any, ana: Any, post: Post) -> None:
    letters = [
        DeadLetter(f"d{n}", n, "web-auth", "Malformed", "not JSON", b'{"a":\xff', {"key": "k"}) for n in range(3)
    ]
    world.store.put_dead_letters(letters)
    page = ana.get("/dead-letters").text
    assert "not JSON" in page
    assert "\\xff" in page
    assert post(ana, "/dead-letters/actions", {"action": "replay", "letter": ["d0", "d1"]}).status_code == 303
    assert world.replayed == ["d0", "d1"]
    answer = post(ana, "/dead-letters/actions", {"action": "dismiss", "letter": "d2"}, **{"hx-request": "true"})
    undo = json.loads(answer.headers["hx-trigger"])["toast"]["undo"]
    assert world.store.get_dead_letter("d2").state == "dismissed"
    post(ana, undo["action"], {"action": undo["do"], "letter": undo["letter"]})
    assert world.store.get_dead_letter("d2").state == "waiting"


def test_pages_without_anything_say_what_to_do(ana: Any) -> None:
    for path, command in {
        "/search": "curl",
        "/rules": "vedette up",
        "/dead-letters": "vedette replay",
        "/incidents": "<kbd>e</kbd>",
    }.items():
        assert command in ana.get(path).text, path


def test_a_store_that_does_not_answer_is_an_error_with_an_id_that_the_log_has(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def down(_: str) -> Any:
        raise UnavailableError("the disk is gone")

    world.app = create_app(world.settings, down, world.cluster, clock=lambda: world.now)
    answer = world.visitor("ana-token").get("/alerts")
    assert answer.status_code == 503
    number = answer.text.split("Error <code>")[1].split("<")[0]
    assert any(number in record.getMessage() for record in caplog.records)
    assert "the disk is gone" not in answer.text


def test_without_any_namespace_the_pages_say_so(world: Any) -> None:
    world.cluster.delete(Key("LogSource", "shop", "web-auth"))
    answer = world.visitor("ana-token").get("/alerts")
    assert answer.status_code == 404
    assert "vedette up" in answer.text


def test_missing_assets_are_named_at_the_start(world: Any, tmp_path: Any) -> None:
    with pytest.raises(AssetsMissingError, match="scripts/assets"):
        create_app(Settings([], assets=tmp_path / "none"), lambda _: world.store, world.cluster)
