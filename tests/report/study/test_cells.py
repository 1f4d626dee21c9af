"""One tidy frame of cells, the same in every format."""

import csv
import html
import io
import re
from typing import Any

import pytest
from builders import design, filled, record, report_of, study_of

from hvae.config import RunConfig
from hvae.records.store import Store
from report.data.design import Design
from report.data.frames import STATUSES, Study
from report.data.metrics import COMMON_NOTE
from report.render.tables import Entry, Table
from report.study.cells import cells, levels_table
from report.study.page import headline_table

ONE = {"depth": (1,)}


def html_rows(text: str) -> list[list[str]]:
    text = text[text.index('<table id="cells">') :].split("</table>")[0]
    rows = re.findall(r"<tr>(<td.*?)</tr>", text)
    plain = [[re.sub("<.*?>", "", e) for e in re.findall(r"<td.*?</td>", row)] for row in rows]
    return [[html.unescape(entry) for entry in row] for row in plain]


def markdown_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[e.strip().strip("*") for e in line.strip("|").split("|")] for line in lines]


def latex_rows(text: str) -> list[list[str]]:
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    plain = re.sub(r"\\textbf\{\\boldmath (.*?)\}", r"\1", body)
    plain = plain.replace("$-$", "−").replace(r"$\pm$", "±").replace("--", "–")
    return [[e.strip() for e in line[:-2].split(" & ")] for line in plain.strip().splitlines()]


def csv_rows(text: str, metrics: int) -> list[list[str]]:
    """The long file laid out as the others: a row per cell, `metrics` numbers in a row."""
    lines = list(csv.DictReader(io.StringIO(text)))
    rows = []
    for first in range(0, len(lines), metrics):
        cell = lines[first]
        counts = [f"{cell[name]} {name}" for name in STATUSES[1:] if cell[name] != "0"]
        whole = f"{cell['finished']} of {cell['expected']} ({', '.join(counts)})"
        runs = whole if counts else cell["finished"]
        left = [cell["depth"], cell["loss"].upper(), cell["latent"], runs]
        numbers = [
            row["shown"] + ("" if row["n"] in ("0", row["finished"]) else f" (n = {row['n']})")
            for row in lines[first : first + metrics]
        ]
        rows.append([*left, f"{int(cell['parameters']):,}", *numbers])
    return rows


@pytest.mark.usefixtures("no_figures")
def test_all_four_formats_show_the_same_number_for_the_same_cell(store: Store) -> None:
    asked = design()
    odd: dict[RunConfig, dict[str, Any]] = {
        asked.runs[5]: {"metrics": record(asked.runs[5]).metrics | {"psnr_db": None}},
        asked.runs[11]: {"status": "diverged", "metrics": {"elbo_nats": None}},
    }
    for run in (*asked.runs[3:7], *asked.runs[8:]):  # the first cell is missing
        store.write(record(run, **odd.get(run, {})))
    store.write_failure(asked.runs[7], RuntimeError("x"))
    page, tex, md, table, *_ = report_of(store, asked, "html", "latex", "md", "csv")
    rows = html_rows(page.read_text())
    assert len(rows) == 12
    assert {len(row) for row in rows} == {12}  # three axes, n, parameters, seven metrics
    assert csv_rows(table.read_text(), 7) == rows
    narrow = [[*row[:4], row[6], row[8]] for row in rows]  # the likelihood and the scoreboard's
    assert markdown_rows(md.read_text()) == narrow
    assert latex_rows(tex.read_text()) == narrow
    shown = [entry for row in rows for entry in row]
    for expected in ("–", "0 of 3 (3 missing)", "2 of 3 (1 failed)", "2 of 3 (1 diverged)"):
        assert expected in shown
    assert any(entry.endswith("(n = 2)") for entry in shown)
    assert sum(re.fullmatch(r"−\d+\.\d+ ± \d+\.\d+", entry) is not None for entry in shown) == 11


def test_a_column_in_which_every_row_says_the_same_is_said_once(full_study: Study) -> None:
    table = headline_table(full_study)
    assert "n" not in table.headings
    assert table.constants == "The same in every row: n 3."
    assert {len(row) for row in table.rows} == {len(table.headings)}


