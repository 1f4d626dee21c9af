"""What is published: every page is made of its records, and README's numbers are theirs."""

import json
import re
import shlex
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pytest
from click.testing import CliRunner

from ablations.cli.main import main
from ablations.cli.options.study import takes_study
from ablations.grid import design, runs
from hvae.records.standings import survey
from report.data.frames import Study, is_alive, load
from report.data.metrics import ALIVE_NATS
from report.machine.gate_trials import trials_row
from report.reproduction.page import write_reproduction
from report.study.cells import cells, levels_table
from report.study.published import distances
from report.study.text.answer import answer
from report.study.text.cautions import cautions

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "results" / "published"
# | `folder` | `hvae run …` | `commit`, `commit` | runs |
ROW = re.compile(r"^\| `(\w+)` \| `hvae (?:run )?([^`]+)` \| ([^|]+) \| (\d+) \|", re.MULTILINE)
ROWS = {name: rest for name, *rest in ROW.findall((ROOT / "results" / "README.md").read_text())}
STUDIES = {name: rest for name, rest in ROWS.items() if name != "reproduce"}
FEW = 25  # runs: a page of more takes a quarter of a minute


def hvae(command: str, arguments: str, *more: str) -> str:
    words = [command, *shlex.split(arguments), "--results", str(PUBLISHED), *more]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_published_study_is_in_the_list() -> None:
    assert set(ROWS) == {runs.parent.name for runs in PUBLISHED.glob("*/runs")}


@pytest.mark.parametrize("name", ROWS)
def test_the_records_are_of_those_commits(name: str) -> None:
    _, commits, count = ROWS[name]
    records = [json.loads(path.read_text()) for path in (PUBLISHED / name).glob("runs/*.json")]
    made: set[Any] = {(r["code"]["git_commit"][:7], r["code"]["git_dirty"]) for r in records}
    assert made == {(commit, False) for commit in re.findall(r"\w{7}", commits)}
    assert len(records) == int(count)


@pytest.mark.parametrize("name", STUDIES)
def test_the_records_are_those_of_the_command(name: str) -> None:
    arguments, _, count = STUDIES[name]
    document = json.loads(hvae("status", arguments, "--json"))
    assert document["counts"]["done"] + document["counts"]["stale"] == int(count)
    names = {path.stem for path in (PUBLISHED / name).glob("runs/*.json")}
    assert set(document["runs"]) == names


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (int(count) > FEW))
        for name, (*_, count) in STUDIES.items()
    ],
)
def test_the_page_is_made_of_its_records_byte_for_byte(name: str, tmp_path: Path) -> None:
    published = PUBLISHED / name / "report"
    formats = "html,latex,csv,md" + ",png" * any((published / "figures").glob("*.png"))
    hvae("report", STUDIES[name][0], "--format", formats, "--out", str(tmp_path))
    assert_same(published, tmp_path)


