"""What nobody should give, for the fuzzing: values of any kind, texts that act on who shows them,
and how a command has to take them."""

import datetime
import math
from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner, Result
from hypothesis import strategies as st

from ablations.cli.main import main

ACTING = "\x00\x07\x08\x1b\u202e\u2066\ufeff\n\r\t"
TEXTS = [
    *("", " ", "0", "-1", "1e999", "nan", "inf", "None", "../x", "/", "~", "~nobody/x", "a" * 300),
    *("=cmd|' /C calc'!A0", "<script>alert(1)</script>", "$(touch x)", "`touch x`", "; touch x"),
    *("\\input{/etc/passwd}", "$\\frac$", "| a |", "%s %d {0}", "\x1b[31mred", "\u202ereversed"),
    *("CON", "a\x00b", "é", "\U0001f600", "１", "²", "--help", "-", "--", "\r\n", "🇩🇪"),
]
texts = st.one_of(
    st.sampled_from(TEXTS),
    st.text(max_size=12),
    st.text(st.sampled_from("aB0_-./=,\"'[]{}#\\" + ACTING), max_size=12),
)
numbers = st.one_of(
    st.integers(-3, 5),
    st.sampled_from([2**31, 2**53 + 1, 2**63, 2**64, 10**400, -(10**400)]),
    st.sampled_from([0.0, -0.0, 0.5, 1e-300, 1e308, math.inf, -math.inf, math.nan]),
    st.floats(allow_subnormal=False),
)
dates = st.sampled_from(
    [datetime.date(1979, 5, 27), datetime.time(7, 32), datetime.datetime(1979, 5, 27, 7, 32)]
)
plain = st.one_of(numbers, texts, st.booleans())
json_values = st.recursive(
    st.one_of(plain, st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)


def call(arguments: Sequence[str]) -> Result:
    """What a command answers; a traceback fails, and so does a refusal that is not one line."""
    result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError(f"{arguments}: {result.exception!r}") from result.exception
    assert result.exit_code in (0, 1, 2), (arguments, result.output)
    assert "--debug" in arguments or "Traceback" not in result.output, arguments
    if result.exit_code == 2:
        assert result.stdout == "", arguments
        last = result.stderr.removesuffix("\n").split("\n")[-1]
        assert last.startswith("hvae: error: "), (arguments, result.stderr)
    assert not set(result.output) & set(ACTING) - set("\n\t"), (arguments, result.output)
    return result


def files_under(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file of a folder with its size and time: what changed is seen."""
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }
