"""Which levels live, and what decides it: counted seed by seed, because a mean over living and dead
levels describes neither."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hvae.settings import axis_names, describe, digest, setting, value
from report.data.contrasts import LEVELS
from report.data.factors import words
from report.data.frames import Study, count_alive
from report.data.statistics import FEWEST_SEEDS, SIGNIFICANCE, groups, sign_p


@dataclass(frozen=True)
class Top:
    """The top level of a cell: in how many of its runs it is alive."""

    name: str  # what the cell is called beside its depth
    settings: Mapping[str, Any]  # all but the depth
    alive: int
    runs: int

    @property
    def lives(self) -> bool:
        """Whether it is alive in most of its runs."""
        return 2 * self.alive > self.runs

    @property
    def agreeing(self) -> int:
        """In how many of its runs it is what it is in most."""
        return max(self.alive, self.runs - self.alive)

    @property
    def is_certain(self) -> bool:
        """Whether all of enough seeds agree, or more of them than a coin would make agree: by the
        sign test 9 of 10, not 8."""
        told = self.agreeing == self.runs or sign_p(self.agreeing, self.runs) <= SIGNIFICANCE
        return self.runs >= FEWEST_SEEDS and told


def aliveness(study: Study) -> tuple[str, ...]:
    """For every depth above one in how many seeds the top level is alive, cell by cell, and which
    setting decides it; nothing where no such level was measured."""
    return tuple(
        said
        for level, tops in _tops(study)
        for said in (_counts(level, tops), *_cause(level, tops))
    )


def causes(study: Study) -> tuple[str, ...]:
    """For every depth above one the setting that decides whether its top level lives, if one
    does."""
    return tuple(said for level, tops in _tops(study) for said in _cause(level, tops))


def _tops(study: Study) -> list[tuple[int, list[Top]]]:
    """The top levels of the cells with two levels or more, in the order of the tables, by level."""
    if study.levels.empty or "kl_nats" not in study.levels:
        return []
    runs = {digest(run): run for run in study.design.runs}
    others = [factor for factor in study.factors if factor.name != LEVELS]
    tops: dict[int, list[Top]] = {}
    for place, cell in groups(study.levels, study.cell):
        level = int(cell["level"].max())
        if level < 2:
            continue
        top = cell[cell["level"] == level]
        run = runs[top["key"].iloc[0]]
        settings = {name: value(run, name) for name in axis_names() if name != LEVELS}
        name = words(others, (place[factor.name] for factor in others))
        found = Top(name, settings, count_alive(top), len(top))
        tops.setdefault(level, []).append(found)
    return sorted(tops.items())


def _counts(level: int, tops: Sequence[Top]) -> str:
    """`Level 3 of 3 is alive in 3 of 3 seeds (ELBO), in 0 of 3 seeds (documented; β = 1).`"""
    cells: dict[tuple[int, int], list[str]] = {}
    for top in tops:
        cells.setdefault((top.alive, top.runs), []).append(top.name)
    parts = []
    for (alive, runs), names in sorted(cells.items(), reverse=True):
        named = "; ".join(name for name in names if name)
        parts.append(f"in {alive} of {runs} seeds" + (f" ({named})" if named else ""))
    return f"Level {level} of {level} is alive {', '.join(parts)}."


def _cause(level: int, tops: Sequence[Top]) -> Iterator[str]:
    """The setting that alone tells the living from the dead, among all cells or among those that
    change nothing which only one of them changes; of several that do so together, all."""
    for cells in (list(tops), _without_rarities(tops)):
        if not all(top.is_certain for top in cells) or len({top.lives for top in cells}) < 2:
            continue
        if deciding := [name for name in cells[0].settings if _decides(name, cells)]:
            yield _said(level, deciding, cells, len(cells) < len(tops))
            return


def _decides(name: str, tops: Sequence[Top]) -> bool:
    living = {top.settings[name] for top in tops if top.lives}
    return living.isdisjoint(top.settings[name] for top in tops if not top.lives)


def _without_rarities(tops: Sequence[Top]) -> list[Top]:
    def rare(top: Top, name: str) -> bool:
        return [other.settings[name] for other in tops].count(top.settings[name]) == 1

    names = tops[0].settings
    once_changed = [name for name in names if sum(rare(top, name) for top in tops) == 1]
    return [top for top in tops if not any(rare(top, name) for name in once_changed)]


def _said(level: int, deciding: Sequence[str], tops: Sequence[Top], is_part: bool) -> str:
    living, dead = (
        " or ".join(dict.fromkeys(_words(top, deciding) for top in tops if top.lives is kind))
        for kind in (True, False)
    )
    varied = [
        setting(name).label
        for name in tops[0].settings
        if name not in deciding and _is_crossed(name, tops)
    ]
    whatever = f", at each {' and each '.join(varied)} tried with it" if varied else ""
    subject = f"level {level} of {level}"
    first = f"where nothing else is changed, {subject}" if is_part else subject
    together = "" if len(deciding) == 1 else " These settings change together in this study."
    lives = _in_most([top for top in tops if top.lives]) or " in every seed"
    dies = _in_most([top for top in tops if not top.lives])
    told = f"lives{lives} with {living} and dies{dies} with {dead}{whatever}"
    return f"{first.capitalize()} {told}.{together}"


def _in_most(tops: Sequence[Top]) -> str:
    """` in 19 of 20 runs`; empty where every one of them agrees."""
    agree, runs = sum(top.agreeing for top in tops), sum(top.runs for top in tops)
    return "" if agree == runs else f" in {agree} of {runs} runs"


def _is_crossed(name: str, tops: Sequence[Top]) -> bool:
    """Whether the living and the dead have both been seen at several values of a setting."""
    return all(
        len({top.settings[name] for top in tops if top.lives is kind}) > 1 for kind in (True, False)
    )


def _words(top: Top, names: Sequence[str]) -> str:
    """`the objective ELBO, KL weight 2`."""
    said = []
    for name in names:
        label, text = setting(name).label, describe(name, top.settings[name])
        said.append(text if label in text else f"the {label} {text}")
    return ", ".join(said)