def test_the_page_of_the_reproduction_is_made_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PNG and PDF, which stand beside it, are not published."""
    monkeypatch.setattr("report.reproduction.page.image", lambda drawing, kind: b"")
    folder = shutil.copytree(PUBLISHED / "reproduce", tmp_path / "reproduce")
    shutil.rmtree(folder / "report")
    write_reproduction(folder)
    assert_same(PUBLISHED / "reproduce" / "report", folder / "report")


def assert_same(published: Path, made: Path) -> None:
    """Every published file is there, byte for byte."""
    kept = [path.relative_to(published) for path in published.rglob("*") if path.is_file()]
    assert Path("index.html") in kept
    assert [p for p in kept if (made / p).read_bytes() != (published / p).read_bytes()] == []


@click.command()
@takes_study
def study_and_store(*given: Any, **_: Any) -> Any:
    return given


@cache
def loaded(name: str, *more: str) -> Study:
    """What the command of the list asks for, narrowed by more options."""
    words = [*shlex.split(STUDIES[name][0]), *more, "--results", str(PUBLISHED)]
    study, store = study_and_store.main(words, standalone_mode=False)
    return load(design(study), survey(store, runs(study), "of any sources"), store)


def test_readme_says_of_the_levels_what_their_records_say() -> None:
    levels = loaded("levels")
    nlls = cells(levels).query("metric == 'nll_nats'").set_index(["depth", "variant"])["shown"]
    table = levels_table(levels)
    rows = {}
    for row in table.rows:
        texts = dict(zip(table.headings, (entry.text for entry in row), strict=True))
        rows[texts["depth"], texts["level"], texts["variant"]] = texts
    told = ["alive", "KL (nats)", "gain of levels t to T (nats)"]
    for variant in dict.fromkeys(variant for *_, variant in rows):
        third, fourth = (rows[top, top, variant] for top in "34")
        columns = [variant, *(third[name] for name in told), nlls[3, variant]]
        columns += [fourth[told[0]], fourth[told[2]], nlls[4, variant]]
        said(f"| {' | '.join(columns)} |", page="results/README.md")
    said(*answer(levels))
    gain = rows["3", "3", "ELBO"][told[2]].partition(" ")[0]
    said(
        f"Under the ELBO a living third level adds {float(gain):.1f} nats, a fourth under a tenth."
    )
    kept = of(levels.levels[is_alive(levels.levels)], depth=3, level=3, variant="β = 1")
    ((nats, units, adds),) = kept[["kl_nats", "active_units", "gain_nats"]].to_numpy()
    said(f"keeps one unit of level 3, of {nats:.2f} nats; it adds nothing.")
    assert units == 1
    assert adds < 0
    warm = rows["4", "3", "warm-up"]["alive"].replace("of", "seeds of")
    elbo = rows["4", "4", "ELBO"]["alive"]
    said(f"warm-up (level 3, in {warm}) keep them just alive", f"level 4 in {elbo}]")
    means = {place: float(text.partition(" ")[0]) for place, text in nlls.items()}
    (costs,) = {f"{means[depth, 'β = 1'] - means[depth, 'ELBO']:.1f}" for depth in (3, 4)}
    said(f"at β = 1 the closed form costs {costs} nats more from three levels on.")


def test_the_list_of_studies_says_what_the_form_of_the_kl_alone_costs() -> None:
    """With its first variant left out, a study's next one is the reference."""
    of_two = ["--variant", "β = 1", "--variant", "ELBO"]
    (costs,) = [line for line in answer(loaded("levels", *of_two)) if "Against β = 1" in line]
    command = f"hvae report levels {shlex.join(of_two)} --results results/published"
    said(f"`{command} --out form`: {costs}", page="results/README.md")


def test_with_one_level_the_form_of_the_kl_changes_no_bit() -> None:
    runs = loaded("levels").runs.query("depth == 1").set_index(["variant", "seed"])
    for documented, elbo in (("documented", "joint KL"), ("β = 1", "ELBO")):
        for metric in ("nll_nats", "elbo_nats", "rate_nats"):
            assert runs.loc[documented, metric].tolist() == runs.loc[elbo, metric].tolist()
            assert runs.loc[documented, metric].nunique() == 10
    same = "With one level the two forms are the same, and so is what they train, bit for bit."
    said(same, page="results/README.md")


def test_readme_says_of_the_documented_grid_what_its_records_say() -> None:
    """The yardstick that BCE and MSE have in common: a row for each loss and latent size."""
    study = loaded("standard")
    found = cells(study)
    scores = found[found["metric"] == "scoreboard_nll_nats"]
    for (loss, latent), row in scores.groupby(["loss", "latent"], observed=True, sort=False):
        shown = row.sort_values("depth")["shown"]
        said(f"| {loss.upper()} | {latent} | {' | '.join(shown)} |")
    documented = {"depth": 2, "loss": "bce", "latent": 20}
    runs, levels = (of(frame, **documented) for frame in (study.runs, study.levels))
    units = levels.groupby("level")["active_units"].mean()
    said(
        f"the −ELBO is {-runs['elbo_nats'].mean():.1f} nats, and {units[1]:.1f} and {units[2]:.1f} "
        "units are active"
    )
    levels = study.levels.assign(is_dead=study.levels["kl_nats"].astype(float) < ALIVE_NATS)
    assert levels[levels["level"] > 2]["is_dead"].all()
    second = of(levels, level=2, loss="mse").groupby("latent", observed=True)["is_dead"].all()
    assert list(second.index[second]) == [10, 20, 50]
    cell = ["depth", "latent", "loss"]
    means = study.runs.groupby(cell, observed=True)["scoreboard_nll_nats"].mean().unstack("loss")
    costs = (means["mse"] - means["bce"]).sort_values()
    (least, *_, most) = (f"{nats:.0f}" for nats in costs)
    places = [f"(depth {depth}, latent size {latent})" for depth, latent in costs.index]
    said(f"MSE costs from {least} nats {places[0]} to {most} {places[-1]}.")


