"""A headless Chromium for the built pages: one process for all tests, a fresh page for each; and
the pages of reproductions."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Browser
from explorer_page import Make, settled
from reproduction_builders import config, write
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from hvae.config import RunConfig
from hvae.model.hierarchy import HierarchicalVAE, with_weights
from report.reproduction.page import write_reproduction

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REASON = "needs chromium and chromedriver (apt-get install chromium chromium-driver)"
FLAGS = (
    "--headless",
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-dev-shm-usage",  # containers have a small /dev/shm
    "--disable-background-networking",
    "--no-first-run",
)


@pytest.fixture(scope="session")
def _chromium() -> Iterator[Chrome]:
    binary = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip(REASON)
    options = ChromeOptions()
    options.binary_location = binary
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Both paths are given, so that Selenium's own manager never looks for a download.
    with Chrome(options=options, service=ChromeService(driver)) as started:
        yield started


@pytest.fixture
def browser(_chromium: Chrome) -> Browser:
    """`browser.open(page)`, then `.js(...)`, `.console_errors()`, `.requests()`, `.driver`."""
    return Browser(_chromium)


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """The page of a run and the model in it, each made once."""
    made: dict[RunConfig, tuple[Path, HierarchicalVAE]] = {}

    def page(run: RunConfig) -> tuple[Path, HierarchicalVAE]:
        if run not in made:
            folder = tmp_path_factory.mktemp("reproduce")
            state = write(folder, run)
            with pytest.MonkeyPatch.context() as patch:  # PNG and PDF stand beside the page
                patch.setattr("report.reproduction.page.image", lambda drawing, kind: b"")
                made[run] = write_reproduction(folder)[0], with_weights(run, state)
        return made[run]

    return page


@pytest.fixture
def explorer(browser: Browser, make: Make) -> Iterator[Browser]:
    """The documented page, open; afterwards it must have kept quiet and asked for nothing."""
    browser.open(make(config())[0])
    settled(browser)
    yield browser
    assert (browser.console_errors(), browser.requests()) == ([], [])
