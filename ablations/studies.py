"""Studies: what is asked, and the grid of runs that answers it. Presets as data, others from TOML.

A study of one's own is a TOML file; every key may be left out but `axes` and what differs from
the documented setting. `axes` is swept, `base` is common to all runs, `seeds` counts from 0:

    name = "narrow-latents"
    question = "How few latent dimensions does a two-level model need?"
    budget = "seconds on two CPU cores"
    seeds = 3

    [axes]
    depths = [1, 2]
    losses = ["bce"]
    latents = [1, 2, 4]

    [base.model]
    hidden_dim = 50

    [base.train]
    epochs = 5

    [base.data]
    name = "digits"

    [base.evaluation]
    importance_samples = 100

Left out, `name` is the file's, `objectives` (an axis) is `base.train.objective`, `input_dim` is
that of the data, and an axis is the one value of `base`.
"""

import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hvae.config import (
    DATASETS,
    LOSSES,
    OBJECTIVES,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    from_dict,
)
from hvae.validation import require_choice, require_integer, require_known

KEYS = ("name", "question", "budget", "seeds", "axes", "base")
SWEPT = {  # axis -> the section and key of the base that it sweeps
    "depths": ("model", "num_layers"),
    "latents": ("model", "latent_dim"),
    "losses": ("train", "loss"),
    "objectives": ("train", "objective"),
}


@dataclass(frozen=True)
class Study:
    """A question and its grid: the product of the axes, each cell with seeds 0 … `seeds` - 1.

    Raises `ValueError` naming the axis and the value that is not allowed in it.
    """

    name: str
    question: str
    base: RunConfig
    depths: tuple[int, ...]
    losses: tuple[str, ...]
    latents: tuple[int, ...]
    objectives: tuple[str, ...] = ()
    seeds: int = 1
    budget: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.name):  # it names a folder
            raise ValueError(
                f"name: {self.name!r} is not allowed; allowed: letters, digits, '-' and '_'"
            )
        if not self.objectives:
            object.__setattr__(self, "objectives", (self.base.train.objective,))
        _require_axis("depths", self.depths, _positive)
        _require_axis("losses", self.losses, _one_of(LOSSES))
        _require_axis("latents", self.latents, _positive)
        _require_axis("objectives", self.objectives, _one_of(OBJECTIVES))
        require_integer("seeds", self.seeds, minimum=1)


def _positive(axis: str, value: Any) -> None:
    require_integer(axis, value, minimum=1)


def _one_of(allowed: tuple[str, ...]) -> Callable[[str, Any], None]:
    return lambda axis, value: require_choice(axis, value, allowed)


def _require_axis(name: str, values: Iterable[Any], check: Callable[[str, Any], None]) -> None:
    seen: list[Any] = []
    for value in values:
        check(name, value)
        if value in seen:
            raise ValueError(f"{name}: {value!r} is given twice; allowed: distinct values")
        seen.append(value)
    if not seen:
        raise ValueError(f"{name}: the axis is empty; allowed: one value or more")


_QUICK = Study(
    name="quick",
    question="What do depth, loss and latent size do, at first sight?",
    base=RunConfig(
        model=ModelConfig(input_dim=DATASETS["digits"].pixels),
        # 1,380 steps on 1,437 images: three times the documented rate learns as much as 100 epochs.
        train=TrainConfig(epochs=60, learning_rate=3e-3),
        data=DataConfig(name="digits"),
        evaluation=EvaluationConfig(importance_samples=200),
    ),
    depths=(1, 2, 3, 4),
    losses=("bce", "mse"),
    latents=(2, 20),
    seeds=2,
    budget="about a minute on two CPU cores",
)
_STANDARD = Study(
    name="standard",
    question="What do depth, reconstruction loss and latent size do to the documented model?",
    base=RunConfig(),
    depths=(1, 2, 3, 4),
    losses=("bce", "mse"),
    latents=(2, 5, 10, 20, 50),
    seeds=5,
    budget="about two hours on two CPU cores",
)
_OBJECTIVE = Study(
    name="objective",
    question="What does the documented objective cost against the ELBO?",
    base=RunConfig(data=DataConfig(binarize="dynamic")),
    depths=(1, 2, 3, 4),
    losses=("bce",),
    latents=(20,),
    objectives=("documented", "elbo"),
    seeds=5,
    budget="about half an hour on two CPU cores",
)
PRESETS = {study.name: study for study in (_QUICK, _STANDARD, _OBJECTIVE)}


