"""Settings by their names, as studies and the command line know them; the digest of a run."""

import dataclasses
import hashlib
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

from hvae.config import SECTIONS, VERSION, RunConfig
from hvae.datasets import DATASETS
from hvae.fields import Setting


@cache
def _default(section: type) -> Any:
    return section()


def _declared() -> Iterable[Setting]:
    for section, config in SECTIONS.items():
        for declared in fields(config):
            known: Setting = declared.metadata["setting"]
            name = known.name or f"{section}.{declared.name}"
            yield dataclasses.replace(known, name=name, section=section, key=declared.name)


SETTINGS = {setting.name: setting for setting in _declared()}  # in the order of declaration
_BY_PATH = {f"{setting.section}.{setting.key}": setting for setting in SETTINGS.values()}


def setting(name: str) -> Setting:
    """The setting of that name, short (`depth`) or whole (`model.num_layers`). Raises `ValueError`
    where there is none."""
    if name not in SETTINGS and name not in _BY_PATH:
        raise ValueError(f"unknown setting {name!r}; allowed: {', '.join(axis_names())}")
    return SETTINGS.get(name) or _BY_PATH[name]


def axis_names() -> list[str]:
    """The settings that a study may sweep or set."""
    return [known.name for known in SETTINGS.values() if known.is_axis]


def value(run: RunConfig, name: str) -> Any:
    """What a run has for a setting."""
    known = setting(name)
    return getattr(getattr(run, known.section), known.key)


def describe(name: str, value: Any) -> str:
    """How a reader names one value of a setting: `depth 2`, `BCE`, `KL weight 0.5`."""
    known = setting(name)
    if isinstance(value, tuple):
        return f"{known.label} {'-'.join(map(str, value)) or 'none'}"
    if known.is_ordered:
        return f"{known.label} {value:g}" if isinstance(value, float) else f"{known.label} {value}"
    return known.values.get(value, str(value))


def override(run: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """The run with settings replaced, by their names; data bring their own `input_dim`.

    Raises `ValueError` naming the setting, the value and what is allowed.
    """
    sections = {name: dict(vars(getattr(run, name))) for name in SECTIONS}
    for name, new in values.items():
        known = setting(name)
        sections[known.section][known.key] = new
    data = sections["data"]
    if data["path"] or data["name"] in tuple(DATASETS):
        sections["model"]["input_dim"] = _section("data", data).dataset.pixels
    return RunConfig(**{name: _section(name, given) for name, given in sections.items()})


def _section(name: str, values: Mapping[str, Any]) -> Any:
    """A section of a run; what it refuses is named as studies name it."""
    try:
        return SECTIONS[name](**values)
    except ValueError as error:
        key, _, rest = str(error).partition(": ")
        raise ValueError(f"{setting(f'{name}.{key}').name}: {rest}") from error


def shared(run: RunConfig) -> RunConfig:
    """What the members of a pack have in common: the run, every setting that may differ between
    them at its default."""
    differing = [known for known in SETTINGS.values() if known.may_differ]
    if run.model.inference == "top-down":  # a padded unit would be no fixed point of merging
        differing.remove(setting("latent"))
    if run.model.latent_dims or run.model.hidden_dims:  # as many sizes as levels
        differing.remove(setting("depth"))
    sections = {name: getattr(run, name) for name in SECTIONS}
    for known in differing:
        section, neutral = (
            sections[known.section],
            getattr(_default(SECTIONS[known.section]), known.key),
        )
        sections[known.section] = dataclasses.replace(section, **{known.key: neutral})
    return RunConfig(**sections)


def require_packable(runs: Sequence[RunConfig]) -> None:
    """Raise `ValueError` naming the first setting that differs and that one pack must share."""
    common = {shared(run) for run in runs}
    for name in SETTINGS if len(common) > 1 else ():
        values = {value(run, name) for run in common}
        if len(values) > 1:
            raise ValueError(f"{name}: a pack must share one value; got {sorted(values)}")


def pack_order(run: RunConfig) -> tuple[Hashable, ...]:
    """Where a run stands among those it may share a pack with: seed, loss, latent size, then the
    other settings that may differ. It decides which runs are packed, so it must never change."""
    first = ("seed", "loss", "latent")
    rest = [n for n, known in SETTINGS.items() if known.may_differ and n not in first]
    return tuple(value(run, name) for name in (*first, *rest))


def digest(config: RunConfig) -> str:
    """First 16 hex digits of the SHA-256 of the canonical JSON of what differs from the defaults:
    the record's name."""
    differing: dict[str, Any] = {"version": VERSION}
    for known in SETTINGS.values():
        if not known.is_named:
            continue
        own = getattr(getattr(config, known.section), known.key)
        if own != getattr(_default(SECTIONS[known.section]), known.key):
            differing.setdefault(known.section, {})[known.key] = own
    canonical = json.dumps(differing, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
