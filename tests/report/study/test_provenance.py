"""How the records were made, said on their page."""

from dataclasses import replace

import pytest
from builders import ENVIRONMENT, design, filled, record, report_of

from hvae.config import RunConfig
from hvae.records.store import Store
from report.study.provenance import citation, made_table

ASKED = design({"depth": (1, 2)}, seeds=2)
CODE = record(ASKED.runs[0]).code
COMPILED = {"flags": {"engine": "compiled", "pack_size": 2}}
TRACED = {"flags": {"engine": "traced", "pack_size": 2, "declined": "no C compiler"}}
WAYS = {
    "flags": ({"environment": ENVIRONMENT | COMPILED}, {"environment": ENVIRONMENT | TRACED}),
    "device name": (
        {"environment": ENVIRONMENT | {"device_name": "One CPU"}},
        {"environment": ENVIRONMENT | {"device_name": "Another CPU"}},
    ),
    "digest of its sources": (
        {"code": CODE},
        {"code": CODE | {"sources_sha256": "ef" * 32}},
    ),
}
TOLD = {
    "flags": {
        "engine compiled, pack_size 2": 3,
        "declined no C compiler, engine traced, pack_size 2": 1,
    },
    "device name": {"One CPU": 3, "Another CPU": 1},
    "digest of its sources": {"cd" * 32: 3, "ef" * 32: 1},
}


def test_a_citation_compiles_whatever_the_study_is_called(store: Store) -> None:
    asked = replace(ASKED, name="wake_up", question="What do 50 % & {β} do?")
    (title,) = (line for line in citation(filled(store, asked)).splitlines() if "title" in line)
    braces = r"\textbraceleft{}$\beta$\textbraceright{}"
    assert title == rf"  title = {{wake\_up: What do 50 \% \& {braces} do?}},"


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("what", WAYS)
def test_records_that_were_made_in_two_ways_are_counted_apart_on_the_page(
    what: str, store: Store
) -> None:
    def made(run: RunConfig) -> dict[str, object]:
        return WAYS[what][run == ASKED.runs[-1]]

    study = filled(store, ASKED, made)
    rows = [[cell.text for cell in row] for row in made_table(study).rows]
    assert {value: int(count) for name, value, count in rows if name == what} == TOLD[what]
    page = report_of(store, ASKED, "html")[0].read_text()
    assert all(value in page for value in TOLD[what])
