"""The form of what was read from JSON: of which type each part is."""

import dataclasses
from collections.abc import Mapping
from typing import Any, get_origin


def require_form(kind: type, body: Mapping[str, Any]) -> None:
    """Raise `ValueError` naming the first part of `body` that is there and not of the type that the
    dataclass `kind` declares."""
    assert dataclasses.is_dataclass(kind)
    for declared in dataclasses.fields(kind):
        expected: Any = get_origin(declared.type) or declared.type
        held = body.get(declared.name)
        is_flag = isinstance(held, bool) and expected is not bool
        if declared.name in body and (is_flag or not isinstance(held, expected)):
            raise ValueError(f"{declared.name}: no {expected.__name__}, but {type(held).__name__}")


def require_numbers(name: str, tree: Any) -> None:
    """Raise `ValueError` where a leaf of nested lists and tables is neither a number nor absent."""
    if isinstance(tree, dict | list):
        for part in tree.values() if isinstance(tree, dict) else tree:
            require_numbers(name, part)
    elif tree is not None and not isinstance(tree, int | float):
        raise ValueError(f"{name}: {tree!r} is not allowed; allowed: numbers")


def require_plain(name: str, table: Any) -> None:
    """Raise `ValueError` unless this is a table in which no value is a table or a list."""
    if not isinstance(table, dict):
        raise ValueError(f"{name}: {table!r} is not allowed; allowed: a table")
    for key, held in table.items():
        if isinstance(held, dict | list):
            raise ValueError(f"{name}: {key!r} holds a {type(held).__name__}; allowed: one value")
