"""The ladder as one JSON document, and as lines of text."""

from dataclasses import asdict
from typing import Any

from bench.ladder.documented_loop import REFERENCE
from bench.ladder.ladder import BYTES_PER_MODEL_STEP, Ladder
from bench.ladder.rungs import BATCH
from hvae.closed_form import flops_per_image
from hvae.native.build import compiler_name
from hvae.processes import core_count
from hvae.records.provenance import code, environment


def document(found: Ladder) -> dict[str, Any]:
    """The ladder as one JSON document: machine, settings, rungs."""
    rungs = [asdict(measured) for measured in found.rungs]
    device = found.rungs[0].rung.device
    return {
        "machine": {
            **environment(device),
            "threads": 1,  # of each process
            "cores": core_count(),
            "c_compiler": compiler_name(),
            "rates": [asdict(rates) for rates in found.rates],
        },
        "code": code(),
        "data": found.source.name,
        "batch_size": BATCH,
        "flop_per_model_step": BATCH * flops_per_image(REFERENCE),
        "bytes_per_model_step": BYTES_PER_MODEL_STEP,
        "rounds": found.rounds,
        "rungs": [{**rung.pop("rung"), **rung} for rung in rungs],
        "left_out": found.left_out,
    }


def table(document: dict[str, Any]) -> list[str]:
    """The document as lines of text, a rung each; medians."""
    rungs = document["rungs"]
    width = max(len(rung["title"]) for rung in rungs)
    heading = f"{'rung':{width}}  model-steps/s (quartiles)    images/s"
    lines = [f"{heading}  x documented  x in memory  of sgemm  of copy  of cores"]
    for rung in rungs:
        steps, images = rung["model_steps_per_second"], rung["images_per_second"]
        quartiles = f"({steps['lower_quartile']:,.0f}-{steps['upper_quartile']:,.0f})"
        cells = [
            f"{rung['title']:{width}}",
            f"{steps['median']:10,.0f} {quartiles:15}",
            f"{images['median']:10,.0f}",
            f"{rung['ratio_to_documented']['median']:12.2f}",
            f"{rung['ratio_to_in_memory']['median']:11.2f}",
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
