"""What people see who may not do everything, and signing in with a token of the cluster."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from vedette_backends.cluster.resources import Identity
from vedette_webui.kubernetes import TOKEN_LIMIT, KubernetesAccounts
from vedette_webui.settings import Settings

SCREENSHOTS = Path(__file__).resolve().parents[2] / ".cache" / "screenshots"
JANE = "system:serviceaccount:shop:jane"
LONGEST = "j" * TOKEN_LIMIT


class Cluster:
    """One person of a cluster and what she may do; tests change it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.known = True
        self.rights = {("list", "alerts"), ("get", "alerts"), ("dispose", "alerts"), ("list", "events")}

    def review_token(self, token: str) -> Identity | None:
        return Identity(JANE) if self.known and token == LONGEST else None

    def review_access(self, _: Identity, verb: str, _group: str, resource: str, *_where: str) -> tuple[bool, str]:
        return (verb, resource) in self.rights, ""


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def auth(cluster: Cluster) -> Callable[[Settings], Any]:
    return lambda settings: KubernetesAccounts(
        settings, cluster.review_token, cluster.review_access, clock=lambda: cluster.now
    )


def sign_in(page: Page) -> None:
    page.get_by_label("Token").fill(LONGEST)
    page.get_by_role("button", name="Sign in").click()


def test_a_token_is_pasted_and_the_longest_cookie_is_kept_by_the_browser(visit: Callable[..., Page]) -> None:
    page = visit("/alerts?status=all", quiet=False)
    expect(page.get_by_text("kubectl create token NAME")).to_be_visible()
    sign_in(page)
    expect(page).to_have_url(re.compile(r"/alerts\?status=all$"))
    expect(page.get_by_label(f"Signed in as {JANE}")).to_be_visible()
    page.reload()
    expect(page.get_by_role("table", name="Alerts")).to_be_visible()


def test_only_what_may_be_done_is_offered(visit: Callable[..., Page], cluster: Cluster) -> None:
    page = visit(quiet=False)
    sign_in(page)
    rail = page.get_by_role("navigation", name="Pages")
    expect(rail.get_by_role("link")).to_have_count(2)
    expect(rail).to_contain_text("Search")
    page.get_by_role("table", name="Alerts").locator("tbody a.open").first.click()
    expect(page.get_by_role("button", name="Close c")).to_be_visible()
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
    expect(page.get_by_role("button", name="Assign")).to_have_count(0)
    expect(page.get_by_role("button", name="Escalate")).to_have_count(0)
    cluster.rights.add(("acknowledge", "alerts"))
    cluster.now += 10
    page.reload()
    expect(page.get_by_role("button", name="Acknowledge")).to_be_visible()


def test_a_right_that_was_taken_away_is_named_when_a_button_still_shows(
    visit: Callable[..., Page], cluster: Cluster
) -> None:
    page = visit(quiet=False)
    sign_in(page)
    page.get_by_role("table", name="Alerts").locator("tbody a.open").first.click()
    cluster.rights.discard(("dispose", "alerts"))
    cluster.now += 10
    page.get_by_role("button", name="Close c").click()
    expect(page.locator("#toasts")).to_contain_text("You may not dispose alerts in shop")
    expect(page.locator("#toasts")).to_contain_text("verb dispose on alerts of the group vedette.dev")


def test_a_revoked_token_leads_back_to_the_sign_in(visit: Callable[..., Page], cluster: Cluster) -> None:
    page = visit(quiet=False)
    sign_in(page)
    expect(page.get_by_role("table", name="Alerts")).to_be_visible()
    cluster.known, cluster.now = False, cluster.now + 60
    page.get_by_role("link", name="Search", exact=False).first.click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_long_name_leaves_room_on_a_narrow_screen(visit: Callable[..., Page]) -> None:
    page = visit(quiet=False, viewport={"width": 360, "height": 700})
    page.screenshot(path=SCREENSHOTS / "cluster-signin-360.png")
    sign_in(page)
    expect(page.get_by_role("table", name="Alerts")).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "cluster-alerts-360.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_label(f"Signed in as {JANE}").click()
    expect(page.get_by_text("known to the cluster")).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "cluster-alerts-1280.png")
