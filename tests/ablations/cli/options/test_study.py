"""Options and files that narrow and widen a study, from the command line to its runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ablations.cli.main import main
from ablations.presets import PRESETS
from hvae.config import from_dict
from hvae.records.store import Record, Store
from hvae.settings import SETTINGS, axis_names, value

WAKE_UP = """
    question = "What wakes the upper levels?"
    seeds = 2
    [axes]
    train.kl_weight = [0.5, 1]
    "data.name" = ["digits", "mnist"]
    [set]
    "train.epochs" = 1
    "evaluation.importance_samples" = 2
    "evaluation.nll_images" = 2
    [[variants]]
    name = "documented"
    [[variants]]
    name = "ELBO"
    set = { "train.objective" = "elbo" }
    [[variants]]
    name = "ELBO, warm-up"
    set = { "train.objective" = "elbo", "train.kl_warmup_epochs" = 10 }
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A study of one's own, in the folder we are in."""
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(WAKE_UP)
    return "mine.toml"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def asked(*arguments: str) -> list[dict[str, Any]]:
    """What each run has for every setting, in the order of the study."""
    result = call("status", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    found = [from_dict(run["config"]) for run in json.loads(result.stdout)["runs"].values()]
    return [{name: value(run, name) for name in SETTINGS} for run in found]


def values(runs: list[dict[str, Any]], name: str) -> list[Any]:
    """The distinct values of a setting, in the order of the runs."""
    return list(dict.fromkeys(run[name] for run in runs))


@pytest.mark.parametrize(
    ("options", "name", "expected"),
    [
        (("--depth", "2", "--depth", "5"), "depth", [2, 5]),
        (("--loss", "mse"), "loss", ["mse"]),
        (("--latent", "7"), "latent", [7]),
        (("--objective", "elbo", "--objective", "documented"), "objective", ["elbo", "documented"]),
        (("--seeds", "3"), "seed", [0, 1, 2]),
        (("--epochs", "4"), "train.epochs", [4]),
        (("--data", "mnist"), "data.name", ["mnist"]),
        (("--importance-samples", "9"), "evaluation.importance_samples", [9]),
        (("--vary", "train.kl_weight=.5, 1"), "train.kl_weight", [0.5, 1.0]),
        (("--vary", "depth=9,8"), "depth", [9, 8]),
        (("--vary", "model.num_layers=3"), "depth", [3]),
        (("--vary", "train.learning_rate=1e-3,1e-2"), "train.learning_rate", [1e-3, 1e-2]),
        (("--set", "train.learning_rate=1e-3"), "train.learning_rate", [1e-3]),
        (("--set", "data.binarize=static"), "data.binarize", ["static"]),
    ],
)
def test_an_option_gives_a_setting_its_values_and_leaves_the_others(
    tmp_path: Path, options: tuple[str, ...], name: str, expected: list[Any]
) -> None:
    there = ("--results", str(tmp_path))
    before, after = asked("quick", *there), asked("quick", *there, *options)
    assert values(after, name) == expected
    for other in set(SETTINGS) - {name, "model.input_dim"}:
        assert values(before, other) == values(after, other)


def test_options_that_need_each_other_are_validated_together() -> None:
    swept = asked("quick", "--vary", "train.importance_samples=1,5", "--set", "objective=iwae")
    assert values(swept, "train.importance_samples") == [1, 5]


def test_an_axis_of_the_study_is_narrowed_by_the_option_of_its_setting(study: str) -> None:
    runs = asked(study, "--data", "digits", "--variant", "ELBO, warm-up", "--variant", "ELBO")
    assert values(runs, "data.name") == ["digits"]
    assert values(runs, "train.kl_warmup_epochs") == [0, 10]
    assert values(runs, "objective") == ["elbo"]
    assert len(runs) == 8


def test_a_study_with_any_axes_and_variants_is_planned(study: str) -> None:
    plan = json.loads(call("plan", study, "--json", "--workers", "2").stdout)
    assert plan["counts"]["missing"] == 24
    assert {pack["label"] for pack in plan["packs"]} == {
        f"{variant}, {data}, 4 runs"
        for variant in ("documented", "ELBO", "ELBO, warm-up")
        for data in ("digits", "MNIST")
    }


def test_a_study_with_any_axes_and_variants_is_run_and_then_known_by_its_name(study: str) -> None:
    """Trained on real digits, in this process."""
    options = ("--data", "digits", "--seeds", "1", "--device", "cpu", "--executor", "serial")
    result = call("run", study, *options, "--no-report", "--no-throughput")
    assert result.exit_code == 0, result.stderr
    assert "mine 6/6: ELBO, warm-up, KL weight 1, digits, seed 0: " in result.stderr
    (told,) = [line for line in result.stderr.splitlines() if "mine 1/6" in line]
    assert " nats (bounds " in told
    found = Store(Path("results/mine"))
    assert {record.status for record in found} == {"finished"}
    Path("mine.toml").unlink()
    again = call("status", "mine", *options[:4])
    assert (again.exit_code, "6 done" in again.stdout) == (0, True)
    assert "ELBO, warm-up, KL weight 0.5, digits, seed 0" in again.stdout
    assert call("plan", "mine").exit_code == 0


def test_advice_names_what_works(study: str, make_record: Callable[..., Record]) -> None:
    told = call("report", study).stderr
    assert told.endswith(
        "no record of these runs under results/mine; "
        "run `hvae run mine.toml`, narrowed alike, first\n"
    )
    store = Store(Path("results/mine"))
    store.open_for_writing()
    store.write(make_record(PRESETS["quick"].cells[0].run))
    told = call("status", "mine").stderr
    assert "of 'mine' only records are in results/mine; allowed: its *.toml file" in told


BAD = {
    "swept": (("--set", "depth=1"), "depth: the study sets what an axis sweeps; allowed: one of"),
    "twice": (("--epochs", "1", "--set", "train.epochs=2"), "train.epochs: it is given twice"),
    "axis twice": (("--depth", "1", "--vary", "depth=2"), "depth: it is given twice"),
    "no value": (
        ("--set", "train.epochs"),
        "--set: 'train.epochs' is not allowed; allowed: FIELD=",
    ),
    "no values": (("--vary", "depth"), "--vary: 'depth' is not allowed; allowed: FIELD=VALUE"),
    "unknown": (("--set", "epochs=3"), "unknown setting 'epochs'; allowed: "),
    "seed": (("--vary", "seed=1,2"), "seed: a study neither sweeps nor sets it; allowed: "),
    "no integer": (
        ("--set", "train.epochs=1.5"),
        "train.epochs: '1.5' is not allowed; allowed: int",
    ),
    "no number": (
        ("--vary", "train.kl_weight=1,x"),
        "train.kl_weight: 'x' is not allowed; allowed: n",
    ),
    "empty": (("--vary", "depth=1,"), "depth: '' is not allowed; allowed: integers"),
    "bad value": (("--vary", "loss=bce,l1"), "loss: 'l1' is not allowed; allowed: bce, mse"),
    "same value": (("--vary", "train.kl_weight=1,1.0"), "train.kl_weight: 1.0 is given twice"),
    "no variants": (
        ("--variant", "ELBO"),
        "variant: 'ELBO' is not known; allowed: none, the study",
    ),
}


@pytest.mark.parametrize(("options", "told"), BAD.values(), ids=BAD)
def test_a_bad_option_is_refused_in_one_line(options: tuple[str, ...], told: str) -> None:
    result = call("plan", "quick", *options)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith(f"hvae: error: {told}")


@pytest.fixture
def nothing_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan without its short trial of this machine."""
    monkeypatch.setattr("ablations.prediction._training_seconds", lambda run: 1.0)


FIXTURE = HealthCheck.function_scoped_fixture
NAMES = st.sampled_from([*axis_names(), "seed", "model.num_layers", "train", "."]) | st.text(
    max_size=8
)
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["1", "2", "0", "1.5", "1e-3", "nan", "-1", "inf", "1e999", "9" * 5000, "bce", "iwae", "mnist"]
)
ASSIGNMENTS = st.builds(
    lambda name, texts: f"{name}={','.join(texts)}", NAMES, st.lists(TEXTS, max_size=3)
)


@pytest.mark.usefixtures("nothing_timed")
@settings(max_examples=60, derandomize=True, suppress_health_check=[FIXTURE])
@given(st.lists(st.tuples(st.sampled_from(["--vary", "--set"]), ASSIGNMENTS | TEXTS), max_size=3))
def test_whatever_is_set_is_planned_or_refused_in_one_line(
    options: list[tuple[str, str]],
) -> None:
    words = [f"{option}={text}" for option, text in options]
    result = CliRunner().invoke(main, ["plan", "quick", "--seeds", "1", *words])
    assert result.exit_code in (0, 2), result.exception
    said = [line for line in result.stderr.splitlines() if not line.startswith("memory: ")]
    assert (result.exit_code == 2) == (len(said) == 1)


def test_a_home_is_found_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("hvae.data.download.fetch", lambda name, folder: folder / name)
    (tmp_path / "s.toml").write_text("[axes]\ndepth = [1]")
    assert f"in {tmp_path}/r/s: " in call("status", "~/s.toml", "--results=~/r").stdout
    fetched = call("data", "fetch", "mnist", "--data-dir=~/d").stdout
    assert fetched == f"{tmp_path}/d/mnist\n"
