"""A digit drawn by hand on the reproduction's page: its strokes, and what the model makes of it."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from chromium import Browser
from explorer_page import PIXEL, Make, decoded, find, picture, settled
from reproduction_builders import config
from selenium.webdriver.common.by import By

from hvae.model.hierarchy import posterior_means

pytestmark = pytest.mark.browser
PLACES = ((0.4, 0.3), (0.6, 0.3), (0.6, 0.7))  # shares of the canvas, a 7
Dispatch = Callable[[str, float, float], None]


def mouse(browser: Browser, button: str = "left") -> Dispatch:
    kinds = {"down": "mousePressed", "move": "mouseMoved", "up": "mouseReleased"}

    def dispatch(kind: str, x: float, y: float) -> None:
        event = {"type": kinds[kind], "x": x, "y": y, "button": button, "clickCount": 1}
        browser.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    return dispatch


def finger(browser: Browser) -> Dispatch:
    kinds = {"down": "touchStart", "move": "touchMove", "up": "touchEnd"}

    def dispatch(kind: str, x: float, y: float) -> None:
        points = [] if kind == "up" else [{"x": x, "y": y}]
        event = {"type": kinds[kind], "touchPoints": points}
        browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", event)

    return dispatch


def stroke(browser: Browser, dispatch: Dispatch, places: Any = PLACES, ends: bool = True) -> None:
    """Draw along shares of the canvas's width and height."""
    canvas = find(browser, "input")
    browser.js("arguments[0].scrollIntoView({block: 'center'})", canvas)
    box = browser.js("return arguments[0].getBoundingClientRect().toJSON()", canvas)
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    for kind, place in zip(("down", *["move"] * len(at)), at, strict=False):
        dispatch(kind, *place)
    if ends:
        dispatch("up", *at[-1])


def drawing(browser: Browser) -> np.ndarray[Any, Any]:
    """What is on the canvas, in [0, 1], as a square."""
    shades = np.array(picture(browser, "input")) / 255
    side = round(len(shades) ** 0.5)
    return shades.reshape(side, side)


