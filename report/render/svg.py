"""SVG without what nobody sees: half of it goes, so that a page of many figures stays small."""

import re
from collections.abc import Callable, Mapping

METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)  # holds the date of now
TAG = re.compile(r"<[^>]*>")
# A hundredth of a point is enough. Numbers below 1 stay: they are widths and scales.
LONG_NUMBER = re.compile(r"\b([1-9]\d*\.\d\d)\d+")
IDENTIFIER = re.compile(r' id="([^"]+)"')
REFERENCE = re.compile(r'(href="#|url\(#)([^")]+)')
PATH = re.compile(r' d="([^"]*)"')
FAMILY = re.compile(r"font-family: [^;]*; ")  # named once, by who shows it
UNTURNED = re.compile(r' transform="rotate\(-0 [^"]*"')
STYLE = re.compile(r' style="([^"]*)"')
EMPTY = re.compile(r"<g(?: [^>]*)?/>")
GROUP = re.compile(r"<g(?: [^>]*)?>|</g>")


def slim(svg: str, prefix: str) -> str:
    """The `<svg>` element with the same picture, texts in the font around it; ids that are used
    start with `prefix`, which is also its class: the rules of its styles hold inside it alone."""
    text = METADATA.sub("", svg[svg.index("<svg") :])
    text = re.sub(r"\s*\n\s*", " ", re.sub(r">\s+<", "><", text))
    used = dict.fromkeys(name for _, name in REFERENCE.findall(text))
    ids = {name: f"{prefix}-{number}" for number, name in enumerate(used)}
    text = TAG.sub(lambda found: _tag(found[0], ids), text)
    text = GROUP.sub(_bare_groups(), EMPTY.sub("", text))
    return _with_classes(text, prefix.replace(".", "-"))


def _tag(tag: str, ids: Mapping[str, str]) -> str:
    tag = LONG_NUMBER.sub(r"\1", UNTURNED.sub("", FAMILY.sub("", tag)))
    tag = IDENTIFIER.sub(lambda found: f' id="{ids[found[1]]}"' if found[1] in ids else "", tag)
    tag = REFERENCE.sub(lambda found: found[1] + ids[found[2]], tag)
    return PATH.sub(lambda found: f' d="{_tight(found[1])}"', tag).replace("xlink:href", "href")


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


def _with_classes(text: str, scope: str) -> str:
    """Every style said once, in the element's own sheet."""
    styles = list(dict.fromkeys(STYLE.findall(text)))
    rules = "".join(f".{scope} .s{number}{{{style}}}" for number, style in enumerate(styles))
    text = STYLE.sub(lambda found: f' class="s{styles.index(found[1])}"', text)
    text = text.replace("<svg ", f'<svg class="{scope}" ', 1)
    return text.replace("</style>", f"{rules}</style>", 1)
