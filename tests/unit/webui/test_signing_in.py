"""Who gets in, and what keeps everybody else out."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_webui import sessions
from vedette_webui.settings import Account, Settings
from vedette_webui.visit import inside

SETTINGS = Settings([Account("ana", "engineer", hashlib.sha256(b"right").hexdigest())], session_key=b"k" * 32)
ANA = SETTINGS.accounts[0]


def test_the_printed_link_signs_in_and_leaves_no_token_in_the_address(world: Any) -> None:
    client = world.visitor()
    answer = client.get("/?token=ana-token")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/alerts"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "ana-token" not in cookie
    assert client.get("/alerts").status_code == 200


def test_the_cookie_is_secure_and_bound_to_the_host_behind_tls() -> None:
    settings = Settings(SETTINGS.accounts, public_url="https://vedette.example")
    assert settings.secure
    assert settings.cookie.startswith("__Host-")
    assert "vedette.example" in settings.allowed_hosts


def test_the_sign_in_form_leads_back_to_the_page_that_was_asked_for(world: Any) -> None:
    client = world.visitor()
    page = client.get("/rules?state=live")
    assert page.status_code == 401
    assert 'value="/rules?state=live"' in page.text
    answer = client.post("/signin", data={"token": "bo-token", "next": "/rules?state=live"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/rules?state=live")


def test_a_wrong_token_is_refused_and_guessing_is_slowed_down(world: Any) -> None:
    client = world.visitor()
    answers = [client.post("/signin", data={"token": f"guess {n}"}).status_code for n in range(12)]
    assert answers[:10] == [403] * 10
    assert answers[10:] == [429] * 2
    blocked = client.post("/signin", data={"token": "ana-token"})
    assert blocked.status_code == 429
    assert 0 < int(blocked.headers["retry-after"]) <= 60


def test_signing_out_ends_the_session(ana: Any, post: Callable[..., Any]) -> None:
    assert post(ana, "/signout", {}).headers["location"] == "/signin"
    assert ana.get("/alerts").status_code == 401


def test_a_session_ends_by_itself(world: Any, ana: Any) -> None:
    world.now += world.settings.session_seconds + 1
    assert ana.get("/alerts").status_code == 401


def test_every_page_asks_for_a_session(world: Any) -> None:
    client = world.visitor()
    closed = [
        route.path.replace("{id}", "x").replace("{name}", "x")
        for route in world.app.routes
        if hasattr(route, "methods") and route.path not in {"/", "/signin", "/healthz"}
    ]
    assert len(closed) > 20
    for path in closed:
        assert client.get(path).status_code in {401, 405}, path
        assert client.post(path, data={}).status_code in {401, 405}, path


def test_a_link_from_another_site_finds_its_way_to_the_strict_cookie(world: Any) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    page = world.visitor().get("/alerts/alert-1", headers=headers)
    assert page.status_code == 200
    assert 'http-equiv="refresh"' in page.text


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "", "/a\nb", "//[x"]
)
def test_signing_in_never_leads_to_another_site(target: str) -> None:
    assert inside(target) == "/alerts"


@given(st.binary(max_size=300) | st.just(b""))
def test_no_forged_cookie_is_a_session(raw: bytes) -> None:
    assert sessions.read(SETTINGS, raw.decode("latin-1"), 0.0) is None
    assert sessions.read(SETTINGS, sessions.encode(raw), 0.0) is None


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_session_with_one_changed_byte_is_none(position: int, change: int) -> None:
    raw = bytearray(sessions.decode(sessions.issue(SETTINGS, ANA, 0.0)) or b"")
    raw[position % len(raw)] ^= change
    assert sessions.read(SETTINGS, sessions.encode(bytes(raw)), 1.0) is None


def test_a_session_ends_when_its_token_or_role_is_taken_away() -> None:
    cookie = sessions.issue(SETTINGS, ANA, 0.0)
    assert sessions.read(SETTINGS, cookie, 1.0) is not None
    for accounts in ([], [ANA._replace(role="viewer")], [ANA._replace(sha256="0" * 64)]):
        assert sessions.read(Settings(accounts, session_key=b"k" * 32), cookie, 1.0) is None


def test_form_tokens_differ_each_time_and_hold_for_their_own_session_only() -> None:
    first = sessions.read(SETTINGS, sessions.issue(SETTINGS, ANA, 0.0), 1.0)
    second = sessions.read(SETTINGS, sessions.issue(SETTINGS, ANA, 0.0), 1.0)
    assert first is not None
    assert second is not None
    one, two = sessions.csrf_token(SETTINGS, first), sessions.csrf_token(SETTINGS, first)
    assert one != two
    assert sessions.csrf_holds(SETTINGS, first, one)
    assert sessions.csrf_holds(SETTINGS, first, two)
    assert not sessions.csrf_holds(SETTINGS, second, one)
    assert not sessions.csrf_holds(SETTINGS, first, one[:-2])


def test_the_brake_forgets_old_failures_and_bounds_what_it_remembers() -> None:
    brake = sessions.Brake(limit=2, window=10, keys=3)
    brake.failed("a", 0)
    brake.failed("a", 1)
    assert brake.wait("a", 2) == pytest.approx(8)
    assert brake.wait("a", 11) == 0
    for key in "bcd":
        brake.failed(key, 3)
    assert brake.wait("a", 3) == 0
