"""What holds for every page: nothing foreign runs, it fits a phone, it is dark at night, everybody can use it."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import ROOT, SCREENSHOTS

PAGES = {
    "alerts": "/alerts",
    "alert": "/alerts/host-00",
    "raw": "/alerts/host-00?tab=raw",
    "search": "/search",
    "columns": "/search?cols=host.name,user.name,source.ip,event.outcome",
    "error": "/search?q=user.name%3A%22",
    "event": f"/events/{1:032x}",
    "rules": "/rules",
    "rule": "/rules/encoded-ps",
    "searching-rule": "/rules/password-spraying",
    "searched-alert": "/alerts/sprayed",
    "sources": "/sources",
    "dead-letters": "/dead-letters",
    "incidents": "/incidents",
    "incident": "/incidents/inc-20261118-0123456789",
    "empty": "/alerts?q=zzz",
}
SEARCHING = {
    "title": "One address tries many accounts",
    "severity": "high",
    "search": {
        "query": "event.action:ssh_login AND event.outcome:failure",
        "window": "10m",
        "groupBy": ["source.ip", "host.name"],
        "condition": {"distinct": {"field": "user.name", "gte": 4}},
    },
}
SEARCHED = {
    "kind": "search",
    "query": "event.action:ssh_login AND event.outcome:failure",
    "count": 57,
    "distinct": {"field": "user.name", "count": 5},
    "window": {"start": 1_795_000_000_000, "end": 1_795_000_600_000},
    "group": {"source.ip": "192.0.2.7", "host.name": None},
}
XSS = "\"'><img src=x onerror=window.hacked=1><svg/onload=window.hacked=1><script>window.hacked=1</script>{{7*7}}\u202e"


@pytest.fixture
def filled(site: Any) -> Any:
    spec = {
        "title": "SSH guessing from 192.0.2.7",
        "severity": "high",
        "phase": "Containment",
        "assignee": "ana",
        "opened": "2026-11-18T10:01:10Z",
    }
    site.apply("Incident", "inc-20261118-0123456789", spec)
    note = {"kind": "note", "author": "bo", "text": "The account is off since 10:20.\nThe owner knows."}
    site.writer.put_record("notes", "inc-20261118-0123456789", "1", note)
    site.apply("AlertRule", "password-spraying", SEARCHING)
    body = {"detection": {**SEARCHED, "owner": "soc@shop.example"}, "events": site.alert("host-99").body["events"]}
    title = "One address tries many accounts"
    site.alert("sprayed", rule="password-spraying", title=title, summary="192.0.2.7 tried 5 accounts", body=body)
    return site


def axe(page: Page) -> list[str]:
    """What axe-core finds, one line each. It comes by the debugger, so the page's policy stays as it is."""
    source = (ROOT / "webui" / "node_modules" / "axe-core" / "axe.min.js").read_text()
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": source})
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']}).then(result => result.violations)")
    return [f"{one['id']}: {one['help']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.usefixtures("filled")
def test_axe_finds_nothing_on_any_page(visit: Any, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    found = {}
    for name, path in PAGES.items():
        page.goto(path)
        page.wait_for_function("document.querySelectorAll('[data-chart]:not([data-drawn])').length === 0")
        page.screenshot(path=SCREENSHOTS / f"{scheme}-{name}.png")
        found[name] = axe(page)
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.usefixtures("filled")
def test_every_page_fits_a_phone(visit: Any) -> None:
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True)
    wide = {}
    for name, path in PAGES.items():
        page.goto(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        page.screenshot(path=SCREENSHOTS / f"phone-{name}.png")
        if width > 360:
            wide[name] = width
    assert wide == {}


@pytest.mark.usefixtures("filled")
def test_the_phone_reaches_the_actions_with_the_thumb(visit: Any) -> None:
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True)
    page.locator("tr.row input").first.check()
    box = page.get_by_role("button", name="Acknowledge").bounding_box()
    assert box
    assert box["y"] > 370
    assert box["height"] >= 28
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".toast")).to_contain_text("1 alert acknowledged")


