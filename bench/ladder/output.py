"""The ladder as one JSON document, and as lines of text."""

import statistics
from dataclasses import asdict
from math import ceil
from typing import Any

from bench.ladder.documented_loop import REFERENCE
from bench.ladder.ladder import Ladder
from bench.ladder.rungs import BATCH, Gauge, Rung
from bench.throughput.spread import spread
from hvae.closed_form import flops_per_image
from hvae.native.build import compiler_name
from hvae.processes import core_count
from hvae.records.provenance import code, environment

BYTES_PER_MODEL_STEP = 10e6  # unfused traffic of a training step, half of it Adam's


def document(found: Ladder) -> dict[str, Any]:
    """The ladder as one JSON document: machine, settings, rungs; the first two rungs and that of
    JAX, where there is one, are those that the others are compared with."""
    rungs = [task for task in found.windows if isinstance(task, Rung)]
    rates = [_rates(found, rung) for rung in rungs]
    names = ["documented", "in_memory"]
    names += ["jax" if rung.engine == "jax" else "" for rung in rungs[2:]]
    references = {name: own for name, own in zip(names, rates, strict=True) if name}
    machine = _machine_rates(found)
    return common(found) | {
        "flop_per_model_step": BATCH * flops_per_image(REFERENCE),
        "bytes_per_model_step": BYTES_PER_MODEL_STEP,
        "rungs": [
            asdict(rung) | _measured(found, rung, own, references, machine[rung.processes])
            for rung, own in zip(rungs, rates, strict=True)
        ],
        "left_out": found.left_out,
    }


def common(found: Ladder) -> dict[str, Any]:
    """Where and how it was measured."""
    device = next(iter(found.windows)).device
    return {
        "machine": {
            **environment(device),
            "threads": 1,  # of each process
            "cores": core_count(),
            "c_compiler": compiler_name(),
            "rates": list(_machine_rates(found).values()),
        },
        "code": code(),
        "data": found.source.name,
        "batch_size": BATCH,
        "rounds": found.rounds,
    }


def model_steps(found: Ladder, rung: Rung) -> int:
    """Steps of a window, of all models in all processes."""
    return rung.models * rung.processes * ceil(rung.images(found.source) / BATCH)


def _rates(found: Ladder, rung: Rung) -> list[float]:
    """Model-steps per second of each round."""
    steps = model_steps(found, rung)
    return [steps / window.seconds for window in found.windows[rung]]


def _machine_rates(found: Ladder) -> dict[int, dict[str, Any]]:
    """What the machine did at most, by how many processes at once."""
    units = {"sgemm": "sgemm_gflop_per_second", "copy": "copy_gigabytes_per_second"}
    machine: dict[int, dict[str, Any]] = {}
    for gauge, windows in found.windows.items():
        if isinstance(gauge, Gauge):
            rates = machine.setdefault(gauge.processes, {"processes": gauge.processes})
            rates[units[gauge.kind]] = spread([gauge.work / 1e9 / w.seconds for w in windows])
    return machine


def _measured(
    found: Ladder,
    rung: Rung,
    rates: list[float],
    references: dict[str, list[float]],
    machine: dict[str, Any],
) -> dict[str, Any]:
    """A rung's rates, its ratios to the references, and its share of the machine, whose rates are
    of as many processes: medians of both."""
    images, windows = rung.images(found.source), found.windows[rung]
    images_per_second = spread([rate * images / ceil(images / BATCH) for rate in rates])
    ratios = {
        f"ratio_to_{name}": spread([rate / other for rate, other in zip(rates, own, strict=True)])
        for name, own in references.items()
    }
    flops = images_per_second["median"] * flops_per_image(REFERENCE)
    moved = statistics.median(rates) * BYTES_PER_MODEL_STEP
    return {
        "model_steps_per_second": spread(rates),
        "images_per_second": images_per_second,
        **ratios,
        "fraction_of_sgemm": flops / (1e9 * machine["sgemm_gflop_per_second"]["median"]),
        "fraction_of_copy_bandwidth": moved
        / (1e9 * machine["copy_gigabytes_per_second"]["median"]),
        # Processor time it got; less than 1 where others worked beside it.
        "fraction_of_cores": statistics.median(
            window.cpu_seconds / window.seconds / rung.processes for window in windows
        ),
        "model_steps_per_second_by_round": rates,
    }


def table(document: dict[str, Any]) -> list[str]:
    """The document as lines of text, a rung each; medians."""
    rungs = document["rungs"]
    width = max(len(rung["title"]) for rung in rungs)
    heading = f"{'rung':{width}}  model-steps/s (quartiles)    images/s"
    has_jax = any("ratio_to_jax" in rung for rung in rungs)
    jax = "  x JAX" if has_jax else ""
    lines = [f"{heading}  x documented  x in memory{jax}  of sgemm  of copy  of cores"]
    for rung in rungs:
        steps, images = rung["model_steps_per_second"], rung["images_per_second"]
        quartiles = f"({steps['lower_quartile']:,.0f}-{steps['upper_quartile']:,.0f})"
        cells = [
            f"{rung['title']:{width}}",
            f"{steps['median']:10,.0f} {quartiles:15}",
            f"{images['median']:10,.0f}",
            f"{rung['ratio_to_documented']['median']:12.2f}",
            f"{rung['ratio_to_in_memory']['median']:11.2f}",
            *([f"{rung['ratio_to_jax']['median']:5.2f}"] if has_jax else []),
            f"{rung['fraction_of_sgemm']:8.1%}",
            f"{rung['fraction_of_copy_bandwidth']:7.1%}",
            f"{rung['fraction_of_cores']:8.0%}",
        ]
        lines.append("  ".join(cells))
    return [*lines, "", *_notes(document)]


def _notes(document: dict[str, Any]) -> list[str]:
    machine = document["machine"]
    steps = [rung["steps"] for rung in document["rungs"]]
    rates = [
        f"{rates['processes']} at once: sgemm {rates['sgemm_gflop_per_second']['median']:,.0f} "
        f"GFLOP/s, copy {rates['copy_gigabytes_per_second']['median']:,.1f} GB/s"
        for rates in machine["rates"]
    ]
    return [
        f"{machine['device_name']}, {machine['cores']} cores, one thread a process, "
        f"torch {machine['torch']}; {'; '.join(rates)}",
        f"{document['data']}, batch {document['batch_size']}, {document['rounds']} rounds "
        f"in random order; windows of {min(steps)} to {max(steps)} steps, "
        "drawing their order and noise included",
        *(f"left out, could not be built: {title}" for title in document["left_out"]),
    ]
