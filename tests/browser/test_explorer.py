"""The latent explorer, in a real browser: its numbers are PyTorch's, and it does what it says."""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from chromium import Browser
from explorer_page import PIXEL, Make, decoded, find, picture, settled
from reproduction_builders import config
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from hvae.model.hierarchy import posterior_means

pytestmark = pytest.mark.browser
CONTROLS = "main button, main input, main select, [role=slider], [role=img]"
NAMELESS = """
const isNamed = part => part.labels?.length || part.textContent.trim()
  || part.getAttribute("aria-label") || part.getAttribute("aria-labelledby");
return [...document.querySelectorAll(arguments[0])].filter(part => !isNamed(part))
  .map(part => part.outerHTML.slice(0, 80));
"""
COUNT_DECODES = """
let model;
Object.defineProperty(window, "hvae", {
  get: () => model,
  set: given => {
    window.decoded = 0;
    model = {...given, decode: (...place) => { window.decoded++; return given.decode(...place); }};
  },
});
"""
TILES = 81
ENCODE = "return window.hvae.encode(arguments[0]).map(mean => [...mean])"


@pytest.mark.parametrize(("data", "depth"), [("mnist", 1), ("mnist", 2), ("digits", 3)])
def test_decode_and_encode_are_those_of_pytorch(
    browser: Browser, make: Make, data: str, depth: int
) -> None:
    page, model = make(config(data, depth))
    browser.open(page)
    generator = torch.Generator().manual_seed(depth)
    with torch.no_grad():
        for level in range(depth):
            for z in 2 * torch.randn(4, 20, generator=generator):
                pixels = browser.js(
                    "return [...window.hvae.decode(...arguments)]", level, z.tolist()
                )
                np.testing.assert_allclose(pixels, decoded(model, level, z), atol=PIXEL)
        x = torch.rand(1, model.config.input_dim, generator=generator)
        found = browser.js(ENCODE, x[0].tolist())
        np.testing.assert_allclose(
            found, torch.cat(posterior_means(model, x)), atol=PIXEL, rtol=PIXEL
        )
    assert (browser.console_errors(), browser.requests()) == ([], [])


@pytest.mark.parametrize("data", ["mnist", "digits"])
def test_digits_are_encoded_as_by_pytorch_with_weights_of_half_precision(
    browser: Browser, make: Make, data: str
) -> None:
    page, model = make(config(data))
    browser.open(page)
    rounded = copy.deepcopy(model).half().double()
    digits = torch.tensor(browser.js("return hvae.digits.map(digit => [...digit])")).double()
    found = browser.js("return hvae.digits.map(digit => hvae.encode(digit).map(mean => [...mean]))")
    with torch.no_grad():
        expected = torch.stack(posterior_means(rounded, digits), dim=1)
    # The page keeps what lies between two layers in float32: 24 bits of values up to 10.
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_is_shown_is_what_the_model_decodes(explorer: Browser, make: Make) -> None:
    _, model = make(config())
    with torch.no_grad():
        origin = decoded(model, 1, torch.zeros(20))
    assert np.abs(np.array(picture(explorer)) / 255 - origin.numpy()).max() < PIXEL


@pytest.mark.parametrize("width", [1280, 390])
def test_dragging_over_the_pad_moves_two_dimensions_and_the_picture(
    browser: Browser, make: Make, width: int
) -> None:
    browser.open(make(config())[0], width=width)
    before, pad = picture(browser), find(browser, "pad")
    browser.js("arguments[0].scrollIntoView({block: 'center'})", pad)
    quarter = pad.size["width"] // 4
    drag = ActionChains(browser.driver, duration=0).move_to_element(pad).click_and_hold()
    drag.move_by_offset(quarter, -quarter).release().perform()
    assert picture(browser) != before
    said = pad.get_attribute("aria-valuetext")
    values = [float(part.split(": ")[1]) for part in said.split(", ")]
    assert values == pytest.approx([1.5, 1.5], abs=0.05)  # right and up, a quarter of −3 … 3
    moved = picture(browser)
    ActionChains(browser.driver, duration=0).move_by_offset(-quarter, 0).perform()
    assert picture(browser) == moved  # released: a mouse that passes moves nothing
    assert browser.js("return document.documentElement.scrollWidth <= innerWidth")


