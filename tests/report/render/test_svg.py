"""A slim SVG shows the same picture."""

import re

from report.render.svg import slim

RAW = """<?xml version="1.0"?>
<svg xmlns:xlink="http://www.w3.org/1999/xlink">
 <metadata>
  <dc:date>2026-01-01</dc:date>
 </metadata>
 <defs><style type="text/css">*{fill: none}</style></defs>
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
  <text style="font-size: 9px; font-family: 'A', serif; fill: #0072b2" x="1.23456"
   transform="rotate(-0 1.23456 2)">3.14159 &gt; 3</text>
  <g transform="rotate(-90 1 2)"><use xlink:href="#glyph" style="fill: #0072b2"/></g>
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
    assert re.findall(r'id="([^"]+)"', text) == ["f-0", "f-1"]  # of the glyph, of the clip
    assert re.findall(r'(?:href="#|url\(#)([^")]+)', text) == ["f-0", "f-0", "f-1"]


def test_dates_line_breaks_and_the_prologue_go_but_attributes_stay_apart() -> None:
    text = slim(RAW, "f")
    assert text.startswith("<svg ")
    assert "2026" not in text
    assert "\n" not in text
    assert 'x="12.34" class="s0"' in text


def test_texts_stay_texts_in_the_font_around_them() -> None:
    assert '<text class="s1" x="1.23">3.14159 &gt; 3</text>' in slim(RAW, "f")


def test_every_style_is_said_once() -> None:
    text = slim(RAW, "effects-train.kl")
    first, second = ".effects-train-kl .s0{fill: #0072b2}", "{font-size: 9px; fill: #0072b2}"
    assert f"*{{fill: none}}{first}.effects-train-kl .s1{second}</style>" in text
    assert text.startswith('<svg class="effects-train-kl" ')  # what no other figure's rules reach
    assert text.count('class="s0"') == 2
    assert "style=" not in text


def test_groups_that_say_nothing_go_and_the_others_keep_their_ends() -> None:
    text = slim(RAW, "f")
    assert '<g transform="rotate(-90 1 2)"><use href="#f-0" class="s0"/></g>' in text
    assert text.count("<g") == text.count("</g>") == 1


def test_a_group_that_holds_nothing_ends_no_other() -> None:
    raw = RAW.replace('<g id="axes_1">', '<g clip-path="url(#clip)"><g clip-path="url(#clip)"/>')
    text = slim(raw, "f")
    assert text.count("<g") == text.count("</g>") == 2
    assert text.rstrip().endswith("/></g></svg>")
