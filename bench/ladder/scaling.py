"""What a model-step costs by the runs of a pack, depth, latent size and worker processes: from one
point, the reference packed as `hvae run` packs it, one of these is varied at a time.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from bench.ladder.ladder import Ladder
from bench.ladder.output import common, model_steps
from bench.ladder.rungs import CPU_STEPS, EPOCH_STEPS, MOST_PROCESSES, Rung
from bench.throughput.spread import spread
from hvae.closed_form import flops_per_image
from hvae.config import RunConfig
from hvae.processes import core_count
from hvae.settings import override

VALUES = {"depth": (1, 2, 3, 4), "latent": (2, 5, 10, 20, 50)}
MODELS = {"cpu": (1, 2, 5, 10, 20), "cuda": (1, 10, 50, 100, 200)}
LABELS = {"models": "runs of a pack", "depth": "depth", "latent": "latent size"}
LABELS |= {"processes": "worker processes"}


class Point(NamedTuple):
    """A value of what is varied, and the rung that measures it."""

    axis: str
    value: int
    rung: Rung


def points(device: str, models: int, engine: str) -> list[Point]:
    """What is measured, axis by axis; `models` in a pack where that is not what varies."""
    start: Any = Rung("", "", "pack", 0, device, models, 1, engine)
    cores = min(core_count(), MOST_PROCESSES) if device == "cpu" else 1
    axes = {"models": MODELS[device], **VALUES, "processes": (1, cores) if cores > 1 else ()}
    return [
        Point(axis, value, _rung(replace(start, **{axis: value})))
        for axis, values in axes.items()
        for value in values
    ]


def _rung(rung: Rung) -> Rung:
    steps = EPOCH_STEPS if rung.device == "cuda" else max(1, CPU_STEPS["pack"] // rung.models)
    title = (
        f"{rung.models} runs, depth {rung.depth}, latent {rung.latent}, {rung.processes} workers"
    )
    return replace(rung, steps=steps, name=title, title=title)


def document(found: Ladder, measured: Sequence[Point]) -> dict[str, Any]:
    """The cost of each point as one JSON document: milliseconds of wall time a model-step. Raises
    `ValueError` where one could not be built."""
    if found.left_out:
        engine, missing = measured[0].rung.engine, found.left_out[0]
        raise ValueError(
            f"scaling: the {engine} engine cannot be built ({missing}); allowed: --no-compile"
        )
    start = measured[0].rung
    return common(found) | {
        "engine": start.engine,
        "axes": {
            axis: [_cost(found, point) for point in measured if point.axis == axis]
            for axis in dict.fromkeys(point.axis for point in measured)
        },
    }


def _cost(found: Ladder, point: Point) -> dict[str, Any]:
    steps, rung = model_steps(found, point.rung), point.rung
    run = override(RunConfig(), {"depth": rung.depth, "latent": rung.latent})
    milliseconds = [1000 * window.seconds / steps for window in found.windows[rung]]
    return {
        "value": point.value,
        "milliseconds_per_model_step": spread(milliseconds),
        "flop_per_model_step": run.train.batch_size * flops_per_image(run),
    }


def table(document: dict[str, Any]) -> list[str]:
    """The document as lines of text, a point each."""
    lines = [f"{'':18}{'value':>6}  ms a model-step (quartiles)  GFLOP/s"]
    for axis, costs in document["axes"].items():
        for cost in costs:
            ms = cost["milliseconds_per_model_step"]
            rate = cost["flop_per_model_step"] / ms["median"] / 1e6
            quartiles = f"({ms['lower_quartile']:.4g}-{ms['upper_quartile']:.4g})"
            point = f"{LABELS[axis]:18}{cost['value']:>6}"
            lines.append(f"{point}  {ms['median']:9.4g} {quartiles:17}{rate:>9,.0f}")
    machine = document["machine"]
    return [
        *lines,
        "",
        f"{machine['device_name']}, {machine['cores']} cores, one thread a process, "
        f"torch {machine['torch']}; {document['engine']} engine, {document['data']}, "
        f"batch {document['batch_size']}, {document['rounds']} rounds in random order",
    ]
