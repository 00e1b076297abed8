"""Alerts in the browser: live, by keyboard, by mouse, on a phone."""

import re
from typing import Any

from playwright.sync_api import Page, expect

from vedette_backends.store.protocol import AlertFilter


def live(page: Page) -> Page:
    """Waits until the stream is open."""
    expect(page.locator("#live")).to_have_attribute("data-state", "on")
    return page


def test_a_new_alert_arrives_without_reload(site: Any, visit: Any) -> None:
    page = live(visit())
    page.evaluate("window.marked = true")
    site.alert("fresh", severity="critical")
    first = page.locator("tr.row").first
    expect(first).to_contain_text("192.0.2.7 logged in to fresh as root")
    expect(page.locator("#rail a", has_text="Alerts").locator("b")).to_have_text("21")
    # What arrives looks like what was there: local time, and a chart that is drawn.
    expect(first.locator(".c-time")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    expect(page.locator("#overview canvas")).to_be_visible()
    assert page.evaluate("window.marked")


def test_an_alert_that_does_not_fit_the_filter_does_not_appear(site: Any, visit: Any) -> None:
    page = live(visit("/alerts?severity=critical"))
    expect(page.locator("tr.row")).to_have_count(4)
    site.alert("low-one", severity="low")
    site.alert("critical-one", severity="critical")
    expect(page.locator("tr.row")).to_have_count(5)
    expect(page.locator("tr.row").first).to_contain_text("critical-one")


def test_below_the_top_new_alerts_wait_behind_a_pill(site: Any, visit: Any) -> None:
    page = live(visit(viewport={"width": 1280, "height": 400}))
    page.mouse.wheel(0, 500)
    page.wait_for_function("scrollY > 100")
    before = page.locator("tr.row").evaluate_all("rows => rows.map(row => row.dataset.row)")
    site.alert("one")
    site.alert("two")
    expect(page.locator("#pill")).to_have_text("2 new")
    assert page.locator("tr.row").evaluate_all("rows => rows.map(row => row.dataset.row)") == before
    page.locator("#pill").click()
    expect(page.locator("tr.row").first).to_contain_text("two")
    expect(page.locator("#pill")).to_be_hidden()
    page.wait_for_function("scrollY === 0")


def test_what_a_colleague_does_shows_without_reload(visit: Any) -> None:
    page = live(visit())
    other = live(visit(user="bo"))
    other.locator("tr.row").first.locator("input").check()
    other.get_by_role("button", name="Acknowledge").click()
    row = page.locator("tr.row").first
    expect(row.locator(".c-status")).to_contain_text("acknowledged bo")


def test_the_stream_resumes_after_the_connection_was_lost(site: Any, visit: Any) -> None:
    page = live(visit(quiet=False))
    page.context.set_offline(True)
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    site.alert("missed")
    page.context.set_offline(False)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(page.locator("tr.row").first).to_contain_text("missed")


def test_the_keyboard_moves_selects_acknowledges_and_undoes(site: Any, visit: Any) -> None:
    page = live(visit())
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tr.cursor")).to_have_attribute("data-row", "host-01")
    page.keyboard.press("k")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("[data-picked]")).to_have_text("2 selected")
    page.keyboard.press("a")
    expect(page.locator(".toast")).to_contain_text("2 alerts acknowledged")
    expect(page.locator('[data-row="host-00"] .c-status')).to_contain_text("acknowledged ana")
    expect(page.locator("tr.cursor")).to_have_attribute("data-row", "host-01")
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(page.locator('[data-row="host-00"] .status')).to_have_text("new")
    assert site.reader.get_alert("host-00").workflow["status"] == "new"


def test_enter_opens_an_alert_escape_goes_back_and_g_goes_elsewhere(visit: Any) -> None:
    page = visit("/alerts?severity=critical")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("logged in to host-00")
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile("severity=critical"))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("escalate to an incident")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url(re.compile("/rules"))
    page.keyboard.press("/")
    expect(page.locator("#everything")).to_be_focused()


def test_filters_live_in_the_address_and_back_brings_them_back(visit: Any) -> None:
    page = visit()
    page.locator("#severity-menu > summary").click()
    page.get_by_label("critical").check()
    page.wait_for_url(re.compile(r"\?ns=shop&severity=critical$"))
    expect(page.locator("tr.row")).to_have_count(4)
    page.locator("#alert-text").fill("host-05")
    page.wait_for_url(re.compile("q=host-05"))
    expect(page.locator("tr.row")).to_have_count(1)
    expect(page.locator("#alert-text")).to_be_focused()
    page.go_back()
    page.wait_for_url(re.compile(r"severity=critical$"))
    expect(page.locator("tr.row")).to_have_count(4)
    expect(page.locator("#alert-text")).to_have_value("")
    page.go_back()
    expect(page.locator("tr.row")).to_have_count(20)


def test_dragging_over_the_histogram_narrows_the_time(visit: Any) -> None:
    page = visit()
    plot = page.locator(".chart .u-over")
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 20, steps=5)
    page.mouse.up()
    page.wait_for_url(re.compile("from=.*to="))
    number = int(page.locator(".total strong").inner_text())
    assert 0 < number < 20


def test_an_alert_says_why_it_fired_and_opens_its_fields(visit: Any) -> None:
    page = visit("/alerts/host-00")
    why = page.locator(".explain")
    expect(why.locator("mark")).to_have_text("192.0.2.7")
    expect(why.get_by_text("filter_admins")).to_be_visible()
    expect(page.locator("tr.matched th")).to_contain_text("source.ip")
    more = page.get_by_text("more field")
    more.first.click()
    expect(page.get_by_text("syslog.pri")).to_be_visible()
    page.locator("tr.matched").hover()
    page.get_by_label("What to do with this source.ip").first.click()
    page.get_by_role("menuitem", name="All events with it, any time").click()
    page.wait_for_url(re.compile("/search"))
    expect(page.locator("#q")).to_have_value('source.ip:"192.0.2.7"')
    expect(page.locator("tr.row")).to_have_count(1)


def test_closing_an_alert_takes_it_off_the_queue(site: Any, visit: Any) -> None:
    page = visit("/alerts/host-03")
    page.locator("#alert-head").get_by_label("Disposition").select_option("benign")
    page.keyboard.press("c")
    expect(page.locator("#alert-head .status")).to_have_text("closed")
    expect(page.locator("#alert-head")).to_contain_text("benign")
    page.goto("/alerts")
    expect(page.locator("tr.row")).to_have_count(19)
    assert site.reader.count_alerts(AlertFilter(), "status")["closed"] == 1
