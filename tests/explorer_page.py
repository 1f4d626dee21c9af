"""What the browser tests ask of a reproduction's page and of the explorer in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from chromium import Browser
from selenium.webdriver.common.by import By

from hvae.config import RunConfig
from hvae.model.hierarchy import HierarchicalVAE

PIXEL = 1e-2  # half precision keeps 11 bits of a weight
Make = Callable[[RunConfig], tuple[Path, HierarchicalVAE]]  # the page of a run, the model in it
SHADES = """
const canvas = document.getElementById("explorer-" + arguments[0]);
const copy = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
copy.drawImage(canvas, 0, 0);
const {data} = copy.getImageData(0, 0, canvas.width, canvas.height);
return [...data].filter((_, i) => i % 4 === 0);
"""
NEXT_FRAME = "requestAnimationFrame(() => requestAnimationFrame(() => arguments[0](null)))"


def settled(browser: Browser) -> None:
    """Wait until what was asked for is drawn."""
    browser.driver.execute_async_script(NEXT_FRAME)


def picture(browser: Browser, name: str = "picture") -> list[int]:
    """The pixels of a canvas of the explorer, from 0 to 255."""
    settled(browser)
    shown: list[int] = browser.js(SHADES, name)
    return shown


def find(browser: Browser, name: str) -> Any:
    """A part of the explorer."""
    return browser.driver.find_element(By.ID, f"explorer-{name}")


def decoded(model: HierarchicalVAE, level: int, z: torch.Tensor) -> torch.Tensor:
    """Pixels from a level, through the means below it."""
    for t in range(level, 0, -1):
        z = model.decode(t, z)
    return model.decode(0, z).sigmoid()
