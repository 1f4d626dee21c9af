"""What the workloads use of `hvae`, where and as this side's revision has it: a base may be of the
time when `hvae` was one flat folder, or when a flag `is_compiled` chose the engine."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

import hvae
from hvae.config import RunConfig


def require_elsewhere(error: ModuleNotFoundError) -> None:
    """Raise the error again unless what is missing is a module of hvae, which stood elsewhere."""
    if not str(error.name).startswith("hvae."):
        raise error


try:
    from hvae.closed_form import parameter_count
except ModuleNotFoundError as error:
    require_elsewhere(error)
    from hvae.config import parameter_count  # type: ignore

try:
    from hvae.model.hierarchy import HierarchicalVAE, initial
    from hvae.model.objectives import documented_loss
except ModuleNotFoundError as error:  # `hvae.model` was one module
    require_elsewhere(error)
    from hvae.objectives import documented_loss  # type: ignore

    from hvae.model import HierarchicalVAE  # type: ignore

    try:
        from hvae.model import initial  # type: ignore
    except ImportError:
        from hvae.stacking import initial  # type: ignore

try:
    from hvae.data.images import Images, load
    from hvae.evaluation.evaluate import evaluate
    from hvae.training import fit as training
    from hvae.training.cuda_graph import CapturedStep
    from hvae.training.fit import Fit, fit
    from hvae.training.stacking import widest
    from hvae.training.traced import Group
except ModuleNotFoundError as error:  # the flat folder
    require_elsewhere(error)
    from hvae.capture import CapturedStep  # type: ignore
    from hvae.stacking import widest  # type: ignore

    from hvae import training  # type: ignore
    from hvae.data import Images, load  # type: ignore
    from hvae.evaluation import evaluate  # type: ignore
    from hvae.training import Fit, Group, fit  # type: ignore

__all__ = [
    "COMPILED",
    "PLAIN",
    "TRACED",
    "CapturedStep",
    "Fit",
    "Group",
    "HierarchicalVAE",
    "Images",
    "certifying",
    "compiled_epoch",
    "documented_loss",
    "evaluate",
    "fastest_sums",
    "fit",
    "initial",
    "load",
    "parameter_count",
    "plain_sums",
    "widest",
]

# What `fit` takes for either engine, and `evaluate` for sums over pixels by torch. COMPILED is the
# step in C on a CPU, where this side has it and the machine a compiler; else it is TRACED.
TRACED: dict[str, Any]
COMPILED: dict[str, Any]
PLAIN: dict[str, Any]
try:
    from hvae.evaluation.likelihood import fastest_sums, plain_sums
    from hvae.training.draws import Draws

    TRACED, COMPILED, PLAIN = {"engine": "traced"}, {"engine": "auto"}, {"sums": plain_sums}
except ImportError:  # the flag
    C = [Path(hvae.__file__).parent / name for name in ("native/step.c", "fused.c")]
    TRACED, COMPILED, PLAIN = {}, {"is_compiled": any(path.is_file() for path in C)}, {}

    def plain_sums(decoder: Any, hidden: Tensor, x: Tensor | None) -> Any:  # type: ignore
        """Σ softplus(l) over the pixels and, if x is given, Σ (sigmoid(l) - x)²."""
        logits = decoder.output(hidden)
        errors = None if x is None else (logits.sigmoid() - x).square().sum(-1)
        return torch.nn.functional.softplus(logits).sum(-1), errors

    fastest_sums = plain_sums


@contextmanager
def certifying(count: int) -> Iterator[None]:
    """An evaluation certifies its NLL on so many images, whatever number this side has."""
    name, modules = "CERTIFIED_IMAGES", list(sys.modules.values())
    with ExitStack() as stack:
        for module in modules:
            if module.__name__.startswith("hvae.evaluation") and hasattr(module, name):
                stack.enter_context(patch.object(module, name, count))
        yield


def compiled_epoch(runs: Sequence[RunConfig], images: Images, device: str) -> Callable[[], object]:
    """A call that trains the runs for an epoch more."""
    module: Any = training
    given = (torch.device(device), torch.float32)
    if "engine" in COMPILED:
        engine, _ = module.choose(runs, *given, **COMPILED)
        draws = Draws(runs, images, given[0])
        return lambda: engine.epoch(draws, 1, 1.0)
    pack = module.Training(runs, images, *given, **COMPILED)
    return lambda: pack.epoch(1)
