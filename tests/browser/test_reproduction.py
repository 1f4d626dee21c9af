"""The page of a reproduction in a real browser: for everybody, and on paper."""

from itertools import pairwise

import pytest
from chromium import Browser
from explorer_page import Make, settled
from reproduction_builders import config
from selenium.webdriver import Keys
from selenium.webdriver.common.by import By

pytestmark = pytest.mark.browser
HIDDEN_ON_PAPER = ("nav", ".skip", "#explorer")
LEVELS = "return [...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))"


@pytest.mark.parametrize(("width", "is_dark"), [(1280, False), (390, True)])
def test_axe_finds_no_violation_and_nothing_scrolls_sideways(
    browser: Browser, make: Make, width: int, is_dark: bool
) -> None:
    browser.open(make(config())[0], width, is_dark=is_dark)
    settled(browser)
    assert browser.violations() == []
    assert browser.js("return document.documentElement.scrollWidth") <= width
    assert (browser.console_errors(), browser.requests()) == ([], [])


def test_the_explorer_follows_the_verdicts(browser: Browser, make: Make) -> None:
    browser.open(make(config())[0])
    sections = browser.js("return [...document.querySelectorAll('section')].map(s => s.id)")
    links = browser.js("return [...document.querySelectorAll('nav a')].map(a => a.hash.slice(1))")
    assert sections == links == ["verdicts", "explorer", "results", "loss", "how"]
    levels = browser.js(LEVELS)
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    browser.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert browser.driver.switch_to.active_element.text == "Skip to the verdicts"


@pytest.mark.parametrize("data", ["mnist", "digits"])
def test_on_paper_it_takes_four_pages_at_most(browser: Browser, make: Make, data: str) -> None:
    browser.open(make(config(data))[0])
    assert 2 <= browser.pages_on_paper() <= 4


def test_paper_has_no_controls_and_figures_beside_their_text(browser: Browser, make: Make) -> None:
    browser.open(make(config())[0], width=703, is_dark=True)  # 186 mm, an A4 page in its margins
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = "return getComputedStyle(document.querySelector(arguments[0])).display"
    assert {browser.js(shown, part) for part in HIDDEN_ON_PAPER} == {"none"}
    controls = "return [...document.querySelectorAll('button, input, select')]"
    assert browser.js(f"{controls}.filter(part => part.checkVisibility()).length") == 0
    columns = "return [...document.querySelectorAll('.result > *')].map(p => p.offsetLeft)"
    assert len(set(browser.js(columns))) == 2
    assert browser.js("return getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
