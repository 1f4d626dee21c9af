"""Studies: what is asked, and the combinations of settings that answer it. Presets as data.

Settings are named as in `hvae.settings.SETTINGS`: `depth`, `latent`, `loss`, `objective`, every
other `section.key`. A study of one's own is a TOML file: `ablations/study_files.py`.
"""

import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from ablations.own_images import described, recorded
from hvae.config import RunConfig
from hvae.settings import axis_names, digest, override, setting
from hvae.settings import value as value_of
from hvae.validation import require_integer
from report.data.design import Published

# Of a study: it names a folder, and file systems end at 143 to 255 bytes.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
MOST_RUNS = 100_000  # of a study: some hundred megabytes of settings
LONGEST_VARIANT = 60  # characters: it stands in tables
DATA = ("data.name", "data.path")


@dataclass(frozen=True)
class Variant:
    """A name for settings that take the place of the study's own."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


class Cell(NamedTuple):
    """A combination of a study: its run of seed 0, and the variant's name, empty without one."""

    run: RunConfig
    variant: str


@dataclass(frozen=True)
class Study:
    """A question and its grid: variants times axes, each combination with seeds 0 … `seeds` - 1.

    Every run is the documented one with `settings`, then with those of its combination. The first
    variant is the reference. Raises `ValueError` naming the setting, the value, what is allowed.
    """

    name: str
    question: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()
    seeds: int = 1
    budget: str = ""
    published: tuple[Published, ...] = ()
    file: str = field(default="", compare=False)  # as the user named it, where one was read
    toml: str = field(default="", compare=False, repr=False)  # what was read in it
    # Of its records: they say what lay at a path of data where nothing lies now.
    folder: Path | None = field(default=None, compare=False, repr=False)
    cells: tuple[Cell, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        require_name(self.name)
        seeds = _plain(self.seeds)
        require_integer("seeds", seeds, minimum=1)
        _require_variant_names([variant.name for variant in self.variants])
        if not isinstance(self.axes, Mapping):
            raise ValueError(
                f"axes: {self.axes!r} is not allowed; allowed: lists by their settings"
            )
        axes = by_name(self.axes.items())
        for name, values in axes.items():
            _require_axis(name, values)
        axes = {name: tuple(frozen(name, v) for v in values) for name, values in axes.items()}
        variants = [Variant(v.name, by_name(v.settings.items())) for v in self.variants]
        settings = by_name(self.settings.items())
        for given in (settings, *(v.settings for v in variants)):
            if given.keys() >= {*DATA}:
                raise ValueError("data.name: a path is given, too; allowed: one of the two")
        _require_swept_once(axes, settings, variants)
        _require_few(seeds, [*axes.values(), *([variants] if variants else [])])
        cells = tuple(_cells(settings, axes, variants, self.folder))
        _require_distinct(cells)
        for name, value in {
            "settings": settings,
            "axes": axes,
            "variants": tuple(variants),
            "seeds": seeds,
            "cells": cells,
        }.items():
            object.__setattr__(self, name, value)

    @property
    def argument(self) -> str:
        """What names the study on the command line."""
        return shlex.quote(self.file or self.name)


def require_name(name: str) -> None:
    """Raise `ValueError` where a study may not be called that."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"name: {name!r} is not allowed; "
            "allowed: at most 100 ASCII letters, digits, '-' and '_', no sign at the start"
        )


def by_name(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """What is given for settings, by their short names.

    Raises `ValueError` on a setting that is unknown, no study's to choose, or given twice.
    """
    return once((_axis_name(given), _plain(value)) for given, value in pairs)


def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """What is given by name. Raises `ValueError` on a name that is given twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name}: it is given twice; allowed: once")
        found[name] = value
    return found


def _axis_name(given: str) -> str:
    known = setting(given)
    if not known.is_axis:
        allowed = ", ".join(axis_names())
        raise ValueError(f"{given}: a study neither sweeps nor sets it; allowed: {allowed}")
    return known.name


