"""The page that `hvae run` prints is that of its own grid and of the records there now."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ablations.run.current_report import current_report, rewrite_report
from ablations.studies import PRESETS, narrow
from hvae.records.store import Store

QUICK = PRESETS["quick"]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs each written report expected."""
    from report.study import writer

    seen: list[int] = []

    def write(
        title: str, question: str, expected: Sequence[Any], store: Store, folder: Path, *_: Any
    ) -> list[Path]:
        seen.append(len(expected))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").touch()
        return [folder / "index.html"]

    monkeypatch.setattr(writer, "write_report", write)
    return seen


@pytest.mark.parametrize(
    "change",
    [
        lambda store: (store.runs / "0123456789abcdef.json").write_text("{}"),
        lambda store: (store.folder / "report" / "index.html").unlink(),
        lambda store: rewrite_report(narrow(QUICK, seeds=1), store, ["html"]),
    ],
    ids=["another record", "no page", "the page of a smaller grid"],
)
def test_a_report_is_written_again_only_where_it_is_not_current(
    tmp_path: Path, written: list[int], change: Callable[[Store], Any]
) -> None:
    store = Store(tmp_path)
    page = current_report(QUICK, store)
    assert page == current_report(QUICK, store) == tmp_path / "report" / "index.html"
    assert written == [32]
    change(store)
    current_report(QUICK, store)
    assert written[-1] == 32
    assert len(written) > 1
    assert os.path.exists(page)
