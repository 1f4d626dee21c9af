"""What a study asked, as far as its report needs to know."""

from dataclasses import dataclass

from hvae.config import RunConfig


@dataclass(frozen=True)
class Design:
    """Every run that a study expects, and how they came about.

    `axes` are the settings it sweeps, by their names in `hvae.config.SETTINGS`, in the order it
    names them; `variants` its named sets of overrides, the reference first, empty where it has
    none; `variant_of` the variant of each run, in the order of `runs`.
    """

    name: str
    question: str
    runs: tuple[RunConfig, ...]
    axes: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    variant_of: tuple[str, ...] = ()
