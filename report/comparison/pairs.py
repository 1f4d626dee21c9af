"""Two folders of records, run beside run: which record of B pairs with which of A."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hvae.config import RunConfig
from hvae.records.store import Record, Store
from hvae.settings import SETTINGS, axis_names, describe, value
from report.data.design import Design
from report.data.factors import Factor, factors_of
from report.data.records import stores

# What a run is named by; never paired across: seeds, which share data order and noise.
NAMED = [name for name, known in SETTINGS.items() if known.is_named]


class Pair(NamedTuple):
    """Two records of one seed: of equal settings, or of settings that differ as their sides do."""

    a: Record
    b: Record


@dataclass(frozen=True)
class Pairing:
    """The runs of two stores. `differing`: the settings that are constant on each side and not the
    same, with both values; `factors` tell the cells apart by all others. `pairs` come by cell, then
    seed; `alone` are the runs of A, and of B, that have no partner."""

    stores: tuple[Store, Store]
    pairs: tuple[Pair, ...]
    alone: tuple[tuple[RunConfig, ...], tuple[RunConfig, ...]]
    differing: Mapping[str, tuple[Any, Any]]
    factors: tuple[Factor, ...]

    @property
    def name(self) -> str:
        """What the folders are called: once where that is the same."""
        return " and ".join(dict.fromkeys(store.folder.resolve().name for store in self.stores))

    @property
    def changes(self) -> list[str]:
        """`KL weight 1 → KL weight 0.5`, for each setting that differs and that one may choose."""
        chosen = {n: values for n, values in self.differing.items() if SETTINGS[n].is_axis}
        return [" → ".join(describe(n, v) for v in values) for n, values in chosen.items()]


def paired_folders(a: Path, b: Path) -> tuple[list[Pairing], list[str]]:
    """The pairings of two folders of one study each, or of the studies that both hold; and the
    names of the others. Raises `ValueError` where there is no record, nothing pairs, or a record is
    damaged."""
    of_a, of_b = _stores("A", a), _stores("B", b)
    shared = [name for name in of_a if name in of_b]
    if not shared:
        names = [", ".join(filter(None, found)) or "one study" for found in (of_a, of_b)]
        raise ValueError(f"B: {b} holds {names[1]}; allowed: what A, {a}, holds: {names[0]}")
    return [pairing(of_a[n], of_b[n]) for n in shared], sorted(of_a.keys() ^ of_b.keys())


def _stores(side: str, folder: Path) -> dict[str, Store]:
    found = stores(folder)
    if not found:
        raise ValueError(
            f"{side}: {folder} holds no records; allowed: a study's folder, as results/quick, or a "
            "folder of such folders"
        )
    return found


def pairing(a: Store, b: Store) -> Pairing:
    """The runs of two studies, paired by their digests; where they share none, by all settings but
    those that are constant on each side and differ. Raises `ValueError` where nothing pairs."""
    sides = [{record.digest: record for record in store} for store in (a, b)]
    runs = [{name: record.run for name, record in side.items()} for side in sides]
    differing = {} if sides[0].keys() & sides[1].keys() else _differing(*(r.values() for r in runs))
    keys = [{_key(run, differing): name for name, run in side.items()} for side in runs]
    partners = [(keys[0][key], keys[1][key]) for key in keys[0] if key in keys[1]]
    if not partners:
        raise ValueError(
            f"B: none of {len(sides[1])} runs in {b.folder} pairs with one of {len(sides[0])} in "
            f"{a.folder}; allowed: the same seeds and settings, but for those that are constant in "
            "each folder"
        )
    used = [{pair[side] for pair in partners} for side in (0, 1)]
    alone = tuple(
        tuple(run for name, run in own.items() if name not in paired)
        for own, paired in zip(runs, used, strict=True)
    )
    factors = _factors([*runs[0].values(), *runs[1].values()], differing)
    partners.sort(key=lambda pair: _place(runs[0][pair[0]], factors))
    pairs = tuple(Pair(sides[0][one], sides[1][other]) for one, other in partners)
    return Pairing((a, b), pairs, (alone[0], alone[1]), differing, factors)


def _differing(a: Iterable[RunConfig], b: Iterable[RunConfig]) -> dict[str, tuple[Any, Any]]:
    of_a, of_b = list(a), list(b)
    found = {}
    for name in NAMED:
        values = [{value(run, name) for run in side} for side in (of_a, of_b)]
        if name != "seed" and [*map(len, values)] == [1, 1] and values[0] != values[1]:
            found[name] = (values[0].pop(), values[1].pop())
    return found


def _key(run: RunConfig, differing: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(value(run, name) for name in NAMED if name not in differing)


def _factors(runs: Iterable[RunConfig], differing: Mapping[str, Any]) -> tuple[Factor, ...]:
    names = tuple(name for name in axis_names() if name in NAMED and name not in differing)
    ordered = sorted(runs, key=lambda run: [str(value(run, name)) for name in names])
    known = factors_of(Design("", "", tuple(ordered), names))
    return tuple(factor for factor in known if factor.name not in differing)


def _place(run: RunConfig, factors: Iterable[Factor]) -> tuple[int, ...]:
    return (*(f.values.index(value(run, f.name)) for f in factors), run.train.seed)
