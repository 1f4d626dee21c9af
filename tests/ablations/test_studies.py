import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablations import studies
from ablations.grid import runs
from ablations.studies import PRESETS, Study, load, narrow
from hvae.closed_form import parameter_count
from hvae.config import DATASETS, DataConfig, ModelConfig, RunConfig

AXES = "[axes]\ndepths = [1]\n"


def write(path: Path, text: str) -> str:
    path.write_text(textwrap.dedent(text))
    return str(path)


@pytest.mark.parametrize(("name", "count"), [("quick", 32), ("standard", 200), ("objective", 40)])
def test_a_preset_has_the_documented_number_of_runs(name: str, count: int) -> None:
    assert len(runs(load(name))) == count
    assert load(name).name == name
    assert load(name).question
    assert load(name).budget


def test_the_standard_study_holds_the_documented_run() -> None:
    assert RunConfig() in runs(load("standard"))
    assert parameter_count(RunConfig().model) == 174_084


def test_the_objective_study_compares_objectives_on_binarized_digits() -> None:
    study = load("objective")
    assert study.objectives == ("documented", "elbo")
    assert study.base.data == DataConfig("mnist", "dynamic")


def test_the_example_of_the_docstring_loads(tmp_path: Path) -> None:
    assert studies.__doc__ is not None
    lines = studies.__doc__.splitlines()
    example = "\n".join(line for line in lines if line.startswith("    "))
    study = load(write(tmp_path / "mine.toml", example))
    assert (study.name, study.seeds) == ("narrow-latents", 3)
    assert (study.depths, study.losses, study.latents) == ((1, 2), ("bce",), (1, 2, 4))
    assert study.objectives == ("documented",)
    assert study.base.model == ModelConfig(input_dim=64, hidden_dim=50)
    assert study.base.train.epochs == 5
    assert study.base.data.name == "digits"
    assert study.base.evaluation.importance_samples == 100
    assert len(runs(study)) == 18


def test_what_a_file_leaves_out_is_the_documented_setting(tmp_path: Path) -> None:
    study = load(write(tmp_path / "mine.toml", ""))
    assert study.name == "mine"
    assert runs(study) == [RunConfig()]


def test_an_axis_left_out_is_the_value_of_the_base(tmp_path: Path) -> None:
    text = '[base.model]\nnum_layers = 3\n[base.train]\nobjective = "elbo"\n'
    (run,) = runs(load(write(tmp_path / "mine.toml", text)))
    assert (run.model.num_layers, run.train.objective) == (3, "elbo")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sedes = 3", "unknown key 'sedes'; allowed: axes, base, budget, name, question, seeds"),
        ("[axes]\ndepth = [1]", "unknown axis 'depth'; allowed: depths, latents"),
        ("[base.train]\nepoch = 3", "unknown key of train 'epoch'"),
        ("[base.modle]\nhidden_dim = 3", "unknown section 'modle'"),
        ("[axes]\ndepths = []", r"depths: \[\] is not allowed; allowed: a list of values"),
        ("[axes]\ndepths = 2", "depths: 2 is not allowed; allowed: a list of values"),
        ("[axes]\ndepths = [0]", "depths: 0 is not allowed; allowed: integers ≥ 1"),
        ("[axes]\ndepths = [true]", "depths: True is not allowed; allowed: integers ≥ 1"),
        ("[axes]\nlatents = [2, -1]", "latents: -1 is not allowed; allowed: integers ≥ 1"),
        ("[axes]\nlatents = [2, 5, 2]", "latents: 2 is given twice; allowed: distinct values"),
        ('[axes]\nlosses = ["l1"]', "losses: 'l1' is not allowed; allowed: bce, mse"),
        ("[axes]\nlosses = [[1]]", r"losses: \[1\] is not allowed; allowed: bce, mse"),
        ('[axes]\nobjectives = ["vae"]', "objectives: 'vae' is not allowed; allowed: documented"),
        ("seeds = 0", "seeds: 0 is not allowed; allowed: integers ≥ 1"),
        ('seeds = "3"', "seeds: '3' is not allowed; allowed: integers ≥ 1"),
        ("axes = 3", "axes: 3 is not allowed; allowed: a table"),
        ("question = 3", "question: 3 is not allowed; allowed: text in quotes"),
        ('name = "a/b"', "name: 'a/b' is not allowed; allowed: letters, digits, '-' and '_'"),
        ('name = "quick"', "name: 'quick' is a preset's; allowed: any other"),
        ("[base.train]\nseed = 3", "base.train.seed: a study counts its own"),
        (f"{AXES}[base.model]\nnum_layers = 2", "base.model.num_layers: axes.depths sweeps it"),
        ("[base.model]\ninput_dim = 64", "input_dim: 64 does not fit data 'mnist'"),
        ('[base.data]\nname = "cifar"', "name: 'cifar' is not allowed; allowed: digits, mnist"),
        ("depths = [", "Invalid|Unclosed"),
        ("name = 'x", "mine.toml: "),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        load(write(tmp_path / "mine.toml", text))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "mine.toml"))


def test_an_unknown_study_is_told_the_known_ones() -> None:
    told = r"study: 'qick' is not known; allowed: objective, quick, standard, a \*.toml file"
    with pytest.raises(ValueError, match=told):
        load("qick")


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"study: cannot read no\.toml: No such file"):
        load("no.toml")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"depths": ()}, "depths: the axis is empty; allowed: one value or more"),
        ({"depths": (1, 1)}, "depths: 1 is given twice"),
        ({"depths": (0,)}, "depths: 0 is not allowed"),
        ({"latents": (-1,)}, "latents: -1 is not allowed"),
        ({"losses": ("l1",)}, "losses: 'l1' is not allowed"),
        ({"seeds": 0}, "seeds: 0 is not allowed"),
    ],
)
def test_a_study_names_the_axis_and_the_value(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(load("quick"), **change)


def test_objectives_default_to_that_of_the_base() -> None:
    base = replace(RunConfig(), train=replace(RunConfig().train, objective="elbo"))
    study = Study("mine", "", base, depths=(1,), losses=("bce",), latents=(2,))
    assert study.objectives == ("elbo",)


@pytest.mark.parametrize("study", PRESETS.values(), ids=PRESETS)
def test_narrowing_by_nothing_changes_nothing(study: Study) -> None:
    assert narrow(study) == study


def test_narrowing_replaces_axes_and_keeps_the_name() -> None:
    study = narrow(load("quick"), depths=(5,), losses=("mse",), latents=(3, 4), seeds=1)
    assert study.name == "quick"
    assert [(r.model.num_layers, r.train.loss, r.model.latent_dim) for r in runs(study)] == [
        (5, "mse", 3),
        (5, "mse", 4),
    ]


def test_narrowing_epochs_and_samples_changes_the_base_alone() -> None:
    study = narrow(load("quick"), epochs=1, importance_samples=7)
    assert study.base.train == replace(load("quick").base.train, epochs=1)
    assert study.base.evaluation.importance_samples == 7
    assert study.base.train.importance_samples == 1


@pytest.mark.parametrize("name", DATASETS)
def test_narrowing_the_data_brings_its_pixels(name: str) -> None:
    base = narrow(load("objective"), data=name).base
    assert base.data == DataConfig(name, "dynamic")
    assert base.model.input_dim == DATASETS[name].pixels


def test_a_narrowed_study_is_part_of_the_whole() -> None:
    whole = set(runs(load("standard")))
    assert set(runs(narrow(load("standard"), depths=(2,), losses=("bce",), seeds=1))) < whole
