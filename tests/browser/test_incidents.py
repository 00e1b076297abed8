"""An incident, from the alert to its end, written on by two people at once."""

import re
from typing import Any

from playwright.sync_api import expect


def test_an_incident_from_alert_to_closing(site: Any, visit: Any) -> None:
    page = visit("/alerts")
    page.keyboard.press("j")
    page.keyboard.press("e")
    page.wait_for_url(re.compile(r"/incidents/inc-\d{8}-[0-9a-f]{10}"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("logged in to host-00")
    expect(page.get_by_role("listitem").filter(has_text="added the alert")).to_be_visible()
    page.get_by_role("button", name="Containment").click()
    expect(page.locator('[aria-current="step"]')).to_have_text("Containment")
    page.get_by_label("Note").fill("Turned the account off.\nAsked the owner.")
    page.keyboard.press("Control+Enter")
    note = page.locator(".timeline .note")
    expect(note).to_contain_text("Turned the account off.\nAsked the owner.")
    expect(page.get_by_label("Note")).to_have_value("")
    page.get_by_label("Severity").select_option("critical")
    expect(page.locator("#incident-head .sev")).to_contain_text("critical")
    page.get_by_label("Disposition").select_option("true-positive")
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.locator("#incident-head .facts .tag")).to_have_text("true-positive")
    page.goto("/incidents")
    expect(page.get_by_text("No incident here")).to_be_visible()
    assert site.reader.get_alert("host-00").workflow["incident"].startswith("inc-")


def test_two_people_write_at_once_and_lose_nothing(visit: Any) -> None:
    ana = visit("/incidents")
    ana.get_by_text("New incident").click()
    ana.get_by_label("Title").fill("Odd logins")
    ana.get_by_role("button", name="Open it").click()
    ana.wait_for_url(re.compile("/incidents/inc-"))
    bo = visit(ana.url.partition("127.0.0.1")[2].partition("/")[2].join(["/", ""]), user="bo")
    for page in (ana, bo):
        expect(page.locator("#live")).to_have_attribute("data-state", "on")
    bo.get_by_label("Note").fill("bo is still writing this")
    for number in range(3):
        ana.get_by_label("Note").fill(f"ana {number}")
        ana.get_by_role("button", name="Keep note").click()
        expect(ana.locator(".timeline .note")).to_have_count(number + 1)
    expect(bo.locator(".timeline .note")).to_have_count(3)
    expect(bo.get_by_label("Note")).to_have_value("bo is still writing this")
    bo.get_by_role("button", name="Keep note").click()
    expect(ana.locator(".timeline .note")).to_have_count(4)
    ana.get_by_role("button", name="Eradication").click()
    expect(bo.locator('[aria-current="step"]')).to_have_text("Eradication")


def test_a_draft_survives_a_reload(visit: Any) -> None:
    page = visit("/incidents")
    page.get_by_text("New incident").click()
    page.get_by_label("Title").fill("Odd logins")
    page.get_by_role("button", name="Open it").click()
    page.wait_for_url(re.compile("/incidents/inc-"))
    page.get_by_label("Note").fill("half a thought")
    page.reload()
    expect(page.get_by_label("Note")).to_have_value("half a thought")
