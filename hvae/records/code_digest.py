"""Digests of code: what runs, whatever is said about it and however it is laid out.

Imports no torch. Of Python the syntax tree counts without docstrings, walked here because
`ast.dump` and `ast.unparse` print differently in different versions; of C the text without
comments. So a digest is the same on every supported Python.
"""

import ast
import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# A literal of C, or blanks on a line: spaces, comments, a line that goes on in the next.
C_LITERAL_OR_BLANKS = re.compile(
    rb"""("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
    rb"""|(?:[^\S\n]|//(?:\\\n|[^\n])*|/\*.*?\*/|\\\n)+""",
    re.DOTALL,
)


def source_files(folder: Path) -> list[Path]:
    """The files of Python and C in a folder and in all folders of it."""
    return [*folder.rglob("*.py"), *folder.rglob("*.[ch]")]


def code_digest(root: Path, paths: Iterable[Path]) -> str:
    """Hex SHA-256 over the code of files below `root` and their names relative to it.

    Comments, docstrings and layout are left out of Python and C; any other file, and Python that
    does not parse, counts byte by byte.
    """
    sha = hashlib.sha256()
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in paths):
        code = _code(path.suffix, path.read_bytes())
        sha.update(f"{name}\0{len(code)}\0".encode() + code)
    return sha.hexdigest()


@cache  # a grid asks after every run, of files that hardly ever change
def _code(suffix: str, content: bytes) -> bytes:
    if suffix == ".py":
        try:
            return _python(ast.parse(content))
        except (SyntaxError, ValueError):  # the latter of null bytes, in older versions
            return content
    return _c(content) if suffix in (".c", ".h") else content


def _python(tree: ast.Module) -> bytes:
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
        elif isinstance(node, ast.JoinedStr):  # Python 3.12.1 adds empty strings to f-strings
            node.values = [part for part in node.values if getattr(part, "value", None) != ""]
    return _written(tree).encode()


def _written(value: Any) -> str:
    """A part of a syntax tree as text: the kind of a node and those of its fields that hold
    something, because newer versions have more fields."""
    if isinstance(value, ast.AST):
        fields = ((name, field) for name, field in ast.iter_fields(value) if name != "kind")
        filled = [f"{name}={_written(field)}" for name, field in fields if field not in (None, [])]
        return f"{type(value).__name__}({','.join(filled)})"
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    return ascii(value)  # not repr, which prints what this version's Unicode can


def _c(source: bytes) -> bytes:
    """Tokens with one space between them, directives on lines of their own."""
    text = C_LITERAL_OR_BLANKS.sub(lambda m: m[1] or b" ", source.replace(b"\r\n", b"\n"))
    lines = filter(None, map(bytes.strip, text.split(b"\n")))
    return b"".join(b"\n%b\n" % x if x.startswith(b"#") else b"%b " % x for x in lines)
