"""One tidy frame of cells, the same in every format."""

import csv
import html
import io
import re
from collections.abc import Callable

import pandas as pd
import pytest

from hvae.config import RunConfig, digest
from hvae.records.store import Record, Store
from report.data.frames import STATUSES, load
from report.data.metrics import COMMON_NOTE
from report.machine.benches import Benches
from report.render.tables import to_html, to_latex, to_markdown
from report.study.cells import cells, levels_table
from report.study.gallery import Gallery
from report.study.page import headline_table, render
from report.study.writer import write_report

Grid = Callable[..., list[RunConfig]]
Make = Callable[..., Record]


def html_rows(text: str) -> list[list[str]]:
    text = text[text.index('<table id="cells">') :].split("</table>")[0]
    rows = re.findall(r"<tr>(<td.*?)</tr>", text)
    plain = [[re.sub("<.*?>", "", e) for e in re.findall(r"<td.*?</td>", row)] for row in rows]
    return [[html.unescape(entry) for entry in row] for row in plain]


def markdown_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[e.strip().strip("*") for e in line.strip("|").split("|")] for line in lines]


def latex_rows(text: str) -> list[list[str]]:
    body = text.split(r"\bottomrule \endfoot")[1].split(r"\end{longtable}")[0]
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


def test_all_four_formats_show_the_same_number_for_the_same_cell(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid()
    for config in configs[3:]:  # the first cell is missing
        store.write(make_record(config))
    broken = make_record(configs[5]).metrics | {"psnr_db": None}
    store.path(digest(configs[5])).unlink()
    store.write(make_record(configs[5], metrics=broken))
    store.path(digest(configs[7])).unlink()
    store.write_failure(configs[7], RuntimeError("x"))
    store.path(digest(configs[11])).unlink()
    store.write(make_record(configs[11], status="diverged", metrics={"elbo_nats": None}))
    formats = ("latex", "md", "csv")
    tex, md, table, _ = write_report("T", "Q", configs, store, store.folder, formats)
    rows = html_rows(render("T", "Q", load(store, configs), [], Benches(), Gallery()))
    assert len(rows) == 12
    assert {len(row) for row in rows} == {12}  # three axes, n, parameters, seven metrics
    assert markdown_rows(md.read_text()) == rows
    assert latex_rows(tex.read_text()) == rows
    assert csv_rows(table.read_text(), 7) == rows
    shown = [entry for row in rows for entry in row]
    for expected in ("–", "0 of 3 (3 missing)", "2 of 3 (1 failed)", "2 of 3 (1 diverged)"):
        assert expected in shown
    assert any(entry.endswith("(n = 2)") for entry in shown)
    assert sum(re.fullmatch(r"−\d+\.\d+ ± \d+\.\d+", entry) is not None for entry in shown) == 11


def test_the_digits_of_a_number_follow_its_interval(full_store: Store, make_grid: Grid) -> None:
    for row in cells(load(full_store, make_grid())).itertuples():
        if "±" not in row.shown:
            continue
        mean, half_width = (text.replace(",", "") for text in row.shown.split(" ± "))
        assert len(half_width.replace(".", "").lstrip("0")) == 2
        assert len(mean.partition(".")[2]) == len(half_width.partition(".")[2])
        assert float(half_width) == pytest.approx(row.half_width, rel=0.05)


def test_every_level_of_every_cell_has_a_row(full_store: Store, make_grid: Grid) -> None:
    table = levels_table(load(full_store, make_grid()))
    assert len(table.rows) == (1 + 2 + 3) * 2 * 2
    place = [entry.text for entry in table.rows[-1][:5]]
    assert place == ["3", "MSE", "20", "3", "3"]  # depth, loss, latent, level, n
    assert table.headings[:5] == ("depth", "loss", "latent", "level", "n")
    assert table.rows[-1][7].text == "5.000 ± 0"  # 20 / 2² active units on every seed
    assert levels_table(load(full_store, [])).rows == ()


def test_a_cell_has_n_mean_interval_parameters_and_throughput(
    full_store: Store, make_grid: Grid
) -> None:
    tidy = cells(load(full_store, make_grid()))
    row = tidy[(tidy["metric"] == "elbo_nats") & (tidy["depth"] == 2)].iloc[0]
    assert row["n"] == row["expected"] == row["finished"] == 3
    assert row["lower"] < row["mean"] < row["upper"]
    assert row["parameters"] == 14_874
    clocked = tidy[tidy["metric"].str.contains("@")]
    assert {m.split("@")[0] for m in clocked["metric"]} == {"train_step", "inference"}
    assert not clocked["shown"].str.contains("±").any()  # its runs share one measurement


def test_missing_failed_and_diverged_runs_are_shown_as_such(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1, 2), ("bce",), (20,), 3)
    store.write(make_record(configs[0]))
    store.write(make_record(configs[1], status="diverged", metrics={"elbo_nats": None}))
    store.write_failure(configs[2], RuntimeError("x"))
    rows = html_rows(to_html(headline_table(load(store, configs))))
    assert rows[0][3] == "1 of 3 (1 diverged, 1 failed)"
    assert rows[1][3:6] == ["0 of 3 (3 missing)", "29,364", "–"]


