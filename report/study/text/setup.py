"""What was trained and how, in one line."""

from collections.abc import Mapping
from typing import Any

from hvae.config import RunConfig
from hvae.settings import axis_names, describe, value
from report.data.frames import Study
from report.render.numbers import counted

SAID = (  # in words of their own
    *("data.name", "data.binarize", "data.path", "train.epochs", "train.batch_size"),
    *("train.learning_rate", "evaluation.importance_samples"),
)
BINARISED = {
    "none": "grey levels",
    "static": "binarised once",
    "dynamic": "binarised anew every epoch",
}
Common = Mapping[str, Any]  # settings that all runs share


def setup(study: Study) -> str:
    """What was trained and how, in one line: what all runs share, and what made them."""
    if not study.design.runs:
        return ""
    run, common = study.design.runs[0], study.common
    seeds = len({run.train.seed for run in study.design.runs})
    parts = [
        *_data(run, common),
        *_schedule(run, common),
        *(describe(name, common[name]) for name in _unusual(common)),
        counted(seeds, "seed"),
        *_judged(common),
        *_machine(study),
    ]
    return "; ".join(parts) + "."


def _data(run: RunConfig, common: Common) -> list[str]:
    said = []
    if "data.name" in common and "data.path" in common:
        data = run.data.dataset
        images = f"{data.training_images:,} images of {data.height} × {data.width} to train on"
        name = describe("data.name", run.data.name)
        said.append(f"{name}, {images}, {data.test_images:,} to test")
    return said + ([BINARISED[run.data.binarize]] if "data.binarize" in common else [])


def _schedule(run: RunConfig, common: Common) -> list[str]:
    said = []
    if "train.epochs" in common:
        said.append(counted(run.train.epochs, "epoch"))
    if "train.batch_size" in common:
        said.append(f"batches of {run.train.batch_size}")
    rate = f" at {run.train.learning_rate:g}" if "train.learning_rate" in common else ""
    return [*said, f"Adam{rate}"]


def _unusual(common: Common) -> list[str]:
    """What all runs share and is neither the default nor said already."""
    usual = {name: value(RunConfig(), name) for name in axis_names()}
    return [n for n, held in common.items() if n not in SAID and held != usual[n]]


def _judged(common: Common) -> list[str]:
    samples = common.get("evaluation.importance_samples")
    return [f"NLL by S = {samples:,} draws"] if samples else []


def _machine(study: Study) -> list[str]:
    made = study.made
    if made.empty:
        return []
    flags = [flag for every in made["flags"].dropna() for flag in every.split(", ")]
    engines = {flag.removeprefix("engine ") for flag in flags if flag.startswith("engine ")}
    names = ", ".join(sorted(set(made["device_name"].dropna()))) if "device_name" in made else ""
    step = f"{' and '.join(sorted(engines))} step on " if engines else ""
    return [f"{step}{names}"] if names else []
