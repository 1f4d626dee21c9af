"""Planted regressions: each is caught at once by a count or by a number that needs no clock."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from repositories import clone, git

from bench.gate.gate import time_adaptively
from bench.gate.planted import plant, rows_for
from bench.gate.revisions import laid_out
from bench.gate.storage import series_of
from bench.gate.tiers import FAIL, Tier, compare_counts, compare_numerics, compare_times

pytestmark = pytest.mark.usefixtures("counted_apart")
ROOT = Path(__file__).parents[3]
STEP = "        self.optimizer.step(list(gradients.values()))\n"

# File of hvae, what stands there, what is planted in its place, the metric that must tell.
PLANTS = {
    "an extra operator": (
        "training/traced.py",
        STEP,
        f"        terms = terms * 1.0\n{STEP}",
        "operators",
    ),
    "an extra parameter": (
        "model/networks.py",
        "        self.linear_logvar = nn.Linear(hidden_dim, latent_dim)\n",
        "        self.linear_logvar = nn.Linear(hidden_dim, latent_dim)\n"
        "        self.linear_spare = nn.Linear(1, 1)\n",
        "parameters",
    ),
    "a retained tensor": (
        "training/traced.py",
        STEP,
        f"        self.last_terms = terms\n{STEP}",
        "retained_bytes",
    ),
    "an item": (
        "training/traced.py",
        STEP,
        f"        self.loss = terms[0, 0].item()\n{STEP}",
        "host_syncs",
    ),
}


@pytest.fixture(scope="module")
def base() -> dict[str, int]:
    return counted(ROOT)


@pytest.fixture
def head() -> Iterator[Path]:
    """A side as the gate lays it out, to plant in."""
    with laid_out(ROOT, None) as layout:
        yield layout.sides.head


@contextmanager
def sources_of(side: Path) -> Iterator[None]:
    """A side's `hvae` and `bench` in place of this process's: another process would import torch
    once more."""
    ours = replaced_modules()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(side)
        try:
            assert Path(import_module("hvae").__file__).is_relative_to(side)
            yield
        finally:
            replaced_modules()
            sys.modules.update(ours)


def replaced_modules() -> dict[str, ModuleType]:
    """The modules that a side replaces, no longer known to this process."""
    names = [name for name in sys.modules if name.partition(".")[0] in ("hvae", "bench")]
    return {name: sys.modules.pop(name) for name in names}


def counted(side: Path) -> dict[str, int]:
    """What a side counts of a training step, which for once is not traced: that takes seconds."""
    with sources_of(side), pytest.MonkeyPatch.context() as patch:
        traced = import_module("hvae.training.traced")
        patch.setattr(traced, "make_fx", lambda step: lambda *arguments: step)
        return import_module("bench.gate.side.counts").count("train_step", "cpu")


def followed(side: Path) -> dict:
    """The numbers of a side's shortest training: one epoch of one batch."""
    with sources_of(side), pytest.MonkeyPatch.context() as patch:
        numerics = import_module("bench.gate.side.numerics")
        patch.setattr(numerics, "EPOCHS", 1)
        images = numerics._images("none")
        few = replace(images, train=images.train[:64])
        trained = numerics.fit([numerics._run(1, 2)], few, **numerics.TRACED)
        return numerics._of_training(trained)


def edit(side: Path, name: str, before: str, after: str) -> None:
    file = side / "hvae" / name
    source = file.read_text()
    assert source.count(before) == 1, f"{name} no longer has the line to plant at: {before}"
    file.write_text(source.replace(before, after))


@pytest.mark.parametrize("planted", PLANTS)
def test_one_more_of_anything_is_caught_by_its_count(
    planted: str, base: dict[str, int], head: Path
) -> None:
    name, before, after, metric = PLANTS[planted]
    edit(head, name, before, after)
    found = compare_counts({"train_step": base}, {"train_step": counted(head)}, [])
    assert found.status == FAIL
    assert any(f.text.startswith(f"train_step.{metric}") for f in failures(found))


@pytest.fixture(scope="module")
def numbers() -> dict:
    return followed(ROOT)


@pytest.mark.parametrize(
    "constant", ["+ 2.0 * weighted_kl", "+ 2.0 * kl"], ids=["of the engine", "of get_loss"]
)
def test_a_changed_constant_in_the_loss_is_caught_by_the_numbers(
    constant: str, numbers: dict, head: Path
) -> None:
    edit(head, "model/objectives.py", constant, constant.replace("2.0", "2.000001"))
    found = compare_numerics({"documented": numbers}, {"documented": followed(head)}, [])
    assert found.status == FAIL
    assert "largest relative difference" in failures(found)[0].text


def failures(tier: Tier) -> list:
    return [finding for finding in tier.findings if finding.status == FAIL]


@pytest.mark.slow
@pytest.mark.parametrize("percent", [5.0, 10.0])
def test_a_slower_step_is_caught_by_the_clock_alone(percent: float) -> None:
    """One trial; `hvae gate --planted 5 --repeat 20` makes as many as the claim needs."""
    rows = rows_for(ROOT, percent, "cpu", lambda what: None)
    with laid_out(ROOT, None) as layout:
        plant(layout.sides.head, rows)
        pairs = time_adaptively(layout.sides, "cpu", lambda what: None)
    assert compare_times(series_of(pairs), []).status == FAIL


@pytest.mark.slow
def test_the_command_catches_an_extra_operator(tmp_path: Path) -> None:
    """From the command line, over a clone of this checkout as it stands."""
    checkout = tmp_path / "clone"
    clone(str(ROOT), checkout)
    for name in ("hvae", "bench", "report", "ablations"):
        shutil.copytree(ROOT / name, checkout / name, dirs_exist_ok=True)
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--allow-empty", "--message=as it is")
    edit(checkout, *PLANTS["an extra operator"][:3])
    command = [sys.executable, "-c", "from ablations.cli.main import main; main()", "gate"]
    command += ["--base", "HEAD", "--results", str(tmp_path / "results")]
    given = {"cwd": checkout, "env": os.environ | {"PYTHONPATH": str(checkout)}}
    done = subprocess.run(command, **given, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "FAIL train_step.operators.aten.mul.Tensor" in done.stdout