def test_a_metric_that_some_runs_lack_says_its_own_n(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    first, *others = configs = make_grid((1,), ("bce",), (20,), 3)
    lacking = {k: v for k, v in make_record(first).metrics.items() if k != "psnr_db"}
    store.write(make_record(first, metrics=lacking))
    for config in others:
        store.write(make_record(config))
    table = headline_table(load(store, configs))
    (row,) = html_rows(to_html(table))
    assert row[table.headings.index("PSNR (dB)")].endswith("(n = 2)")
    assert "(n" not in row[table.headings.index("ELBO (nats)")]


def test_raw_elbos_are_ranked_within_a_loss_only_and_the_table_says_why(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    configs = make_grid((1,), ("bce", "mse"), (20,), 3)
    for config in configs:  # on every metric BCE is far better
        made = make_record(config)
        worse = 50.0 if config.train.loss == "mse" else 0.0
        changed = {**made.metrics, "psnr_db": made.metrics["psnr_db"] - worse}
        store.write(make_record(config, metrics=changed))
    study = load(store, configs)
    best = cells(study).set_index(["metric", "loss"])["is_best"]
    assert best["elbo_nats"].tolist() == [True, True] == best["nll_nats"].tolist()
    assert best["psnr_db"].to_dict() == {"bce": True, "mse": False}
    assert not best.filter(like="train_step", axis=0).any()
    for written in (to_html, to_markdown, to_latex):
        assert "never ranked across losses" in (
            written(headline_table(study)) if written is not to_html else COMMON_NOTE
        )
    assert COMMON_NOTE in headline_table(study).notes


def test_two_seeds_are_too_few_for_bold(full_store: Store, make_grid: Grid) -> None:
    assert not cells(load(full_store, make_grid(seeds=2)))["is_best"].any()


def test_throughput_of_different_machines_is_never_averaged(
    store: Store, make_grid: Grid, make_record: Make
) -> None:
    first, second = configs = make_grid((1,), ("bce",), (20,), 2)
    store.write(make_record(first))
    other = make_record(second)
    for measurement in other.throughput["measurements"]:
        measurement["device_name"] = "Other CPU"
    store.write(other)
    tidy = cells(load(store, configs))
    rates = tidy[tidy["metric"].str.startswith("train_step")]
    assert rates["n"].tolist() == [1, 1]
    assert rates["heading"].str.contains("Other CPU").sum() == 1


def test_a_study_without_records_still_lists_its_cells(store: Store, make_grid: Grid) -> None:
    table = headline_table(load(store, make_grid()))
    assert len(table.rows) == 12
    assert headline_table(load(store, [])).rows == ()
    assert isinstance(cells(load(store, [])), pd.DataFrame)
