"""Event search in the browser."""

import re
from typing import Any

from playwright.sync_api import expect


def test_a_query_is_typed_completed_and_narrowed(visit: Any) -> None:
    page = visit("/search")
    expect(page.locator(".total strong")).to_have_text("120")
    page.keyboard.press("/")
    page.keyboard.type("event.outc")
    expect(page.get_by_role("option", name="event.outcome:")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.type("fail")
    expect(page.get_by_role("option", name='event.outcome:"failure"')).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("q=event.outcome"))
    expect(page.locator(".total strong")).to_have_text("60")


def test_tab_completes_what_was_typed_while_newer_completions_are_on_their_way(visit: Any) -> None:
    page = visit("/search")
    page.keyboard.press("/")
    page.keyboard.type("event.o")
    expect(page.get_by_role("option", name="event.original:")).to_be_visible()
    page.route("**/search/complete?*", lambda _: None)
    page.keyboard.type("utc")
    page.keyboard.press("Tab")
    expect(page.locator("#q")).to_have_value("event.outcome:")


def test_more_events_come_below_without_a_jump(visit: Any) -> None:
    page = visit("/search")
    expect(page.locator("tr.row")).to_have_count(50)
    button = page.get_by_text("Show more events")
    button.scroll_into_view_if_needed()
    at = page.evaluate("scrollY")
    button.click()
    expect(page.locator("tr.row")).to_have_count(100)
    assert page.evaluate("scrollY") == at


def test_a_row_opens_to_all_fields_and_its_values_filter(visit: Any) -> None:
    page = visit("/search")
    page.locator("tr.row").nth(2).get_by_label("All fields").click()
    inset = page.locator("tr.inset")
    expect(inset.get_by_text("syslog.pri")).to_be_visible()
    inset.locator("tr", has_text="host.name").hover()
    inset.get_by_label("What to do with this host.name").click()
    page.get_by_role("menuitem", name="Filter it out").click()
    page.wait_for_url(re.compile("NOT"))
    expect(page.locator(".total strong")).to_have_text("80")


def test_a_field_shows_its_top_values_and_becomes_a_column(visit: Any) -> None:
    page = visit("/search")
    field = page.locator('#fields li[data-name="user.name"]')
    field.locator("summary").click()
    expect(field.locator(".tops li")).to_have_count(2)
    expect(field.locator(".tops")).to_contain_text("50.0%")
    field.get_by_text("add as a column").click()
    page.wait_for_url(re.compile("cols=user.name"))
    expect(page.locator("th", has_text="user.name")).to_be_visible()
    page.get_by_label("Remove the column user.name").click()
    expect(page.locator("th", has_text="user.name")).to_have_count(0)


def test_a_wrong_query_is_marked_where_it_is_wrong(visit: Any) -> None:
    page = visit("/search")
    page.locator("#q").fill('user.name:"ro')
    page.keyboard.press("Enter")
    expect(page.locator("#query-error mark")).to_have_text('"')
    expect(page.locator("#q")).to_have_value('user.name:"ro')
    expect(page.locator("#q")).to_have_attribute("aria-invalid", "true")


def test_an_absolute_range_is_entered_in_local_time(visit: Any) -> None:
    page = visit("/search", timezone_id="Asia/Tokyo")
    page.locator("#range-menu > summary").click()
    page.get_by_label("From").fill("2026-11-18T19:00:00")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url(re.compile(r"from=2026-11-18T10%3A00%3A00"))
    expect(page.locator("#range-menu > summary")).to_contain_text("2026-11-18 10:00:00")
    page.locator("#range-menu > summary").click()
    expect(page.get_by_label("From")).to_have_value(re.compile("^2026-11-18T19:00"))