def narrow(
    study: Study,
    axes: Mapping[str, Sequence[Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
    seeds: int | None = None,
    variants: Sequence[str] = (),
) -> Study:
    """The study with axes and settings put in place of its own or added, and with some of its
    variants only; it keeps its name and its records. Raises `ValueError` on a setting that a
    variant has, too."""
    swept, fixed = by_name((axes or {}).items()), by_name((settings or {}).items())
    known = [variant.name for variant in study.variants]
    for name in variants:
        if name not in known:
            allowed = ", ".join(map(repr, known)) or "none, the study has no variants"
            raise ValueError(f"variant: {name!r} is not known; allowed: {allowed}")
    chosen = tuple(v for v in study.variants if not variants or v.name in variants)
    for variant in chosen:
        for name in (n for n in fixed if not _alternatives(n).isdisjoint(variant.settings)):
            raise ValueError(
                f"{name}: variant {variant.name!r} sets it; allowed: what no variant that runs sets"
            )
    return replace(
        study,
        settings=_over(_without(study.settings, swept), fixed),
        axes={**study.axes, **swept},
        variants=chosen,
        seeds=study.seeds if seeds is None else seeds,
    )


def _cells(
    settings: dict[str, Any],
    axes: dict[str, Sequence[Any]],
    variants: Sequence[Variant],
    folder: Path | None,
) -> Iterator[Cell]:
    """Variants in their order, in each the product of the axes, the last one fastest."""
    found: dict[str, Mapping[str, Any]] = {}
    for variant in variants or [Variant("")]:
        for values in product(*axes.values()):
            own = dict(zip(axes, values, strict=True))
            asked_for = _over(_over(settings, own), variant.settings)
            run = override(RunConfig(), _with_data(asked_for, found, folder))
            for name, asked in own.items():
                _require_effective(name, asked, value_of(run, name))
            yield Cell(run, variant.name)


def _alternatives(name: str) -> set[str]:
    """The settings of which one alone is given: which data is said by a name or by a path."""
    return set(DATA) if name in DATA else {name}


def _over(settings: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with others in their place."""
    return _without(settings, others) | dict(others)


def _without(settings: Mapping[str, Any], others: Iterable[str]) -> dict[str, Any]:
    """The settings but those, and their alternatives, that others take the place of."""
    return {n: v for n, v in settings.items() if _alternatives(n).isdisjoint(others)}


def _with_data(
    settings: dict[str, Any], found: dict[str, Mapping[str, Any]], folder: Path | None
) -> dict[str, Any]:
    """The settings, with what is at a path of data, where one is given, or what was there when the
    records of a folder were made; what is `found` already, by path, is not read again."""
    if "data.path" not in settings:
        return settings
    path = settings["data.path"]
    if not path:
        raise ValueError(f"data.path: {path!r} is not allowed; allowed: a file *.npz or a folder")
    if str(path) not in found:
        found[str(path)] = recorded(str(path), folder) or described(path)
    return {**settings, **found[str(path)]}


def frozen(name: str, value: Any) -> Any:
    """A value as a run holds it: a list as a tuple, where that is what it holds."""
    is_list = isinstance(value_of(RunConfig(), name), tuple) and isinstance(value, list)
    return tuple(value) if is_list else value


def _plain(value: Any) -> Any:
    """Values of Python's own in place of numpy's and of a range."""
    if isinstance(value, range):
        return list(value)
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return value.tolist() if hasattr(value, "tolist") else value


def _require_effective(name: str, asked: Any, held: Any) -> None:
    """A model has one config: sizes by level that are equal, for example, are one size."""
    if asked != held:
        raise ValueError(f"{name}: {asked!r} is in effect {held!r}; allowed: values that differ")


def _require_variant_names(names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_VARIANT:
            raise ValueError(
                f"variant: name {name!r} is not allowed; "
                f"allowed: 1 to {LONGEST_VARIANT} printable characters"
            )
        if name in names[:number]:
            raise ValueError(f"variant: {name!r} is given twice; allowed: distinct names")


def _require_axis(name: str, values: Any) -> None:
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"{name}: {values!r} is no axis; allowed: a list of one value or more")
    for number, value in enumerate(values):
        if value in values[:number]:
            raise ValueError(f"{name}: {value!r} is given twice; allowed: distinct values")


def _require_swept_once(
    axes: Iterable[str], settings: Iterable[str], variants: Iterable[Variant]
) -> None:
    for name in axes:
        given = _alternatives(name)
        places = [] if given.isdisjoint(settings) else ["the study"]
        places += [f"variant {v.name!r}" for v in variants if not given.isdisjoint(v.settings)]
        if places:
            raise ValueError(
                f"{name}: {places[0]} sets what an axis sweeps; allowed: one of the two"
            )


def _require_few(seeds: int, factors: Iterable[Sequence[Any]]) -> None:
    """Raise `ValueError` on a grid that nobody could train, before it fills the memory."""
    count = seeds * math.prod(map(len, factors))
    if count > MOST_RUNS:
        raise ValueError(f"study: {count:,} runs are too many; allowed: at most {MOST_RUNS:,}")


def _require_distinct(cells: Sequence[Cell]) -> None:
    seen: dict[str, Cell] = {}  # of data at a path a digest does not say where they lie
    for cell in cells:
        same = seen.setdefault(digest(cell.run), cell)
        if same.variant != cell.variant:
            raise ValueError(
                f"variants: {same.variant!r} and {cell.variant!r} are the same runs; allowed: "
                "distinct settings"
            )
        if same is not cell:
            paths = f"{same.run.data.path!r} and {cell.run.data.path!r}"
            raise ValueError(f"data.path: {paths} are the same images; allowed: distinct ones")
