"""The report in a real browser: a page from builders records, opened from its file."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise, product
from pathlib import Path

import pytest
from builders import AXES, design, leave_out_layout, record, report_of, write_pictures
from chromium import Browser
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from worker_functions import eventually

from hvae.records.store import Store
from report.data.design import Design

pytestmark = pytest.mark.browser
AA = 4.5  # WCAG 2.2, 1.4.3: contrast of text

TEXT_CONTRASTS = """
const rgb = text => text.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const paper = element => {
  for (let e = element; e; e = e.parentElement) {
    const colour = rgb(getComputedStyle(e).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  throw new Error("no background");
};
document.querySelectorAll("details").forEach(part => { part.open = true; });
const own = element => [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
return [...document.querySelectorAll("body *")]
  .filter(e => own(e) && e.checkVisibility() && !["SCRIPT", "STYLE"].includes(e.tagName))
  .map(e => {
    const pair = [luminance(rgb(getComputedStyle(e).color)), luminance(paper(e))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    return [ratio, e.tagName + " " + e.textContent.slice(0, 40)];
  });
"""
COLUMN = """
const heads = [...document.querySelectorAll("#cells th")].map(head => head.textContent);
const column = heads.indexOf(arguments[0]);
return [...document.querySelectorAll("#cells tbody tr")]
  .map(row => row.cells[column].dataset.order);
"""
PUBLISHED = Path(__file__).parents[2] / "results" / "published"
VISIBLE = "return document.querySelectorAll(arguments[0] + ' tbody tr:not([hidden])').length"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight cells of three seeds; one run failed, one cell has no record and no pictures."""
    store = Store(tmp_path_factory.mktemp("study"))
    store.open_for_writing()
    asked = design({**AXES, "depth": (1, 2)})
    for run in asked.runs[4:]:
        store.write(record(run))
        write_pictures(store, run)
    store.write_failure(asked.runs[3], RuntimeError("out of memory"))
    with pytest.MonkeyPatch.context() as patch:
        leave_out_layout(patch)
        return report_of(store, asked)[0]


@pytest.mark.parametrize("is_dark", [False, True])
def test_all_text_has_the_contrast_of_aa(browser: Browser, page: Path, is_dark: bool) -> None:
    browser.open(page, is_dark=is_dark)
    found = browser.js(TEXT_CONTRASTS)
    assert len(found) > 300
    assert [text for ratio, text in found if ratio < AA] == []


def test_the_button_changes_between_light_and_dark(browser: Browser, page: Path) -> None:
    browser.open(page)
    button = browser.driver.find_element(By.ID, "theme")
    seen = []
    for _ in range(3):
        paper = browser.js("return getComputedStyle(document.body).backgroundColor")
        seen.append((button.text, paper))
        button.click()
    assert seen == [("Dark", "rgb(255, 255, 255)"), ("Light", "rgb(22, 24, 27)"), seen[0]]
    assert min(ratio for ratio, _ in browser.js(TEXT_CONTRASTS)) >= AA


def test_the_button_follows_the_system_until_it_is_pressed(browser: Browser, page: Path) -> None:
    browser.open(page)
    button = browser.driver.find_element(By.ID, "theme")
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    assert eventually(lambda: button.text == "Light")
    button.click()
    colour = "return getComputedStyle(document.body).backgroundColor"
    assert (button.text, browser.js(colour)) == ("Dark", "rgb(255, 255, 255)")


def test_a_heading_sorts_by_number_says_so_and_is_forgotten_for_another(
    browser: Browser, page: Path
) -> None:
    browser.open(page)
    heading, other = (
        browser.driver.find_element(By.XPATH, f"//table[@id='cells']//th[.='{text}']")
        for text in ("ELBO (nats)", "PSNR (dB)")
    )
    button = heading.find_element(By.TAG_NAME, "button")
    acts: dict[str, Callable[[], None]] = {
        "click": button.click,
        "Enter": lambda: button.send_keys(Keys.ENTER),
        "Space": lambda: button.send_keys(Keys.SPACE),
    }
    for press, (direction, sign) in product(acts, (("ascending", 1), ("descending", -1))):
        acts[press]()
        assert heading.get_attribute("aria-sort") == direction, press
        *values, last = browser.js(COLUMN, "ELBO (nats)")
        assert last == ""  # the cell without a run stays at the end
        assert len(values) == 7
        assert all(sign * (float(b) - float(a)) >= 0 for a, b in pairwise(values))
    other.find_element(By.TAG_NAME, "button").click()
    assert browser.driver.find_elements(By.CSS_SELECTOR, "#cells th[aria-sort]") == [other]


def test_a_heading_sorts_by_what_is_shown_where_the_page_has_no_other_key(
    browser: Browser, page: Path
) -> None:
    browser.open(page)
    for column, expected in ((0, 4 * ["1"] + 4 * ["2"]), (1, 4 * ["BCE"] + 4 * ["MSE"])):
        button = browser.driver.find_elements(By.CSS_SELECTOR, "#cells th button")[column]
        for rows in (expected, expected[::-1]):
            button.click()
            cells = f"document.querySelectorAll('#cells tbody td:nth-child({column + 1})')"
            assert browser.js(f"return [...{cells}].map(cell => cell.textContent)") == rows
            assert not browser.js(f"return [...{cells}].some(cell => 'order' in cell.dataset)")


def test_the_filter_keeps_rows_that_have_every_word_and_knows_the_names_of_columns(
    browser: Browser, page: Path
) -> None:
    browser.open(page)
    of_cells = {"mse": 4, "BCE 2": 4, "x": 0}
    of_cells |= {
        "depth": 8,
        "latent size": 8,
        "depth 2": 4,
        "latent size 20": 4,
        "depth 2 latent 20 bce": 1,
        "2": 7,
    }
    of_gallery = {"mse": 4, "BCE 2": 2, "x": 0}
    sheets = {
        "#cells": ("//*[contains(@class, 'sheet')][.//*[@id='cells']]", 8, of_cells),
        ".gallery": ("//*[contains(@class, 'gallery')]", 7, of_gallery),
    }
    for table, (sheet, rows, kept) in sheets.items():
        field = browser.driver.find_element(By.XPATH, f"{sheet}//input")
        said = browser.driver.find_element(By.XPATH, f"{sheet}//output")
        assert browser.js(VISIBLE, table) == rows
        for typed, count in kept.items():
            field.send_keys(typed)
            assert browser.js(VISIBLE, table) == count, typed
            assert said.text == f"{count} of {rows} rows"
            field.send_keys(Keys.BACKSPACE * len(typed))
            assert browser.js(VISIBLE, table) == rows
            assert said.text == ""


def test_a_number_is_found_as_it_is_typed_on_a_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page)
    field = browser.driver.find_element(By.XPATH, "//*[@class='sheet'][.//*[@id='cells']]//input")
    texts = [
        cell.text
        for cell in browser.driver.find_elements(By.CSS_SELECTOR, "#cells tbody td.number")
        if cell.text[0] == "−" or "," in cell.text
    ]
    assert {"−", ","} <= set("".join(texts))
    for text in texts:
        field.send_keys(text.split()[0].replace("−", "-").replace(",", ""))
        assert browser.js(VISIBLE, "#cells") > 0, text
        field.clear()


def test_a_variant_that_begins_like_a_column_is_found_and_texts_sort_by_their_numbers(
    browser: Browser,
) -> None:
    browser.open(PUBLISHED / "levels/report/index.html")
    field = browser.driver.find_element(By.CSS_SELECTOR, ".sheet:has(#cells) input")
    for typed, count in {"ELBO depth 2": 1, "elbo": 4, "joint KL depth 2": 1, "depth 2": 6}.items():
        field.clear()
        field.send_keys(typed)
        assert browser.js(VISIBLE, "#cells") == count, typed
    browser.open(PUBLISHED / "standard/report/index.html")
    browser.js("document.querySelector('#contrasts th button').click()")
    cells = "document.querySelectorAll('#contrasts tbody td:first-child')"
    order = list(dict.fromkeys(browser.js(f"return [...{cells}].map(cell => cell.textContent)")))
    sizes = [name for name in order if name.startswith("latent size")]
    assert sizes == [f"latent size {step}" for step in ("2 → 5", "5 → 10", "10 → 20", "20 → 50")]


def test_a_table_of_one_row_has_no_filter(browser: Browser, page: Path) -> None:
    browser.open(page)
    seen = (
        "return [...document.querySelectorAll('.sheet')].map(s => "
        "[s.querySelectorAll('tbody tr').length, "
        "getComputedStyle(s.querySelector('.filter')).display])"
    )
    shown = browser.js(seen)
    assert {display for rows, display in shown if rows > 1} == {"flex"}
    browser.js("document.querySelector('.filter').hidden = true")
    assert browser.js(seen)[0][1] == "none"


def test_a_filter_that_is_typed_on_a_phone_hides_pictures_too(browser: Browser, page: Path) -> None:
    browser.open(page, width=390)
    browser.driver.find_element(By.CSS_SELECTOR, ".gallery input").send_keys("bce 20")
    shown = (
        "return [...document.querySelectorAll('.gallery img')].filter(i => i.offsetParent).length"
    )
    assert browser.js(shown) == 2 * 4


def test_every_picture_is_there_and_described(browser: Browser, page: Path) -> None:
    browser.open(page)
    pictures = browser.js(
        "return [...document.images].map(i => [i.naturalWidth, i.width, i.height, i.alt])"
    )
    assert len(pictures) == 7 * 4
    for natural, width, height, text in pictures:
        assert natural in (8 * 9 - 1, 10 * 9 - 1, 7 * 9 - 1)
        assert width == 4 * natural  # 8 × 8 digits, a whole multiple
        assert (height / 4 + 1) / 9 in (1, 2, 3, 4, 5)  # rows
        assert text


def test_on_paper_a_study_like_quick_takes_eight_pages_at_most(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is folded on the screen stays so; what was opened is printed."""
    leave_out_layout(monkeypatch)
    store = Store(tmp_path)
    store.open_for_writing()
    asked = design({"depth": (1, 2, 3, 4), "loss": ("bce", "mse"), "latent": (2, 20)}, seeds=2)
    for run in asked.runs:
        store.write(record(run))
        write_pictures(store, run)
    browser.open(report_of(store, asked)[0])
    folded = browser.pages_on_paper()
    assert 3 <= folded <= 8
    browser.js("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert browser.pages_on_paper() > folded


@pytest.mark.parametrize(("width", "is_dark"), [(1280, False), (390, True)])
def test_the_page_is_without_errors_requests_scrolling_or_violations(
    browser: Browser, page: Path, width: int, is_dark: bool
) -> None:
    browser.open(page, width, is_dark=is_dark)
    browser.assert_calm(width)
    assert browser.violations() == []


def test_the_columns_that_name_a_row_stay_in_sight(browser: Browser, page: Path) -> None:
    browser.open(page, width=390)
    seen = (
        "const box = document.querySelector('#headline .scroll'); box.scrollLeft = 400;"
        "const row = document.querySelector('#cells tbody tr');"
        "const left = box.getBoundingClientRect().left;"
        "return [...row.cells].slice(0, 4).map(c => c.getBoundingClientRect().left - left)"
    )
    *places, other = browser.js(seen)
    assert len(places) == 3
    assert places == sorted(places)
    assert min(places) >= 0
    assert other < 0
    wide = "document.querySelectorAll('#cells th')[1].style.minWidth = '20rem'"
    sticking = "return document.querySelectorAll('#cells tbody tr')[0].querySelectorAll('.place')"
    browser.js(wide)
    assert eventually(lambda: browser.js(f"{sticking}.length") == 1)  # the others stay in reach


def test_a_link_to_what_is_folded_unfolds_it(browser: Browser, page: Path) -> None:
    browser.open(page)
    is_seen = "return document.querySelector('#status').checkVisibility()"
    assert not browser.js(is_seen)
    browser.js("location.hash = '#status'")
    assert eventually(lambda: browser.js(is_seen))


def test_figures_are_numbered_and_every_one_has_its_link(browser: Browser, page: Path) -> None:
    browser.open(page)
    heads = "return [...document.querySelectorAll('figure h3')].map(h => h.textContent)"
    titles = browser.js(heads)
    assert [title.split(".")[0] for title in titles] == [
        f"Figure {number}" for number in range(1, len(titles) + 1)
    ]
    assert titles[0] == "Figure 1. Every main effect"
    links = browser.js(
        "return [...document.querySelectorAll('figure')].map(f => f.querySelector('.anchor').hash)"
    )
    ids = browser.js("return [...document.querySelectorAll('figure')].map(f => '#' + f.id)")
    assert links == ids


def test_paper_has_no_controls_and_no_scroll_boxes(browser: Browser, page: Path) -> None:
    browser.open(page, is_dark=True)
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    seen = browser.js(
        "return ['nav', '.filter', '.skip'].map(s => getComputedStyle(document.querySelector(s))"
        ".display)"
    )
    assert seen == ["none"] * 3
    boxes = (
        "return [...document.querySelectorAll('.scroll')].map(s => getComputedStyle(s).overflowX)"
    )
    assert set(browser.js(boxes)) == {"visible"}
    assert browser.js("return getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


def test_a_screen_reader_finds_landmarks_names_and_headings(browser: Browser, page: Path) -> None:
    browser.open(page)
    nodes = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]
    roles = [role for role, _ in found]
    for landmark in ("banner", "navigation", "main"):
        assert roles.count(landmark) == 1
    named = {"region", "table", "image", "img", "button", "searchbox", "navigation", "link"}
    assert [role for role, name in found if role in named and not name] == []
    regions = [name for role, name in found if role == "region"]
    assert regions[0] == "Does <depth> help?"
    assert "How it was made" in regions
    levels = browser.js(
        "return [...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_first_tab_is_a_way_past_the_links_and_focus_is_seen(
    browser: Browser, page: Path
) -> None:
    browser.open(page)
    body = browser.driver.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    focus = browser.driver.switch_to.active_element
    assert focus.text == "Skip to the answer"
    focus.send_keys(Keys.ENTER)
    assert browser.js("return location.hash") == "#answer"
    browser.driver.switch_to.active_element.send_keys(Keys.TAB)
    style = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.js(style) == "solid"


def test_a_study_without_records_is_a_page_without_errors(browser: Browser, tmp_path: Path) -> None:
    for name, asked in (("nothing", Design("none", "", ())), ("missing", design())):
        (index,) = report_of(Store(tmp_path / name), asked)
        browser.open(index)
        assert browser.console_errors() == []
        assert browser.js("return document.querySelectorAll('svg, img').length") == 0


INJECTED = """<h1 id='in'><script>window.ran = 1</script>
<img src='{address}' onerror='window.ran = 2'><svg onload='window.ran = 3'></svg>
<style>h1 {{ color: rgb(1, 2, 3) }}</style><b style='color: rgb(1, 2, 3)'>x</b>"""


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """The address of a server of this machine, and what it is asked for."""
    paths: list[str] = []

    class Note(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *said: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Note) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/x.png", paths
        server.shutdown()


def effects(browser: Browser) -> tuple[bool, bool]:
    """Whether injected scripts ran, and whether injected styles were taken."""
    colours = browser.js(
        "return ['#in', '#in b'].map(s => getComputedStyle(document.querySelector(s)).color)"
    )
    return bool(browser.js("return window.ran ?? 0")), "rgb(1, 2, 3)" in colours


def test_what_came_into_the_page_by_a_text_neither_runs_nor_loads(
    browser: Browser, page: Path, tmp_path: Path, asked: tuple[str, list[str]]
) -> None:
    """As if an escape were missing: the policy stands behind it, and nothing else does."""
    address, paths = asked
    changed = tmp_path / "page.html"
    injected = page.read_text().replace("<h1>", INJECTED.format(address=address), 1)
    changed.write_text(injected)
    browser.open(changed)
    assert effects(browser) == (False, False)
    assert any("Content Security Policy" in said for said in browser.console_errors())
    assert paths == []
    assert browser.js("return document.querySelector('#theme').hidden") is False  # its own runs
    changed.write_text(injected.replace("Content-Security-Policy", "x"))
    browser.open(changed)
    assert effects(browser) == (True, True)
    assert paths == ["/x.png"]
