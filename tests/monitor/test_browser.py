"""The page in a real browser: readable on a phone and on a wall, light and dark, and by a screen reader."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.helpers.site import Site
from tests.helpers.waiting import wait_until

OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SIZES = ((375, "light"), (375, "dark"), (1920, "light"), (1920, "dark"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as player:
        started = player.chromium.launch(executable_path="/usr/bin/chromium", args=list(OPTIONS))
        yield started
        started.close()


def look(browser: Browser, page: Path, width: int, scheme: str) -> Page:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    opened = context.new_page()
    opened.goto(page.as_uri())
    return opened


def check(browser: Browser, page: Path, name: str, headline: str) -> None:
    """Look at it in all sizes and colours. PAGE_PICTURES names a folder to keep what was seen."""
    for width, scheme in SIZES:
        opened = look(browser, page, width, scheme)
        assert opened.inner_text("h1") == headline
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        found = Axe().run(opened)
        assert found.violations_count == 0, found.generate_report()
        if folder := os.environ.get("PAGE_PICTURES"):
            opened.screenshot(path=f"{folder}/{name}-{width}-{scheme}.png", full_page=True)
        opened.context.close()


def test_the_page_is_readable_whatever_it_says(site: Site, browser: Browser) -> None:
    page = site.spool / "state" / "status.html"
    site.rule("brain")
    site.rule("spine", IsActive=False)
    with site.processor():
        wait_until(lambda: page.is_file() and "All right" in page.read_text(), 30, "the page says that all is right")
        check(browser, page, "right", "All right")
        (site.rules / "brain.json").write_text("{")
        for number in range(3):
            site.touch(f"00000000-00000000-00000000-00000000-0000000{number}")
        text = "3 in failed/ need"
        wait_until(lambda: text in page.read_text() and "is broken" in page.read_text(), 60, "the page says what isn't")
        check(browser, page, "wrong", "A rule is broken, and 1 more")


def test_it_is_readable_while_orthanc_is_away_and_two_thousand_wait(site: Site, browser: Browser) -> None:
    page = site.spool / "state" / "status.html"
    site.rule("brain")
    site.variables["ORTHANC_URL"] = "http://127.0.0.1:9"
    site.make_spool()
    for number in range(2000):
        site.touch(f"00000000-00000000-00000000-00000000-{number:08d}")
    with site.processor():
        wait_until(lambda: page.is_file() and "Orthanc doesn" in page.read_text(), 60, "the page says that it is away")
        check(browser, page, "away", "Orthanc doesn't answer")
        assert "<b>2,000</b>" in page.read_text()


def test_a_page_that_is_no_longer_written_turns_red(site: Site, browser: Browser) -> None:
    site.rule("brain")
    site.once()
    page = site.spool / "state" / "status.html"
    old = page.read_text().replace(f'data-time="{time_of(page)}"', f'data-time="{time_of(page) - 3600}"')
    page.write_text(old)
    check(browser, page, "stale", "Stale: no processor writes this page")
    opened = look(browser, page, 1920, "light")
    assert opened.evaluate("getComputedStyle(document.querySelector('header')).backgroundColor") == "rgb(163, 22, 31)"


def time_of(page: Path) -> int:
    found = int(page.read_text().partition('data-time="')[2].partition('"')[0])
    assert abs(found - time.time()) < 600
    return found
