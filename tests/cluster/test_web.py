"""People at the pages of a cluster: a real browser, tokens of the cluster, rights by RoleBindings."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.cluster.release import SYSTEM, Release, sshd
from tests.helpers import until

USER = "system:serviceaccount:shop:{}"


@dataclass(frozen=True, slots=True)
class Desk:
    """Opens pages as somebody."""

    shop: Release
    url: str
    opened: Callable[[], Page]

    def sign_in(self, name: str, path: str = "/alerts") -> Page:
        """A page of a person, signed in with a token of their ServiceAccount."""
        token = self.shop.node.kubectl("create", "token", name, "-n", "shop").strip()
        page = self.opened()
        page.goto(path)
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Sign in").click()
        return page


@pytest.fixture(scope="module")
def people(shop: Release) -> Iterator[Release]:
    """`responder` and `viewer` are bound to the roles of these names in the shop, `stranger` to none."""
    kubectl = shop.node.kubectl
    for name in ("responder", "viewer", "stranger"):
        kubectl("create", "serviceaccount", name, "-n", "shop")
    for name in ("responder", "viewer"):
        kubectl(
            *("create", "rolebinding", f"test-{name}", "-n", "shop"),
            f"--clusterrole=vedette:{name}",
            f"--serviceaccount=shop:{name}",
        )
    yield shop
    kubectl("delete", "rolebinding", "test-responder", "test-viewer", "-n", "shop")
    kubectl("delete", "serviceaccount", "responder", "viewer", "stranger", "-n", "shop")


@pytest.fixture(scope="module")
def forwarded(shop: Release) -> Iterator[str]:
    """The pages' URL by `kubectl port-forward`, as the chart's notes say."""
    kubectl = str(shop.node.layout.tools / "kubectl")
    command = [kubectl, "port-forward", "-n", SYSTEM, "service/vedette-web", ":8420"]
    with subprocess.Popen(
        command, env=shop.node.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as forward:
        assert forward.stdout is not None
        said = forward.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", said)
        assert found is not None, said + forward.stdout.read()
        yield f"http://127.0.0.1:{found.group(1)}"
        forward.terminate()


@pytest.fixture
def desk(chromium: Browser, people: Release, forwarded: str) -> Iterator[Desk]:
    contexts: list[BrowserContext] = []

    def opened() -> Page:
        context = chromium.new_context(base_url=forwarded, viewport={"width": 1280, "height": 800})
        context.set_default_timeout(20_000)
        contexts.append(context)
        return context.new_page()

    yield Desk(people, forwarded, opened)
    for context in contexts:
        context.close()


def incident(shop: Release, address: str) -> str:
    """An attack from an address, and the incident that follows."""
    shop.send(sshd("backup-admin", address))

    def found() -> str:
        alerts = shop.alerts("decoy-account", address)
        return str(alerts[0].workflow.get("incident", "")) if alerts else ""

    until(found, seconds=30, what="the incident", pause=0.1)
    return found()


def test_a_responder_sees_an_alert_come_and_works_on_its_incident(desk: Desk) -> None:
    page = desk.sign_in("responder")
    expect(page.locator("#live")).to_have_attribute("data-state", "on")
    page.evaluate("window.marked = true")
    name = incident(desk.shop, "192.0.2.101")
    row = page.locator("tr.row", has_text="192.0.2.101 tried the decoy account")
    expect(row).to_be_visible(timeout=20_000)
    # It is the same page: nothing was loaded again.
    assert page.evaluate("window.marked")
    expect(row.locator("a.tag")).to_have_attribute("title", name)
    row.locator("a.tag").click()
    page.wait_for_url(re.compile(f"/incidents/{name}"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("192.0.2.101 tried the decoy account")
    page.get_by_role("button", name="Containment").click()
    expect(page.locator('[aria-current="step"]')).to_have_text("Containment")
    page.get_by_label("Note").fill("Blocked the address at the edge.")
    page.get_by_role("button", name="Keep note").click()
    expect(page.locator(".timeline .note")).to_contain_text("Blocked the address at the edge.")
    found = desk.shop.get("incident", name)
    assert found["spec"]["phase"] == "Containment"
    assert found["metadata"]["annotations"]["vedette.dev/changed-by"] == USER.format("responder")
    assert "Containment" in desk.shop.node.kubectl("get", "incident", name, "-n", "shop")
    (note,) = [record for record in desk.shop.store().list_records("notes", name) if record.body.get("kind") == "note"]
    assert (note.body["author"], note.body["text"]) == (USER.format("responder"), "Blocked the address at the edge.")


def test_what_kubectl_changes_shows_without_reload(desk: Desk) -> None:
    name = incident(desk.shop, "192.0.2.102")
    page = desk.sign_in("responder", f"/incidents/{name}")
    expect(page.locator("#live")).to_have_attribute("data-state", "on")
    patch = json.dumps({"spec": {"phase": "Containment"}})
    desk.shop.node.kubectl("patch", "incident", name, "-n", "shop", "--type=merge", "-p", patch)
    expect(page.locator('[aria-current="step"]')).to_have_text("Containment", timeout=20_000)


def test_a_viewer_sees_everything_and_changes_nothing(desk: Desk) -> None:
    name = incident(desk.shop, "192.0.2.103")
    page = desk.sign_in("viewer")
    row = page.locator("tr.row", has_text="192.0.2.103 tried the decoy account")
    expect(row).to_be_visible()
    row.locator("a.open").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("192.0.2.103")
    for button in ("Acknowledge", "Assign", "Escalate", "Close"):
        expect(page.get_by_role("button", name=button)).to_have_count(0)
    page.goto(f"/incidents/{name}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("192.0.2.103")
    expect(page.get_by_label("Note")).to_have_count(0)
    contain = page.get_by_role("button", name="Containment")
    expect(contain).to_be_disabled()
    # Whoever gets past the page is refused by the server, with the right that is missing.
    contain.evaluate("button => { button.disabled = false }")
    contain.click()
    expect(page.locator("#toasts")).to_contain_text("You may not patch incidents in shop")
    assert desk.shop.get("incident", name)["spec"]["phase"] == "Identification"


def test_somebody_without_a_binding_sees_no_namespace(desk: Desk) -> None:
    page = desk.sign_in("stranger")
    expect(page.get_by_text("There is no namespace whose alerts you may list")).to_be_visible()
    expect(page.locator("tr.row")).to_have_count(0)
    page.goto("/alerts?ns=shop")
    expect(page.locator("tr.row")).to_have_count(0)
