"""Findings: the sentences that answer a question, written from contrasts and never by hand.

Below three paired seeds no finding is stated. A factor that does not vary raises no question.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from report.data.contrasts import Contrast, Family
from report.data.frames import Study
from report.data.metrics import HEADLINE, METRICS
from report.data.statistics import FEWEST_SEEDS, errors
from report.render.numbers import at_most, p_text, shown, two_digits
from report.render.panels import span
from report.study.text.alive import aliveness
from report.study.text.cautions import DOUBT, is_certified

ERRORS = {  # column of `errors` -> what it is over
    "seed_error": "seed to seed",
    "monte_carlo_error": "Monte-Carlo",
    "test_set_error": "test images",
}


@dataclass(frozen=True)
class Finding:
    """A question and the sentences that answer it."""

    question: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """A metric that is a difference already: the question, and what is so above 0 and below."""

    question: str
    above: str
    below: str


CLAIMS = {
    "top_level_gain_nats": Claim(
        "What does a living top level add?",
        "an image is {size} likelier than with a Gaussian prior in place of the top level",
        "an image is {size} less likely than with a Gaussian prior in place of the top level",
    ),
    "kl_excess_nats": Claim(
        "Is the KL that the documented loss charges that of the joint posterior?",
        "the documented loss charges {size} more KL than the joint posterior has",
        "the documented loss charges {size} less KL than the joint posterior has",
    ),
}


def findings(study: Study) -> list[Finding]:
    """Every question this study raises, answered from its finished runs."""
    if study.runs.empty:
        return [Finding("What was found?", ("Nothing yet: no run of this study has finished.",))]
    if few := few_seeds(study):
        return [Finding("What was found?", (few,)), _precision(study)]
    labels = {factor.name: factor.label for factor in study.factors}
    known, each = study.contrasts, partial(_each, study)
    found = [
        _answer(f"What changes with the {labels[name]}?", family, each)
        for name, family in known.effects.items()
    ]
    found += [
        _answer(
            f"Does the effect of the {labels[a]} depend on the {labels[b]}?",
            family,
            partial(_interactions, study),
        )
        for (a, b), family in known.interactions.items()
    ]
    found += [_answer(CLAIMS[m].question, family, each) for m, family in known.against_zero.items()]
    found.append(Finding("Which top levels are alive?", aliveness(study)))
    return [finding for finding in (*found, _precision(study)) if finding.sentences]


def few_seeds(study: Study) -> str:
    """Why nothing is claimed of the study; empty where its seeds are enough."""
    seeds = int(study.runs.groupby(study.cell, observed=True)["seed"].nunique().max())
    if seeds >= FEWEST_SEEDS:
        return ""
    return (
        f"No finding: n = {seeds}, and nothing is claimed from fewer than {FEWEST_SEEDS} "
        "paired seeds. The tables and figures show what was measured."
    )


def _answer(
    question: str, family: Family, words: Callable[[Sequence[Contrast]], tuple[str, ...]]
) -> Finding:
    n = max((contrast.estimate.n for contrast in family), default=0)
    if family and n < FEWEST_SEEDS:
        said = (
            f"No finding: what is compared here is complete for {n} of the paired seeds, and "
            f"nothing is claimed from fewer than {FEWEST_SEEDS}."
        )
        return Finding(question, (said,))
    return Finding(question, words(family))


def _each(study: Study, family: Sequence[Contrast]) -> tuple[str, ...]:
    return tuple(_doubted(study, [contrast], sentence(contrast)) for contrast in family)


def _doubted(study: Study, contrasts: Iterable[Contrast], said: str) -> str:
    """A sentence that says where one of its contrasts is of NLLs that nothing certifies."""
    if all(is_certified(study, contrast) for contrast in contrasts):
        return said
    return f"{said.removesuffix('.')} ({DOUBT})."


def sentence(contrast: Contrast) -> str:
    """One contrast in words, with its interval, n and adjusted p."""
    known, metric, aside = contrast.estimate, contrast.metric, where(contrast)
    subject = str(contrast.steps[0]) if contrast.steps else aside
    head = f"{subject} ({aside})" if aside and contrast.steps else subject or "In its one cell"
    head = (head[0].upper() if head[0].isascii() else head[0]) + head[1:]  # a β stays one
    if known.n < FEWEST_SEEDS:
        return f"{head}: no finding on the {metric.label}, n = {known.n} complete paired seeds."
    if contrast.is_equal:
        return f"{head}: the {metric.label} is the same on every seed (n = {known.n})."
    if not contrast.is_clear:
        return f"{head}: {_unclear(contrast)}"
    if contrast.steps:
        verb = "raises" if known.mean > 0 else "lowers"
        return f"{head} {verb} the {metric.label} by {size(contrast)} ({proof(contrast)})."
    claim = CLAIMS[metric.name]
    said = (claim.above if known.mean > 0 else claim.below).format(size=size(contrast))
    return f"{head}: {said} ({proof(contrast)})."


def _unclear(contrast: Contrast) -> str:
    """What was measured, and the effect that it leaves room for."""
    known, metric = contrast.estimate, contrast.metric
    measured, margin = shown(known.mean, known.half_width), at_most(known.margin)
    limit = f"any effect is under {margin} {metric.unit} (two one-sided tests at 0.05)"
    if contrast.noise:
        limit += f", but for the Monte-Carlo noise of {two_digits(contrast.noise)} that seeds share"
    what = f"effect on the {metric.label}" if contrast.steps else metric.label
    return f"no {what} established, {measured} {metric.unit} ({proof(contrast)}); {limit}."


def size(contrast: Contrast) -> str:
    """`0.28 ± 0.12 nats`, without the sign."""
    known = contrast.estimate
    return f"{shown(abs(known.mean), known.half_width)} {contrast.metric.unit}"


def proof(contrast: Contrast) -> str:
    """`n = 5, Holm p < 0.001`."""
    return f"n = {contrast.estimate.n}, Holm p {p_text(contrast.holm_p)}"


def where(contrast: Contrast) -> str:
    """`BCE, mean over latent size`: what a contrast holds fixed, and what it averages."""
    over = " and ".join(factor.label for factor in contrast.averaged)
    return ", ".join(filter(None, (contrast.place, over and f"mean over {over}")))


def _interactions(study: Study, family: Sequence[Contrast]) -> tuple[str, ...]:
    """The clear ones in words, and for the others one sentence with the largest margin."""
    clear = tuple(_doubted(study, [c], _interaction(c)) for c in family if c.is_clear)
    known = [c for c in family if c.estimate.n >= FEWEST_SEEDS]
    unclear = [c for c in known if not (c.is_clear or c.is_equal)]
    said = []
    for metric in dict.fromkeys(contrast.metric for contrast in unclear):
        same = [c for c in unclear if c.metric == metric]
        margin = at_most(max(c.estimate.margin for c in same))
        words = (
            f"No effect established in {len(same)} of {len(family)} interaction contrasts, "
            f"here on the {metric.label}: any is under {margin} {metric.unit}."
        )
        said.append(_doubted(study, same, words))
    return (*clear, *said)


def _interaction(contrast: Contrast) -> str:
    first, second = contrast.steps
    aside, more = where(contrast), "higher" if contrast.estimate.mean > 0 else "lower"
    start, end = (second.factor.describe(value) for value in (second.start, second.end))
    return (
        f"The step {first} changes the {contrast.metric.label} by {size(contrast)} {more} at {end} "
        f"than at {start} ({f'{aside}; ' if aside else ''}{proof(contrast)})."
    )


def _precision(study: Study) -> Finding:
    """The three errors of a cell's mean, apart: medians over the cells."""
    kinds = {m.name: m.errors for m in HEADLINE if m.errors and study.shows(m)}
    sentences = []
    for metric, group in errors(study.runs, study.cell, kinds).groupby("metric", sort=False):
        medians = {words: group[name].median() for name, words in ERRORS.items()}
        parts = [f"{w} {two_digits(v)} nats" for w, v in medians.items() if not math.isnan(v)]
        n = span(group["n"])
        label = METRICS[str(metric)].label
        if parts:
            sentences.append(
                f"Standard errors of a cell's {label}, median over cells: {', '.join(parts)} ({n})."
            )
    return Finding("How sure is a number?", tuple(sentences))