def of(frame: pd.DataFrame, **settings: Any) -> pd.DataFrame:
    """The rows of these settings."""
    return frame[(frame[list(settings)] == pd.Series(settings)).all(axis=1)]


def test_the_reproduction_is_a_run_of_the_documented_grid_too() -> None:
    (run,) = (PUBLISHED / "reproduce" / "runs").glob("*.json")
    both = [json.loads(path.read_text()) for path in (run, PUBLISHED / "standard/runs" / run.name)]
    assert both[0]["metrics"] == both[1]["metrics"]


def test_the_list_of_studies_says_how_long_the_documented_grid_took() -> None:
    spent = loaded("standard").runs[["train_seconds", "evaluate_seconds"]].sum() / 60
    took = (
        f"took {spent.sum():.0f} minutes of one core, {spent['train_seconds']:.0f} of them training"
    )
    said(took, page="results/README.md")


@pytest.mark.parametrize("name", STUDIES)
def test_the_list_of_studies_answers_as_their_pages_do(name: str) -> None:
    study = loaded(name)
    cautions_of = [f"{caution.kind}: {caution.text}" for caution in cautions(study)]
    said(*answer(study), *cautions_of, page="results/README.md")


def test_the_list_of_studies_says_how_far_published_numbers_are() -> None:
    """By the models of one and of two levels, trained on one sample, after ten epochs."""
    every = distances(loaded("literature"))
    off = {d.published.variant: d for d in every if d.settings["train.epochs"] == 10}
    one, two = off["1 level, VAE"], off["2 levels, VAE"]
    reached = [f"{distance.published.value:.1f}" for distance in (one, two)]
    above = f"{one.difference:.0f} and {two.difference:.0f} nats above them"
    said(
        f"reach {reached[0]} nats with one level and {reached[1]} with two in 3,280 epochs; "
        f"after 10 epochs the study `literature` (three seeds) stands {above}",
        page="results/README.md",
    )


@pytest.mark.parametrize(
    ("machine", "references", "shares"),
    [
        ("amd-epyc", ["documented", "in_memory", "jax"], ["sgemm"]),
        ("nvidia-h100-80gb-hbm3", ["documented", "in_memory"], ["sgemm", "copy_bandwidth"]),
    ],
)
def test_the_tables_of_bench_are_those_of_its_ladders(
    machine: str, references: list[str], shares: list[str]
) -> None:
    for rung in rungs(machine):
        ratios = [rung[f"ratio_to_{name}"]["median"] for name in references]
        row = [
            rung["title"],
            f"{rung['model_steps_per_second']['median']:,.0f}",
            *(f"{ratio:.1f}" if ratio < 100 else f"{ratio:.0f}" for ratio in ratios),
            *(f"{100 * rung[f'fraction_of_{name}']:.2g}%" for name in shares),
        ]
        said(f"| {' | '.join(row)} |", page="bench/README.md")


@pytest.mark.parametrize(
    "file", sorted((PUBLISHED / "bench" / "gate").glob("*.json")), ids=lambda f: f.stem
)
def test_bench_says_of_the_gate_what_its_trials_say(file: Path) -> None:
    known = json.loads(file.read_text())
    bound = trials_row(known)[-2].text.split(" (")[0]
    count, inconclusive = known["repeats"], known["inconclusive"]
    if known["planted_percent"]:
        found = f"{known['caught']} of {count} caught | at least {bound.removeprefix('≥ ')} |"
    else:
        alarms = f"{known['false_alarms']} false alarms of {count}, {inconclusive} inconclusive"
        found = f"{alarms} | at most {bound.removeprefix('≤ ')} |"
    said(found, page="bench/README.md")


def test_bench_says_what_the_ladder_of_the_other_processor_ends_at() -> None:
    last = rungs("intel-r-xeon-r-processor")[-1]
    rate, ratio = last["model_steps_per_second"], last["ratio_to_documented"]
    said(
        f"did {rate['median']:,.0f} model-steps per second, {ratio['median']:.1f} × documented",
        page="bench/README.md",
    )


def rungs(machine: str) -> list[dict[str, Any]]:
    """Of the published ladder of a machine."""
    found: list[dict[str, Any]] = json.loads(
        (PUBLISHED / "bench" / f"ladder-{machine}.json").read_text()
    )["rungs"]
    return found


def said(*sentences: str, page: str = "README.md") -> None:
    """The page holds them, wherever its lines break."""
    text = " ".join((ROOT / page).read_text().replace("\n> ", "\n").split())
    for sentence in sentences:
        assert " ".join(sentence.split()) in text
