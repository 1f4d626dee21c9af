"""What a study asked, as far as its report needs to know."""

from dataclasses import dataclass

from hvae.config import RunConfig


@dataclass(frozen=True)
class Published:
    """A number that somebody published for what a variant trains, in the unit of the metric."""

    variant: str
    metric: str
    value: float
    source: str


@dataclass(frozen=True)
class Design:
    """Every run that a study expects, and how they came about.

    `axes` are the settings it sweeps, by their names in `hvae.settings.SETTINGS`, in the order it
    names them; `variant_of` the named set of overrides of each run, those of the reference first,
    empty where there are none. `published` is shown beside what was measured.
    """

    name: str
    question: str
    runs: tuple[RunConfig, ...]
    axes: tuple[str, ...] = ()
    variant_of: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