def test_the_pad_listens_to_keys(explorer: Browser) -> None:
    pad, before = find(explorer, "pad"), picture(explorer)
    pad.send_keys(Keys.ARROW_RIGHT, Keys.SHIFT, Keys.ARROW_UP, Keys.SHIFT)
    assert picture(explorer) != before
    assert pad.get_attribute("aria-valuetext") == "dimension 1: 0.10, dimension 2: 1.00"
    for _ in range(5):
        pad.send_keys(Keys.SHIFT, Keys.ARROW_LEFT, Keys.SHIFT)
    settled(explorer)
    assert pad.get_attribute("aria-valuenow") == "-3.00"  # no farther
    pad.send_keys(Keys.HOME)
    assert picture(explorer) == before


def test_no_zero_has_a_minus_and_keys_with_a_modifier_are_the_browsers(explorer: Browser) -> None:
    pad = find(explorer, "pad")
    pad.send_keys(Keys.ARROW_LEFT, Keys.ARROW_RIGHT)  # −1.5e-9, in float32
    assert pad.get_attribute("aria-valuetext") == "dimension 1: 0.00, dimension 2: 0.00"
    assert pad.get_attribute("aria-valuenow") == "0.00"
    pad.send_keys(Keys.CONTROL, Keys.ARROW_RIGHT, Keys.NULL)
    assert pad.get_attribute("aria-valuenow") == "0.00"


@pytest.fixture
def counting(browser: Browser, make: Make) -> Iterator[Browser]:
    """The documented page, open, its calls of `hvae.decode` counted."""
    script = {"source": COUNT_DECODES}
    added = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    yield browser.open(make(config())[0])
    browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def decodes(browser: Browser) -> int:
    """How many since this was last asked."""
    settled(browser)
    counted: int = browser.js("const since = window.decoded; window.decoded = 0; return since")
    return counted


def test_the_pad_is_decoded_again_only_where_it_changes(counting: Browser) -> None:
    pad, sliders = find(counting, "pad"), find(counting, "sliders")
    assert decodes(counting) == 1 + TILES
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_UP, Keys.HOME):
        pad.send_keys(key)
        assert decodes(counting) == 1
    ActionChains(counting.driver, duration=0).move_to_element(pad).click().perform()
    assert decodes(counting) == 1
    inputs = sliders.find_elements(By.TAG_NAME, "input")
    for dimension, count in ((0, 1), (1, 1), (12, 1 + TILES)):
        inputs[dimension].send_keys(Keys.ARROW_RIGHT)
        assert decodes(counting) == count
    changes = (
        find(counting, "up").find_elements(By.TAG_NAME, "option")[8],
        find(counting, "levels").find_elements(By.TAG_NAME, "input")[1],
        find(counting, "digits").find_element(By.TAG_NAME, "button"),
        find(counting, "sample"),
    )
    for change in changes:
        change.click()
        assert decodes(counting) == 1 + TILES


def test_the_pad_takes_the_two_dimensions_that_are_chosen(explorer: Browser) -> None:
    for name, dimension in (("across", 6), ("up", 8)):
        find(explorer, name).find_elements(By.TAG_NAME, "option")[dimension].click()
    pad = find(explorer, "pad")
    pad.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    settled(explorer)
    assert pad.get_attribute("aria-valuetext") == "dimension 7: 0.10, dimension 9: −0.10"


