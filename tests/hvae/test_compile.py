"""Compiling changes how fast a step and an evaluation are, nothing else; it is never needed."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from bench.rungs import cpp_compiler
from hvae.compiling import Compiled
from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.data import Images
from hvae.evaluation import evaluate
from hvae.stacking import initial
from hvae.training import fit

RUNS = [
    RunConfig(ModelConfig(64, 8, latent, 2), TrainConfig(loss=loss, epochs=2), DataConfig("digits"))
    for loss in ("bce", "mse")
    for latent in (2, 3)
]


def losses(runs: list[RunConfig], images: Images, **options: Any) -> list[float]:
    return [history[-1]["loss"] for history in fit(runs, images, **options).histories]


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Any, **options: Any) -> Any:
        def call(*arguments: Any) -> Any:
            raise RuntimeError("no compiler\nand much more")

        return call

    monkeypatch.setattr(torch, "compile", broken)


@pytest.mark.usefixtures("no_compiler")
def test_where_compiling_fails_the_traced_step_serves(few_digits: Images) -> None:
    expected = losses(RUNS, few_digits)
    with pytest.warns(UserWarning, match="going on without: no compiler$"):
        fitted = fit(RUNS, few_digits, is_compiled=True)
    assert [history[-1]["loss"] for history in fitted.histories] == expected
    assert not fitted.is_compiled


@pytest.mark.usefixtures("no_compiler")
def test_where_compiling_fails_the_plain_sums_serve(few_digits: Images) -> None:
    models = [initial(run) for run in RUNS]
    expected = evaluate(models, few_digits, 20).metrics
    with pytest.warns(UserWarning, match="going on without: no compiler$") as warned:
        assert evaluate(models, few_digits, 20, is_compiled=True).metrics == expected
    assert len(warned) == 1


def test_what_a_compiled_function_raises_later_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)

    def root(x: float) -> float:
        if x < 0:
            raise RuntimeError("out of memory")
        return x**0.5

    compiled = Compiled(root)
    assert compiled(4.0) == 2.0
    with pytest.raises(RuntimeError, match="out of memory"):
        compiled(-1.0)
    assert compiled.is_compiled


@pytest.mark.slow
@pytest.mark.skipif(cpp_compiler() is None, reason="needs a C++ compiler, such as g++")
@pytest.mark.filterwarnings("ignore")  # of Inductor, about itself
def test_a_compiled_pack_trains_as_a_traced_one_does(few_digits: Images) -> None:
    runs = [replace(run, train=replace(run.train, epochs=5)) for run in RUNS]
    traced = losses(runs, few_digits, dtype=torch.float64)
    compiled = losses(runs, few_digits, dtype=torch.float64, is_compiled=True)
    assert compiled == pytest.approx(traced, rel=1e-12)  # float64, sums in another order


@pytest.mark.slow
@pytest.mark.skipif(cpp_compiler() is None, reason="needs a C++ compiler, such as g++")
@pytest.mark.filterwarnings("ignore")  # of Inductor, about itself
def test_a_compiled_evaluation_finds_what_the_plain_one_does(few_digits: Images) -> None:
    models = [initial(run) for run in RUNS]
    plain = evaluate(models, few_digits, 20).metrics
    compiled = evaluate(models, few_digits, 20, is_compiled=True).metrics
    for found, expected in zip(compiled, plain, strict=True):
        for name in ("nll_nats", "elbo_nats", "scoreboard_nll_nats", "loss_documented"):
            assert found[name] == pytest.approx(expected[name], rel=1e-6), name