def test_the_decimals_of_a_column_are_one_and_follow_its_median_interval(full_study: Study) -> None:
    for name, column in cells(full_study).groupby("metric"):
        pairs = [text.replace(",", "").split(" ± ") for text in column["shown"] if "±" in text]
        decimals = {len(part.partition(".")[2]) for pair in pairs for part in pair}
        assert len(decimals) <= 1, name
        halves = sorted(float(half) for _, half in pairs)
        if halves and float(halves[len(halves) // 2]) < 10:
            median = halves[(len(halves) - 1) // 2]
            assert len(f"{median:g}".replace(".", "").lstrip("0")) <= 2, name
        for (_, half), exact in zip(pairs, column["half_width"], strict=bool(pairs)):
            assert float(half) == pytest.approx(exact, abs=10.0 ** -max(decimals))


def texts(table: Table, row: int) -> dict[str, str]:
    return {h: entry.text for h, entry in zip(table.headings, table.rows[row], strict=True)}


def test_every_level_of_every_cell_has_a_row_and_says_where_it_is_alive(store: Store) -> None:
    def kl(run: RunConfig) -> dict[str, Any]:
        top = 0.5 if run.train.seed == 0 else 0.001  # alive in one seed of three
        units = {"active_units_per_level": [3, 5]}
        return {"metrics": {"kl_per_level_nats": [3.0, top], **units}}

    table = levels_table(filled(store, design({"depth": (2,), "loss": ("bce", "mse")}), kl))
    assert len(table.rows) == 2 * 2
    row = texts(table, -1)
    assert [row[name] for name in ("loss", "level", "n", "alive")] == ["MSE", "2", "3", "1 of 3"]
    assert row["active units"] == "5.000 ± 0"
    assert "probe accuracy" not in row  # no run has it
    assert levels_table(study_of(store, Design("none", "", ()))).rows == ()


def test_a_cell_has_n_mean_interval_parameters_and_throughput(full_study: Study) -> None:
    tidy = cells(full_study)
    row = tidy[(tidy["metric"] == "elbo_nats") & (tidy["depth"] == 2)].iloc[0]
    assert row["n"] == row["expected"] == row["finished"] == 3
    assert row["lower"] < row["mean"] < row["upper"]
    assert row["parameters"] == 14_874
    clocked = tidy[tidy["metric"].str.contains("@")]
    tasks = {name.split("_images_per_second@")[0] for name in clocked["metric"]}
    assert tasks == {"train_step", "inference"}
    assert not clocked["shown"].str.contains("±").any()  # its runs share one measurement


def test_a_number_under_a_second_name_is_not_shown_twice(store: Store) -> None:
    def same(run: RunConfig) -> dict[str, Any]:
        metrics = record(run).metrics
        return {"metrics": metrics | {"scoreboard_nll_nats": metrics["nll_nats"]}}

    study = filled(store, design({"depth": (1, 2), "data.binarize": ("dynamic",)}), same)
    headings = headline_table(study).headings
    assert "NLL (nats)" in headings
    assert "scoreboard NLL (nats)" not in headings


def test_any_axis_and_the_variants_name_their_cells(store: Store) -> None:
    variants = {"documented": {}, "ELBO": {"objective": "elbo"}}
    table = headline_table(filled(store, design({"train.kl_weight": (0.5, 2.0)}, variants)))
    assert table.headings[:2] == ("KL weight", "variant")
    assert table.places == 2
    places = [[entry.text for entry in row[:2]] for row in table.rows]
    assert places[:3] == [["0.5", "documented"], ["0.5", "ELBO"], ["2", "documented"]]


def test_a_metric_that_some_runs_lack_says_its_own_n(store: Store) -> None:
    asked = design(ONE)

    def lacking(run: RunConfig) -> dict[str, Any]:
        known = record(run).metrics
        return {"metrics": {k: v for k, v in known.items() if run.train.seed or k != "psnr_db"}}

    row = texts(headline_table(filled(store, asked, lacking)), 0)
    assert row["PSNR (dB)"].endswith("(n = 2)")
    assert "(n" not in row["ELBO (nats)"]


def test_raw_elbos_are_ranked_within_a_loss_only_and_the_table_says_why(store: Store) -> None:
    def worse(run: RunConfig) -> dict[str, Any]:  # on every metric BCE is far better
        known = record(run).metrics
        less = 50.0 if run.train.loss == "mse" else 0.0
        return {"metrics": known | {"psnr_db": known["psnr_db"] - less}}

    study = filled(store, design({"loss": ("bce", "mse")}), worse)
    best = cells(study).set_index(["metric", "loss"])["is_best"]
    assert best["elbo_nats"].tolist() == [True, True] == best["nll_nats"].tolist()
    assert best["psnr_db"].to_dict() == {"bce": True, "mse": False}
    assert not best.filter(like="train_step", axis=0).any()
    assert COMMON_NOTE in headline_table(study).notes


def test_two_seeds_are_too_few_for_bold(full_store: Store) -> None:
    assert not cells(study_of(full_store, design(seeds=2)))["is_best"].any()


def test_throughput_of_different_machines_is_never_averaged(store: Store) -> None:
    asked = design(ONE, seeds=2)

    def moved(run: RunConfig) -> dict[str, Any]:
        blocks = [
            m | {"device_name": f"CPU {run.train.seed}"}
            for m in record(run).throughput["measurements"]
        ]
        return {"throughput": {"measurements": blocks}}

    tidy = cells(filled(store, asked, moved))
    rates = tidy[tidy["metric"].str.startswith("train_step")]
    assert rates["n"].tolist() == [1, 1]
    assert rates["heading"].str.contains("CPU 1").sum() == 1


def test_a_study_without_records_still_lists_its_cells(store: Store) -> None:
    assert len(headline_table(study_of(store, design())).rows) == 12
    nothing = study_of(store, Design("none", "", ()))
    assert headline_table(nothing).rows == ()
    assert cells(nothing).empty


def test_an_entry_of_an_axis_sorts_by_its_number(full_study: Study) -> None:
    depth, loss, latent, *_ = headline_table(full_study).rows[-1]
    assert (depth, loss, latent) == (Entry("3", 3.0), Entry("MSE", "MSE"), Entry("20", 20.0))
