"""Studies, plans and standings as text for people and as dicts for JSON."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ablations.grid import Pack, cost, labels, memory, runs, seconds
from ablations.studies import Study
from hvae.closed_form import parameter_count
from hvae.config import as_dict, digest
from hvae.records.standings import Standing, count

Json = dict[str, Any]


def study_lines(study: Study) -> list[str]:
    """Name, size and budget; the question; variants, axes, seeds and settings, as commands name
    them."""
    cost_text = f"{_gflop(map(cost, runs(study)))} to train, {study.budget}"
    swept = [f"{name} {', '.join(map(str, values))}" for name, values in study.axes]
    variants = ", ".join(variant.name for variant in study.variants)
    common = ", ".join(f"{name} {value}" for name, value in study.settings.items())
    parts = [variants and f"variants {variants}", *swept, f"{study.seeds} seeds", common]
    return [
        f"{study.name}: {len(study.cells) * study.seeds} runs, {cost_text}",
        f"    {study.question}",
        f"    {'; '.join(filter(None, parts))}",
    ]


def plan_lines(packs: Sequence[Pack], device: str, workers: int) -> list[str]:
    """A line per pack, longest first, and their sum; times and memory are predictions."""
    lines = [
        f"pack {number}: {pack.label}, {_parameters(pack):,} parameters, {_gflop([pack.cost])}, "
        f"about {_duration(seconds(pack, device))}, {memory(pack) / 1e6:.0f} MB"
        for number, pack in enumerate(packs, start=1)
    ]
    members = sum(len(pack.runs) for pack in packs)
    total, wall = _gflop(pack.cost for pack in packs), _wall(packs, device, workers)
    end = f"to train: {members} runs in {len(packs)} packs, {total}"
    return [*lines, f"{end}; with evaluation about {_duration(wall)} on {workers} workers"]


def plan_dict(packs: Sequence[Pack], size: int, device: str, workers: int) -> Json:
    """The packs, and the sizes and cost they come to; seconds and bytes are predictions."""
    return {
        "pack_size": size,
        "device": device,
        "workers": workers,
        "seconds": _wall(packs, device, workers),
        "gflop": sum(pack.cost for pack in packs) / 1e9,
        "packs": [
            {
                "label": pack.label,
                "runs": [digest(run) for run in pack.runs],
                "parameters": _parameters(pack),
                "gflop": pack.cost / 1e9,
                "seconds": seconds(pack, device),
                "memory_bytes": memory(pack),
            }
            for pack in packs
        ],
    }


def summary(study: Study, folder: Path, standings: Sequence[Standing]) -> str:
    """How many runs there are and how they stand."""
    counted = ", ".join(f"{n} {state}" for state, n in count(standings).items())
    return f"{study.name}: {len(standings)} runs in {folder}: {counted}"


def summary_dict(study: Study, folder: Path, standings: Sequence[Standing]) -> Json:
    """What `summary` says, as a dict."""
    return {"study": study.name, "results": str(folder), "counts": count(standings)}


def standing_lines(study: Study, standings: Iterable[Standing]) -> Iterator[str]:
    """Digest, state, the run in words, and the reason where there is one."""
    words = labels(study)
    for standing in standings:
        reason = f": {' '.join(standing.reason.split())}" if standing.reason else ""
        yield f"{standing.digest}  {standing.state:<8} {words[standing.digest]}{reason}"


def standings_dict(standings: Iterable[Standing]) -> Json:
    """State, reason and settings of every run, by digest."""
    return {
        s.digest: {"state": s.state, "reason": s.reason, "config": as_dict(s.run)}
        for s in standings
    }


def _parameters(pack: Pack) -> int:
    return sum(parameter_count(run.model) for run in pack.runs)


def _wall(packs: Sequence[Pack], device: str, workers: int) -> float:
    """Predicted seconds until the last worker is through, each taking the longest pack left."""
    ends = [0.0] * workers
    for pack in packs:
        ends[ends.index(min(ends))] += seconds(pack, device)
    return max(ends)


def _duration(value: float) -> str:
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _gflop(flops: Iterable[int]) -> str:
    """Whole GFLOP, but one digit at least of what is less."""
    value = sum(flops) / 1e9
    return f"{value:,.0f} GFLOP" if value >= 10 else f"{value:.1g} GFLOP"
