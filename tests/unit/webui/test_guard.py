"""What every response says, and which requests are refused before anything else looks at them."""

from collections.abc import Callable
from typing import Any

import pytest


def test_every_response_carries_the_strict_headers(ana: Any) -> None:
    for path in ("/alerts", "/search", "/signin", "/nowhere", "/healthz", "/static/app.js.hash"):
        headers = ana.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_pages_are_not_kept_by_caches_and_assets_are(ana: Any) -> None:
    assert ana.get("/alerts").headers["cache-control"] == "no-store"
    assert "immutable" in ana.get("/static/app.css.hash").headers["cache-control"]


def test_no_page_carries_inline_script_or_style(world: Any, ana: Any) -> None:
    world.alert(1)
    for path in ("/alerts", "/alerts/alert-1", "/search", "/rules", "/sources", "/dead-letters", "/incidents"):
        page = ana.get(path).text
        assert "<style" not in page, path
        assert " style=" not in page, path
        assert " onclick" not in page
        assert "javascript:" not in page
        assert page.count("<script") == page.count('<script type="module" src=') == 1, path


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:8420", "[::1"])
def test_a_foreign_host_name_is_refused(world: Any, host: str) -> None:
    assert world.visitor().get("/signin", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8420", "localhost", "LOCALHOST:9", "[::1]:8420"])
def test_the_own_host_names_are_answered(world: Any, host: str) -> None:
    assert world.visitor().get("/signin", headers={"host": host}).status_code == 200


def test_a_write_without_form_token_changes_nothing(world: Any, ana: Any) -> None:
    world.alert(1)
    answer = ana.post("/alerts/actions", data={"action": "acknowledge", "alert": "alert-1:1"})
    assert answer.status_code == 403
    assert world.store.get_alert("alert-1").workflow["status"] == "new"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_a_write_from_another_page_changes_nothing(
    world: Any, ana: Any, post: Callable[..., Any], headers: dict[str, str]
) -> None:
    world.alert(1)
    answer = post(ana, "/alerts/actions", {"action": "acknowledge", "alert": "alert-1:1"}, **headers)
    assert answer.status_code == 403
    assert world.store.get_alert("alert-1").workflow["status"] == "new"


def test_a_viewer_reads_and_changes_nothing(world: Any, post: Callable[..., Any]) -> None:
    world.alert(1)
    vic = world.visitor("vic-token")
    assert vic.get("/alerts/alert-1").status_code == 200
    for path in ("/alerts/actions", "/alerts/escalate", "/incidents", "/dead-letters/actions"):
        answer = post(vic, path, {"action": "acknowledge", "alert": "alert-1:1", "letter": "x"})
        assert answer.status_code == 403
        assert "role" in answer.text
    assert world.store.get_alert("alert-1").version == 1


def test_dead_letters_are_for_engineers(world: Any, post: Callable[..., Any]) -> None:
    answer = post(world.visitor("bo-token"), "/dead-letters/actions", {"action": "replay", "letter": "x"})
    assert answer.status_code == 403
    assert world.replayed == []


def test_a_form_that_is_too_large_is_refused(ana: Any, post: Callable[..., Any]) -> None:
    assert post(ana, "/incidents", {"title": "x" * 300_000}).status_code == 413


def test_a_namespace_that_holds_nothing_is_not_opened(ana: Any) -> None:
    assert ana.get("/alerts?ns=kube-system").status_code == 404
    assert ana.get("/alerts?ns=../../etc").status_code == 404
