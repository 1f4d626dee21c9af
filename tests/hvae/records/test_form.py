"""Parts of another type than declared are refused by name; what fits is not."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hvae.config import RunConfig
from hvae.records import store as records
from hvae.records.form import require_form, require_numbers, require_plain
from hvae.records.store import Record, RecordError, Store

OTHERS: list[tuple[str, Any]] = [
    *(("seconds", {"train": "x"}), ("code", {"version": []}), ("environment", {"flags": 1})),
    *(("history", {}), ("history", None), ("parameters", True), ("parameters", 1.5), ("study", 1)),
    *(("environment", {"flags": {"a": []}}), ("environment", {"torch": {}}), ("metrics", [])),
]


@pytest.mark.parametrize(("name", "held"), OTHERS)
def test_a_record_with_a_part_of_another_form_is_named_not_read(
    name: str, held: Any, tmp_path: Path, make_record: Callable[..., Record]
) -> None:
    store, made = Store(tmp_path), make_record(RunConfig())
    store.open_for_writing()
    body = dataclasses.asdict(dataclasses.replace(made, **{name: held}))
    path = store.path(made.digest)
    path.write_text(json.dumps(body | {"checksum": records._checksum(body)}))
    with pytest.raises(RecordError, match=name if name != "environment" else "flags|environment"):
        store.read(made.digest)


def test_a_whole_record_has_the_form_and_so_has_one_with_parts_left_out(
    make_record: Callable[..., Record],
) -> None:
    body = dataclasses.asdict(make_record(RunConfig()))
    require_form(Record, body)
    require_form(Record, {})
    require_numbers("x", {"a": [1, None, [2.5, {"b": 3}]]})
    require_plain("x", {"a": 1, "b": "c", "d": None})