def load(name_or_path: str) -> Study:
    """The preset of that name, or the study in that `*.toml` file.

    Raises `ValueError` on an unknown name, an unreadable file, an unknown key or a bad value.
    """
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    if not name_or_path.endswith(".toml"):
        known = ", ".join(sorted(PRESETS))
        raise ValueError(f"study: {name_or_path!r} is not known; allowed: {known}, a *.toml file")
    path = Path(name_or_path)
    try:
        return _from_toml(tomllib.loads(path.read_text(encoding="utf-8")), path.stem)
    except OSError as error:
        raise ValueError(f"study: cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # TOML's own complaints too
        raise ValueError(f"{path}: {error}") from error


def narrow(
    study: Study,
    *,
    depths: tuple[int, ...] = (),
    losses: tuple[str, ...] = (),
    latents: tuple[int, ...] = (),
    seeds: int | None = None,
    epochs: int | None = None,
    data: str | None = None,
    importance_samples: int | None = None,
) -> Study:
    """The study with what is given put in place of its own; it keeps its name and its records.

    `data` brings its own `input_dim`; `importance_samples` are those of the evaluation.
    """
    base = study.base
    train = base.train if epochs is None else replace(base.train, epochs=epochs)
    evaluation = base.evaluation
    if importance_samples is not None:
        evaluation = EvaluationConfig(importance_samples)
    source, model = base.data, base.model
    if data is not None:
        source = replace(base.data, name=data)
        model = replace(base.model, input_dim=DATASETS[data].pixels)
    return replace(
        study,
        base=RunConfig(model, train, source, evaluation),
        depths=depths or study.depths,
        losses=losses or study.losses,
        latents=latents or study.latents,
        seeds=study.seeds if seeds is None else seeds,
    )


def _from_toml(values: dict[str, Any], stem: str) -> Study:
    require_known("key", values, KEYS)
    axes = _table("axes", values)
    base = _table("base", values)
    require_known("axis", axes, SWEPT)
    _forbid_twice(axes, base)
    config = _base(base)
    name = _text("name", values, stem)
    if name in PRESETS:
        raise ValueError(f"name: {name!r} is a preset's; allowed: any other")
    return Study(
        name=name,
        question=_text("question", values, ""),
        base=config,
        depths=_axis("depths", axes, config),
        losses=_axis("losses", axes, config),
        latents=_axis("latents", axes, config),
        objectives=_axis("objectives", axes, config),
        seeds=values.get("seeds", 1),
        budget=_text("budget", values, "not stated"),
    )


def _base(values: dict[str, Any]) -> RunConfig:
    """The common settings; the data's own `input_dim` unless one is given."""
    data, model = _table("data", values), _table("model", values)
    name = str(data.get("name", DataConfig().name))
    pixels = DATASETS.get(name, DATASETS["mnist"]).pixels
    if "seed" in _table("train", values):
        raise ValueError("base.train.seed: a study counts its own; allowed: seeds = N")
    return from_dict({**values, "model": {"input_dim": pixels, **model}})


def _forbid_twice(axes: dict[str, Any], base: dict[str, Any]) -> None:
    for axis, (section, key) in SWEPT.items():
        if axis in axes and key in _table(section, base):
            raise ValueError(
                f"base.{section}.{key}: axes.{axis} sweeps it already; allowed: one of the two"
            )


def _axis(name: str, axes: dict[str, Any], base: RunConfig) -> tuple[Any, ...]:
    section, key = SWEPT[name]
    values = axes.get(name, [getattr(getattr(base, section), key)])
    if not isinstance(values, list) or not values:
        raise ValueError(f"{name}: {values!r} is not allowed; allowed: a list of values, not empty")
    return tuple(values)


def _table(name: str, values: dict[str, Any]) -> dict[str, Any]:
    table = values.get(name, {})
    if not isinstance(table, dict):
        raise ValueError(f"{name}: {table!r} is not allowed; allowed: a table [{name}]")
    return table


def _text(name: str, values: dict[str, Any], default: str) -> str:
    text = values.get(name, default)
    if not isinstance(text, str):
        raise ValueError(f"{name}: {text!r} is not allowed; allowed: text in quotes")
    return text