@pytest.mark.parametrize("data", ["mnist", "digits"])
def test_a_stroke_is_a_line_with_a_soft_edge(browser: Browser, make: Make, data: str) -> None:
    browser.open(make(config(data))[0])
    stroke(browser, mouse(browser), ((0.5, 0.25), (0.5, 0.75)))
    drawn = drawing(browser)
    side = len(drawn)
    radius = max(0.5, side / 28)
    across = np.abs(np.arange(side) + 0.5 - side / 2)
    middle = drawn[side // 2]
    np.testing.assert_allclose(middle, np.clip(radius + 0.5 - across, 0, 1), atol=0.1)
    assert drawn[0].max() == drawn[-1].max() == 0
    assert drawn.max() > 0.4  # between two pixels of eight, a stroke of one covers half of both


@pytest.mark.parametrize("level", [0, 1])
def test_a_drawing_is_centred_encoded_and_decoded(
    explorer: Browser, make: Make, level: int
) -> None:
    model = make(config())[1]
    find(explorer, "levels").find_elements(By.TAG_NAME, "input")[1 - level].click()  # top first
    stroke(explorer, mouse(explorer), [(x + 0.2, y - 0.1) for x, y in PLACES])
    digits = np.array(explorer.js("return hvae.digits.map(digit => [...digit])"))
    drawn = drawing(explorer)
    moves = mass_centre(digits.reshape(-1, 28, 28)).mean(axis=0) - mass_centre(drawn)
    centred = np.roll(drawn, np.rint(moves).astype(int), axis=(0, 1))
    with torch.no_grad():
        means = posterior_means(model, torch.tensor(centred.reshape(1, -1), dtype=torch.float))
        expected = decoded(model, level, means[level])[0].numpy()
    shown = np.array(picture(explorer)) / 255
    assert np.abs(shown - expected).max() < 3 * PIXEL  # the canvas rounds what was encoded
    assert find(explorer, "said").text.startswith("Your drawing, encoded to the posterior mean of")
    values = [part.text for part in find(explorer, "sliders").find_elements(By.CLASS_NAME, "value")]
    sliders = [float(value.replace("−", "-")) for value in values]
    np.testing.assert_allclose(sliders, means[level][0], atol=2 * PIXEL, rtol=PIXEL)


def mass_centre(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows and columns of the centre of mass: [..., H, W] -> [..., 2]."""
    places = np.arange(images.shape[-1])
    mass = images.sum(axis=(-2, -1))
    down, across = images.sum(axis=-1) @ places, images.sum(axis=-2) @ places
    return np.stack([down / mass, across / mass], axis=-1)


@pytest.mark.parametrize("corner", [(0, 0), (25, 0), (12, 25)])
def test_mass_is_moved_to_where_the_test_digits_have_theirs(
    explorer: Browser, corner: tuple[int, int]
) -> None:
    image = np.zeros((28, 28))
    image[corner[1] : corner[1] + 3, corner[0] : corner[0] + 3] = 1
    moved = explorer.js("return [...hvae.centred(arguments[0])]", image.ravel().tolist())
    square = np.array(moved).reshape(28, 28)
    digits = np.array(explorer.js("return hvae.digits.map(digit => [...digit])"))
    usual = mass_centre(digits.reshape(-1, 28, 28)).mean(axis=0)
    assert square.sum() == 9
    assert np.abs(mass_centre(square) - usual).max() <= 0.5


@pytest.mark.parametrize("pointer", [mouse, finger])
def test_a_drawing_on_a_phone_changes_the_picture_and_scrolls_nothing(
    browser: Browser, make: Make, pointer: Callable[[Browser], Dispatch]
) -> None:
    browser.open(make(config())[0], width=390)
    pictures = [picture(browser)]
    stroke(browser, pointer(browser), ends=False)
    scrolled = browser.js("return [scrollX, scrollY]")
    pictures.append(picture(browser))
    stroke(browser, pointer(browser), ((0.3, 0.5), (0.3, 0.9)))
    pictures.append(picture(browser))
    assert all(after != before for before, after in pairwise(pictures))
    assert browser.js("return [scrollX, scrollY]") == scrolled
    assert browser.js("return document.documentElement.scrollWidth") <= 390
    assert (browser.console_errors(), browser.requests()) == ([], [])


def test_only_a_held_main_button_draws(explorer: Browser) -> None:
    stroke(explorer, mouse(explorer, "right"))
    assert drawing(explorer).max() == 0
    stroke(explorer, mouse(explorer))
    drawn = drawing(explorer)
    mouse(explorer, "none")("move", 200, 600)
    assert (drawing(explorer) == drawn).all()


def test_clear_empties_the_canvas_and_goes_back(explorer: Browser) -> None:
    before = picture(explorer)
    stroke(explorer, mouse(explorer))
    assert picture(explorer) != before
    find(explorer, "clear").click()
    assert drawing(explorer).max() == 0
    assert picture(explorer) == before
    assert "canvas is empty" in find(explorer, "said").text


def test_a_test_digit_goes_on_the_canvas_and_takes_strokes(explorer: Browser) -> None:
    button = find(explorer, "digits").find_elements(By.TAG_NAME, "button")[7]
    button.click()
    digit = drawing(explorer)
    np.testing.assert_allclose(digit.ravel(), explorer.js("return [...hvae.digits[7]]"), atol=1e-2)
    of_digit = picture(explorer)
    stroke(explorer, mouse(explorer))
    assert (drawing(explorer) >= digit).all()
    assert (drawing(explorer) > digit).any()
    assert picture(explorer) != of_digit
    assert button.get_attribute("aria-pressed") == "false"
    button.click()  # as it was: the strokes went on a copy
    assert picture(explorer) == of_digit


def test_a_drawing_is_encoded_again_for_another_level_and_dimmed_when_moved(
    explorer: Browser,
) -> None:
    stroke(explorer, mouse(explorer))
    drawn, from_top = drawing(explorer), picture(explorer)
    radios = find(explorer, "levels").find_elements(By.TAG_NAME, "input")
    radios[1].click()
    assert picture(explorer) != from_top
    radios[0].click()
    assert picture(explorer) == from_top
    find(explorer, "sample").click()
    assert 0 < drawing(explorer).max() < drawn.max()
    stroke(explorer, mouse(explorer), PLACES[:1])
    assert (drawing(explorer) == drawn).all()


def test_the_pad_waits_for_the_end_of_a_stroke(explorer: Browser) -> None:
    plane = picture(explorer, "plane")
    stroke(explorer, mouse(explorer), ends=False)
    assert picture(explorer, "plane") == plane
    mouse(explorer)("up", 0, 0)
    settled(explorer)
    assert picture(explorer, "plane") != plane
