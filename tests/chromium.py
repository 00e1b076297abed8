"""Debian's chromium through Playwright. A plugin: tests of pages are in several folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    # Every test session loads this plugin; those without a browser need not load its driver.
    from playwright.sync_api import Browser

PROGRAM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# For one file at a time: while it runs, so does an event loop in this thread, and tests of coroutines need their own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser; tests open contexts of their own in it."""
    if shutil.which(PROGRAM) is None:
        reason = "Debian's chromium is not installed: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 # see above

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        yield browser
        browser.close()
