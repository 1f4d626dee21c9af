"""A slim SVG shows the same picture."""

import re

from report.render.svg import slim

RAW = """<?xml version="1.0"?>
<svg xmlns:xlink="http://www.w3.org/1999/xlink">
 <metadata>
  <dc:date>2026-01-01</dc:date>
 </metadata>
 <defs>
  <path id="glyph" d="M 1.234567 2
L 30.987654 -4.5
z
" transform="scale(0.015625)"/>
  <clipPath id="clip"><rect x="0.123456" width="100.987654"/></clipPath>
 </defs>
 <g id="axes_1">
  <use xlink:href="#glyph" x="12.345678"
   style="fill: #0072b2"/>
  <path d="M 0 0 L 1 1" clip-path="url(#clip)"/>
 </g>
</svg>
"""


def test_numbers_keep_a_hundredth_and_small_ones_all_digits() -> None:
    text = slim(RAW, "f")
    assert 'd="M1.23 2L30.98 -4.5z"' in text
    assert 'transform="scale(0.015625)"' in text
    assert 'x="0.123456" width="100.98"' in text


def test_every_reference_has_its_id_and_no_other_id_is_left() -> None:
    text = slim(RAW, "f")
    assert set(re.findall(r'id="([^"]+)"', text)) == {"f-glyph", "f-clip"}
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) == {"f-glyph", "f-clip"}


def test_dates_line_breaks_and_the_prologue_go_but_attributes_stay_apart() -> None:
    text = slim(RAW, "f")
    assert text.startswith("<svg ")
    assert "2026" not in text
    assert "\n" not in text
    assert 'x="12.34" style="fill: #0072b2"' in text
