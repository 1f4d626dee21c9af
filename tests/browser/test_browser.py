"""The browser of the tests sees what it is asked to see."""

from pathlib import Path

import pytest
from chromium import Browser

pytestmark = pytest.mark.browser
SEEN = "return [innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]"


def test_errors_and_requests_of_a_page_are_seen(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<img src='http://127.0.0.1:9/x.png'><script>nothing()</script>")
    browser.open(page)
    assert any("nothing is not defined" in said for said in browser.console_errors())
    assert browser.requests() == ["http://127.0.0.1:9/x.png"]


def test_the_next_page_starts_afresh(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    viewport = '<meta name="viewport" content="width=device-width">'
    page.write_text(f"{viewport}<script>nothing()</script>")
    browser.open(page, width=390, is_dark=True)
    assert browser.js(SEEN) == [390, True]
    page.write_text(f"{viewport}<img alt='' src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>")
    browser.open(page)
    assert browser.js(SEEN) == [1280, False]
    assert (browser.console_errors(), browser.requests()) == ([], [])
