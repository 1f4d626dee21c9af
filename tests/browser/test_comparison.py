"""The page of a comparison in a real browser."""

from dataclasses import replace
from pathlib import Path

import pytest
from builders import design, record
from chromium import Browser
from click.testing import CliRunner

from ablations.cli.main import main
from hvae.records.store import Store


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cells of three seeds on both sides, the second half a nat better."""
    folder = tmp_path_factory.mktemp("compared")
    for side, gain in (("a", 0.0), ("b", 0.5)):
        store = Store(folder / side)
        store.open_for_writing()
        for run in design({"depth": (1, 2), "latent": (2, 20)}).runs:
            made = record(run)
            nll = made.metrics["nll_nats"] - gain * (1 + 0.1 * run.train.seed)
            store.write(replace(made, metrics=made.metrics | {"nll_nats": nll}))
    sides = [str(folder / side) for side in "ab"]
    result = CliRunner().invoke(main, ["compare", *sides, "--out", str(folder / "page")])
    assert result.exit_code == 0, result.output
    return folder / "page" / "compare.html"


@pytest.mark.parametrize(("width", "is_dark"), [(1280, False), (390, True)])
def test_the_page_is_without_errors_requests_scrolling_or_violations(
    browser: Browser, page: Path, width: int, is_dark: bool
) -> None:
    browser.open(page, width, is_dark=is_dark)
    browser.assert_calm(width)
    assert browser.violations() == []
    assert "lower in 4 of 4 cells" in browser.js("return document.body.textContent")
