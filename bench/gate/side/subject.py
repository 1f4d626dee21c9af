"""What the workloads use of `hvae`, where this side's revision keeps it: a base may be of the time
when `hvae` was one flat folder."""

from pathlib import Path

import hvae

try:
    from hvae.closed_form import parameter_count
    from hvae.data.images import Images, load
    from hvae.evaluation.evaluate import evaluate
    from hvae.model import initial
    from hvae.training.cuda_graph import CapturedStep
    from hvae.training.fit import Fit, Training, fit
    from hvae.training.stacking import widest
    from hvae.training.traced import Group
except ModuleNotFoundError:  # the flat folder
    from hvae.capture import CapturedStep  # type: ignore
    from hvae.stacking import initial, widest  # type: ignore

    from hvae.config import parameter_count  # type: ignore
    from hvae.data import Images, load  # type: ignore
    from hvae.evaluation import evaluate  # type: ignore
    from hvae.training import Fit, Group, Training, fit  # type: ignore

__all__ = [
    "CapturedStep",
    "Fit",
    "Group",
    "Images",
    "Training",
    "evaluate",
    "fit",
    "has_compiled_step",
    "initial",
    "load",
    "parameter_count",
    "widest",
]


def has_compiled_step() -> bool:
    """Whether this side's `hvae` has the step in C; one without trains by the traced step."""
    folder = Path(hvae.__file__).parent
    return any((folder / name).is_file() for name in ("native/step.c", "fused.c"))
