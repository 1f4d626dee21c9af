"""One tidy frame of cells, the same in every format."""

import csv
import io
import re
from collections.abc import Callable

import pandas as pd

from hvae.config import RunConfig
from hvae.records import Record, Store
from report.formats import Table, to_html, to_latex, to_markdown
from report.load import load
from report.metrics import COMMON_NOTE
from report.page import headline_table
from report.tables import cells

Grid = Callable[..., list[RunConfig]]
Make = Callable[..., Record]


def html_rows(table: Table) -> list[list[str]]:
    rows = re.findall(r"<tr>(<td.*?)</tr>", to_html(table))
    return [[re.sub("<.*?>", "", e) for e in re.findall(r"<td.*?</td>", row)] for row in rows]


def markdown_rows(table: Table) -> list[list[str]]:
    lines = [line for line in to_markdown(table).splitlines() if line.startswith("|")][2:]
    return [[e.strip().strip("*") for e in line.strip("|").split("|")] for line in lines]


def latex_rows(table: Table) -> list[list[str]]:
    body = to_latex(table).split(r"\bottomrule \endfoot")[1].split(r"\end{longtable}")[0]
    plain = re.sub(r"\\textbf\{\\boldmath (.*?)\}", r"\1", body)
    plain = plain.replace("$-$", "−").replace(r"$\pm$", "±")
    return [[e.strip() for e in line[:-2].split(" & ")] for line in plain.strip().splitlines()]


def test_all_four_formats_show_the_same_number_for_the_same_cell(
    full_store: Store, make_grid: Grid
) -> None:
    study = load(full_store, make_grid())
    table, tidy = headline_table(study), cells(study)
    assert html_rows(table) == markdown_rows(table) == latex_rows(table)
    shown = list(csv.DictReader(io.StringIO(tidy.to_csv(index=False))))
    width = tidy["metric"].nunique()
    for i, row in enumerate(html_rows(table)):
        assert row[5:] == [entry["shown"] for entry in shown[i * width : (i + 1) * width]]
    assert re.fullmatch(r"−\d+\.\d+ ± \d+\.\d+", html_rows(table)[0][5])


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
    rows = html_rows(headline_table(load(store, configs)))
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
    (row,) = html_rows(table)
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
