"""hvae/records/code_digest.py: what runs is digested, what is said about it is not."""

import ast
import re
from pathlib import Path

import pytest

from hvae.records.code_digest import code_digest, source_files

ROOT = Path(__file__).parents[3]
PYTHON = """
import math

def area(radius, *, scale=1.0):
    text = "no docstring"
    return scale * math.pi * radius**2 if radius > 0 else None

class Circle:
    sides = [1, 0x10, 2.5, None, ..., b"b"]
"""
SAME_PYTHON = '''
"""A module."""
import math  # for pi


def area(
    radius,
    *,
    scale=1.0,
):
    """Of a circle."""
    text = 'no docstring'

    # Nothing inside.
    return (scale * math.pi * (radius ** 2)) if (radius > 0) else None


class Circle:
    """Round."""

    sides = [1, 16, 2.5, None, ..., b'b',]
'''
# Every kind of f-string: versions of Python disagree about their trees more than about all else.
STRINGS = """
x = f"a{y}b" "c" f"{y!r:>{z}}" rf"\\{y}{{}}" f"{y = }" f"{y:%Y-{z}-%d}" u"\U0001fae9" f"" f"{y:}"
"""
C = """
#define HALF(x) ((x) / 2)
static int f(int a) {
    char *s = "a /* b */  // c";
    return HALF(a) + '"' + '/';
}
"""
SAME_C = """/* What it is
   and more */
#define HALF(x)   ((x) /* halved */ / 2)  // don't round
static int f(int a)
{   char *s = "a /* b */  // c";  // \\
    still a comment
    return   HALF(a)
        + '"' /* a "quote */ + '/'; }
"""


def digest(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return code_digest(folder, [path])


def test_words_and_layout_of_python_are_left_out(tmp_path: Path) -> None:
    assert digest(tmp_path, "a.py", PYTHON) == digest(tmp_path, "a.py", SAME_PYTHON)
    crlf = SAME_PYTHON.replace("\n", "\r\n")
    assert digest(tmp_path, "a.py", PYTHON) == digest(tmp_path, "a.py", crlf)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import math", "import cmath as math"),
        ("**2", "**3"),
        ("**2", "*2"),
        ("radius > 0", "0 > radius"),
        ("scale=1.0", "scale=1"),
        ("*, scale", "scale"),
        ('"no docstring"', '"another"'),
        ('text = "no docstring"', '"no docstring"; text = ""'),
        ("1, 0x10", "0x10, 1"),
        ("None, ...", "..., None"),
        ('b"b"', '"b"'),
        ("else None", "else False"),
        ("class Circle", "class Round"),
        ("class Circle", "@math\nclass Circle"),
    ],
)
def test_every_change_of_python_is_seen(tmp_path: Path, before: str, after: str) -> None:
    assert before in PYTHON
    changed = PYTHON.replace(before, after)
    assert digest(tmp_path, "a.py", PYTHON) != digest(tmp_path, "a.py", changed)


@pytest.mark.parametrize("comment", ["# said", "// said", "/* it's */"])
def test_words_added_wherever_they_may_stand_leave_the_digest_of_our_own_sources(
    tmp_path: Path, comment: str
) -> None:
    kinds = (".py",) if comment.startswith("#") else (".c", ".h")
    paths = [path for path in source_files(ROOT / "hvae") if path.suffix in kinds]
    assert paths
    for path in paths:
        source = path.read_text()
        lines = source.split("\n")
        for number in line_ends(source, path.suffix):
            lines[number] += f"  {comment}\n\n"
        assert digest(tmp_path, path.name, "\n".join(lines)) == digest(tmp_path, path.name, source)


def line_ends(source: str, suffix: str) -> set[int]:
    """Lines (from 0) whose end lies in no string, no comment and no directive of several lines."""
    lines = source.split("\n")
    inside = {number for number, line in enumerate(lines) if line.endswith("\\")}
    if suffix == ".py":
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno:
                inside |= set(range(node.lineno - 1, node.end_lineno - 1))
    for found in re.finditer(r"/\*.*?\*/", source, re.DOTALL) if suffix != ".py" else ():
        first = source.count("\n", 0, found.start())
        inside |= set(range(first, first + found[0].count("\n")))
    return set(range(len(lines))) - inside


def test_words_and_layout_of_c_are_left_out_but_not_within_literals(tmp_path: Path) -> None:
    before = digest(tmp_path, "a.c", C)
    assert digest(tmp_path, "a.c", SAME_C) == before
    assert digest(tmp_path, "a.c", SAME_C.replace("\n", "\r\n")) == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("return HALF(a)", "return HALF(b)"),
        ("a /* b */  // c", "a  // c"),
        ("a /* b */  // c", "a /* b */ // c"),
        ("a /* b */  // c", "a /* b */  // d"),
        ("/ 2)\n", "/ 2) "),  # the directive takes in what follows
        ("'/'", "'+'"),
        ("char *s", "// char *s"),
        ("static int", "staticint"),
    ],
)
def test_every_change_of_c_is_seen(tmp_path: Path, before: str, after: str) -> None:
    assert before in C
    assert digest(tmp_path, "a.c", C) != digest(tmp_path, "a.c", C.replace(before, after))


def test_a_header_is_c_and_another_file_counts_byte_by_byte(tmp_path: Path) -> None:
    assert digest(tmp_path, "a.h", "int a; // 1") == digest(tmp_path, "a.h", "int a;")
    assert digest(tmp_path, "a.txt", "int a; // 1") != digest(tmp_path, "a.txt", "int a;")


@pytest.mark.parametrize("content", ["def broken(:", "x = '\0'", b"x = '\xff'"])
def test_python_that_does_not_parse_counts_byte_by_byte(
    tmp_path: Path, content: str | bytes
) -> None:
    found = digest(tmp_path, "a.py", content)
    words = " # said"
    longer = content + (words if isinstance(content, str) else words.encode())  # type: ignore
    assert digest(tmp_path, "a.py", longer) != found


def test_names_and_folders_count_and_the_order_of_listing_does_not(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.py", "b.py", "deep/c.h", "notes.txt"):
        (tmp_path / name).write_text("")
    paths = source_files(tmp_path)
    assert sorted(path.name for path in paths) == ["a.py", "b.py", "c.h"]
    found = code_digest(tmp_path, paths)
    assert code_digest(tmp_path, reversed(paths)) == found
    renamed = (tmp_path / "deep" / "c.h").rename(tmp_path / "c.h")
    assert code_digest(tmp_path, [tmp_path / "a.py", tmp_path / "b.py", renamed]) != found


def test_the_digest_is_the_same_on_every_supported_python(tmp_path: Path) -> None:
    """What 3.11, 3.12, 3.13 and 3.14 all said when this was written."""
    assert digest(tmp_path, "a.py", PYTHON + STRINGS) == (
        "8b0fe9ba6c80582c8a559daef9100fc41e192ea7219b2cb2761a052ad99ad804"
    )