def test_the_two_dimensions_of_the_pad_change_places_where_they_would_be_one(
    explorer: Browser,
) -> None:
    across, up = (find(explorer, name) for name in ("across", "up"))
    before = [across.get_property("value"), up.get_property("value")]
    up.find_element(By.CSS_SELECTOR, f"option[value='{before[0]}']").click()
    assert [across.get_property("value"), up.get_property("value")] == before[::-1]


def test_every_slider_moves_its_dimension(explorer: Browser) -> None:
    before = picture(explorer)
    sliders = find(explorer, "sliders").find_elements(By.TAG_NAME, "input")
    assert len(sliders) == 20
    sliders[12].send_keys(Keys.END)
    assert picture(explorer) != before
    shown = find(explorer, "sliders").find_elements(By.CLASS_NAME, "value")
    assert [value.text for value in shown] == ["3.00" if i == 12 else "0.00" for i in range(20)]


def test_samples_differ_and_reset_goes_back(explorer: Browser) -> None:
    pictures = [picture(explorer)]
    for _ in range(2):
        find(explorer, "sample").click()
        pictures.append(picture(explorer))
    assert len({tuple(shown) for shown in pictures}) == 3
    assert "Ancestral sample 2, with noise at every level" in find(explorer, "said").text
    find(explorer, "reset").click()
    assert picture(explorer) == pictures[0]


def test_samples_are_drawn_with_unit_noise_at_every_level(browser: Browser, make: Make) -> None:
    page, model = make(config())
    browser.open(page)
    draws = browser.js("return Array.from({length: 500}, () => hvae.sample().map(z => [...z]))")
    bottom, top = torch.tensor(draws).unbind(1)
    with torch.no_grad():
        noise = bottom - model.decode(1, top)
    for z in (top, noise):  # 10,000 draws: five standard errors
        assert abs(z.mean().item()) < 0.05
        assert abs(z.var().item() - 1) < 0.07


@pytest.mark.parametrize("level", [0, 1])
def test_a_test_digit_is_encoded_and_decoded_from_the_chosen_level(
    explorer: Browser, make: Make, level: int
) -> None:
    find(explorer, "levels").find_elements(By.TAG_NAME, "input")[1 - level].click()  # top first
    buttons = find(explorer, "digits").find_elements(By.TAG_NAME, "button")
    assert [b.get_attribute("aria-label")[:12] for b in buttons[2:4]] == ["Test digit 1"] * 2
    buttons[3].click()
    shown = np.array(picture(explorer)) / 255
    assert buttons[3].get_attribute("aria-pressed") == "true"
    assert f"posterior mean of z_{level + 1}" in find(explorer, "said").text
    with torch.no_grad():
        mean = torch.tensor(explorer.js("return [...hvae.digits[3]]"))
        for t in range(level + 1):
            mean = make(config())[1].posterior(t, mean).mu
        expected = decoded(make(config())[1], level, mean).numpy()
    assert np.abs(shown - expected).max() < 2 * PIXEL  # encoder and decoder


def test_a_digit_is_encoded_again_for_another_level_and_forgotten_when_moved(
    explorer: Browser,
) -> None:
    radios = find(explorer, "levels").find_elements(By.TAG_NAME, "input")
    button = find(explorer, "digits").find_element(By.TAG_NAME, "button")
    button.click()
    from_top = picture(explorer)
    canvas = picture(explorer, "input")
    radios[1].click()
    assert picture(explorer) != from_top
    assert "posterior mean of z_1" in find(explorer, "said").text
    radios[0].click()
    assert picture(explorer) == from_top
    find(explorer, "pad").send_keys(Keys.ARROW_UP)
    settled(explorer)
    assert button.get_attribute("aria-pressed") == "false"
    assert find(explorer, "said").text == ""
    assert np.abs(np.array(picture(explorer, "input")) - 0.35 * np.array(canvas)).max() <= 1


def test_every_control_has_a_name(explorer: Browser) -> None:
    assert explorer.js("return document.querySelectorAll(arguments[0]).length", CONTROLS) > 45
    assert explorer.js(NAMELESS, CONTROLS) == []
