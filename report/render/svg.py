"""SVG without what nobody sees: half of it goes, so that a page of many figures stays small."""

import re
from collections.abc import Callable

METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)  # holds the date of now
TAG = re.compile(r"<[^>]*>")
# A hundredth of a point is enough. Numbers below 1 stay: they are widths and scales.
LONG_NUMBER = re.compile(r"\b([1-9]\d*\.\d\d)\d+")
IDENTIFIER = re.compile(r' id="([^"]+)"')
REFERENCE = re.compile(r'(?:href="#|url\(#)([^")]+)')
PATH = re.compile(r' d="([^"]*)"')
FAMILY = re.compile(r"font-family: [^;]*; ")  # named once, by who shows it
UNTURNED = re.compile(r' transform="rotate\(-0 [^"]*"')
STYLE = re.compile(r' style="([^"]*)"')
EMPTY = re.compile(r"<g(?: [^>]*)?/>")
GROUP = re.compile(r"<g(?: [^>]*)?>|</g>")


def slim(svg: str, prefix: str) -> str:
    """The `<svg>` element with the same picture, texts in the font around it; ids that are used,
    and classes in place of its styles, start with `prefix`."""
    text = METADATA.sub("", svg[svg.index("<svg") :])
    text = re.sub(r"\s*\n\s*", " ", re.sub(r">\s+<", "><", text))
    used = set(REFERENCE.findall(text))
    text = TAG.sub(lambda found: _tag(found[0], used, prefix), text)
    text = GROUP.sub(_bare_groups(), EMPTY.sub("", text))
    return _with_classes(text, prefix.replace(".", "-"))


def _tag(tag: str, used: set[str], prefix: str) -> str:
    tag = LONG_NUMBER.sub(r"\1", UNTURNED.sub("", FAMILY.sub("", tag)))
    tag = IDENTIFIER.sub(lambda found: found[0] if found[1] in used else "", tag)
    tag = PATH.sub(lambda found: f' d="{_tight(found[1])}"', tag).replace("xlink:href", "href")
    for opening in ('id="', "url(#", 'href="#'):
        tag = tag.replace(opening, f"{opening}{prefix}-")
    return tag


def _tight(path: str) -> str:
    """A path's data without the spaces beside its letters."""
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", path.strip())


def _bare_groups() -> Callable[[re.Match[str]], str]:
    """What leaves out groups that say nothing of what is in them, and their ends."""
    is_kept: list[bool] = []

    def kept(found: re.Match[str]) -> str:
        if found[0] != "</g>":
            is_kept.append(found[0] != "<g>")
            return found[0] if is_kept[-1] else ""
        return found[0] if is_kept.pop() else ""

    return kept


def _with_classes(text: str, prefix: str) -> str:
    """Every style said once, in the element's own sheet."""
    styles = list(dict.fromkeys(STYLE.findall(text)))
    rules = "".join(f".{prefix}-{number}{{{style}}}" for number, style in enumerate(styles))
    text = STYLE.sub(lambda found: f' class="{prefix}-{styles.index(found[1])}"', text)
    return text.replace("</style>", f"{rules}</style>", 1)
