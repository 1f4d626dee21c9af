"""The page that `hvae run` prints is that of its own study and of the records there now."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablations.run import current_report as reporting
from ablations.run.current_report import current_report
from ablations.run.launch import standings_of
from ablations.studies import PRESETS, Study, Variant, narrow
from hvae.config import digest
from hvae.records.standings import Standing
from hvae.records.store import Store
from report.data.design import Design

QUICK = PRESETS["quick"]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Design]:
    """What each written report was asked to show."""
    from report.study import writer

    asked: list[Design] = []

    def write(
        design: Design, standings: Sequence[Standing], store: Store, folder: Path, formats: Any
    ) -> list[Path]:
        assert [standing.run for standing in standings] == list(design.runs)
        asked.append(design)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").touch()
        return [folder / "index.html"]

    monkeypatch.setattr(writer, "write_report", write)
    return asked


def show(study: Study, store: Store) -> Path:
    return current_report(study, store, standings_of(study, store))


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.write_failure(QUICK.cells[0].run, RuntimeError("no luck")),
        lambda store: (store.runs / "0123456789abcdef.npz").write_text("{}"),
        lambda store: (store.folder / "report" / "index.html").unlink(),
        lambda store: show(narrow(QUICK, seeds=1), store),
        lambda store: show(replace(QUICK, question="Why?"), store),
        lambda store: show(replace(QUICK, variants=(Variant("documented"),)), store),
        lambda store: show(replace(QUICK, axes=QUICK.axes[::-1]), store),
    ],
    ids=["a failure", "pictures", "no page", "a smaller grid", "a question", "a variant", "order"],
)
def test_a_report_is_written_again_only_where_it_is_not_current(
    tmp_path: Path, written: list[Design], change: Callable[[Store], Any]
) -> None:
    store = Store(tmp_path)
    page = show(QUICK, store)
    assert page == show(QUICK, store) == tmp_path / "report" / "index.html"
    assert [len(asked.runs) for asked in written] == [32]
    change(store)
    show(QUICK, store)
    assert len(written) > 1
    assert written[-1] == written[0]
    assert page.exists()


@pytest.mark.parametrize("what", ["standings", "sources"])
def test_a_report_is_written_again_where_other_code_judges_or_writes_it(
    tmp_path: Path,
    written: list[Design],
    what: str,
    make_record: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store(tmp_path)
    store.open_for_writing()
    record = make_record(QUICK.cells[0].run)
    store.write(record)
    show(QUICK, store)
    if what == "standings":
        monkeypatch.setattr("ablations.run.launch.sources_sha256", lambda: "others")
    else:
        package = tmp_path / "report-package"
        package.mkdir()
        (package / "__init__.py").touch()
        monkeypatch.setattr(reporting.report, "__file__", str(package / "__init__.py"))
    show(QUICK, store)
    assert len(written) == 2
    assert digest(written[1].runs[0]) == record.digest
