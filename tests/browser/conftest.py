"""A headless Chromium for the built pages: one process for all tests, a fresh page for each."""

import shutil
from collections.abc import Iterator

import pytest
from chromium import Browser
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

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
