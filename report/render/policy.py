"""What a page may load and run: itself alone (Content Security Policy Level 3, W3C).

The browser runs a script, and takes a style sheet, only if its hash stands in the page's policy:
markup that came in with a text of others stays without effect even where an escape is missing.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from report.render.drawing import Picture
from report.render.output import FOLDER

REM_PER_INCH = 6.5  # of a figure on a page
SHEET = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL)  # of a figure


@dataclass(frozen=True)
class Inline:
    """The style sheets and scripts of a page, each to stand in its element as it is, and the
    policy that allows them and nothing else."""

    styles: tuple[Markup, ...]
    scripts: tuple[Markup, ...]
    policy: str


def page_inline(pictures: Iterable[Picture]) -> Inline:
    """What the page of a study or of a comparison holds, each of its figures at its own width."""
    figures = list(pictures)
    widths = (
        f'[id="figure-{p.name}"] {{ --width: {REM_PER_INCH * p.inches}rem; }}' for p in figures
    )
    drawn = (figure.content["svg"].decode() for figure in figures)
    return inline(["style.css"], ["page.js"], drawn, "".join(widths))


def inline(
    styles: Sequence[str], scripts: Sequence[str], figures: Iterable[str], own_style: str = ""
) -> Inline:
    """What templates of these names, the SVG figures of a page and its `own_style` hold."""
    sheets = [*map(_text, styles), *([own_style] if own_style else [])]
    programs = list(map(_text, scripts))
    of_figures = [sheet for figure in figures for sheet in SHEET.findall(figure)]
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hashes([*sheets, *of_figures])}; "
        f"script-src {_hashes(programs)}; base-uri 'none'; form-action 'none'"
    )
    return Inline(tuple(map(Markup, sheets)), tuple(map(Markup, programs)), policy)


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _hashes(texts: Iterable[str]) -> str:
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{one}'" for one in dict.fromkeys(hashes))