def test_dark_and_light_follow_the_system_and_the_choice(visit: Any) -> None:
    def background(page: Page) -> list[int]:
        text = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        return [int(part) for part in re.findall(r"\d+", text)[:3]]

    dark, light = visit(color_scheme="dark"), visit(color_scheme="light")
    assert max(background(dark)) < 40
    assert min(background(light)) > 240
    light.locator("#user-menu > summary").click()
    light.get_by_role("button", name="dark").click()
    assert max(background(light)) < 40
    light.reload()
    assert max(background(light)) < 40


def test_text_from_events_runs_nothing_and_the_policy_has_nothing_to_stop(site: Any, visit: Any) -> None:
    document = {"message": XSS, XSS: XSS, "host.name": XSS, "user.name": [XSS, XSS], "vedette.other": {f"x.{XSS}": XSS}}
    atom = {"kind": "atom", "held": True, "field": XSS, "expected": XSS, "actual": [XSS]}
    detection = {"owner": XSS, "runbook": f"javascript:{XSS}", "tags": [XSS], "source": XSS, "explanation": atom}
    site.alert(
        "evil",
        rule=XSS,
        title=XSS,
        summary=XSS,
        body={"detection": detection, "events": [{"id": XSS, "time": 1, "document": document}]},
    )
    from vedette_backends.store.protocol import DeadLetter, NewEvent  # noqa: PLC0415 # one test needs them

    site.writer.create_events("30d", [NewEvent("f" * 32, site.alert("x").time, site.alert("y").time, "h", document)])
    site.writer.put_dead_letters([DeadLetter("evil", site.alert("z").time, XSS, XSS, XSS, XSS.encode(), {XSS: XSS})])
    page = visit()
    page.add_init_script(
        "window.violations = []; addEventListener('securitypolicyviolation', e => violations.push(e.blockedURI))"
    )
    for path in (
        "/alerts",
        "/alerts/evil",
        "/alerts/evil?tab=raw",
        "/search",
        "/search?cols=message,user.name",
        f"/events/{'f' * 32}",
        "/dead-letters",
    ):
        page.goto(path)
        for button in page.locator(".dots").all()[:3]:
            button.click(force=True)
            page.keyboard.press("Escape")
        for turn in page.locator("[data-expand], [data-turn]").all()[:2]:
            turn.click()
        assert page.evaluate("window.hacked") is None, path
        assert page.evaluate("window.violations") == [], path
        assert page.locator("main img, main iframe, main script").count() == 0
    page.goto("/alerts/evil")
    assert "\\u202e" in page.locator("h1").inner_text()
    assert page.locator('a[href^="javascript"]').count() == 0


def test_the_policy_would_stop_what_slipped_through(visit: Any) -> None:
    page = visit(quiet=False)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked=1\">')")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.hacked=1'}))")
    assert page.evaluate("window.hacked") is None


def test_the_first_page_with_everything_stays_within_200_kb(site: Any, chromium: Any) -> None:
    context = chromium.new_context(base_url=site.url, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto("/?token=ana")
    page.wait_for_selector("canvas")
    sizes = page.evaluate(
        "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
        ".map(entry => [entry.name, entry.transferSize])"
    )
    context.close()
    assert sum(size for _, size in sizes) < 200_000, sizes
    assert all(name.startswith(site.url) for name, _ in sizes)


def test_pages_work_without_script(visit: Any) -> None:
    page = visit(java_script_enabled=False)
    page.get_by_label("Owner").select_option("Nobody's")
    page.get_by_role("button", name="Filter").click()
    page.locator("a.open").first.click()
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#alert-head .status")).to_have_text("acknowledged")
    page.get_by_role("button", name="Escalate").click()
    page.wait_for_url(re.compile("/incidents/inc-"))
    page.get_by_label("Note").fill("by hand")
    page.get_by_role("button", name="Keep note").click()
    expect(page.locator(".timeline .note")).to_contain_text("by hand")


def test_signing_in_by_form_and_out_again(site: Any, chromium: Any) -> None:
    context = chromium.new_context(base_url=site.url)
    page = context.new_page()
    page.goto("/rules")
    page.get_by_label("Token").fill("ana")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Rules")
    page.locator("#user-menu > summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    context.close()
