"""The study's question answered in at most three sentences, one for each factor that it names.

Nothing is claimed from fewer than three paired seeds.
"""

from collections.abc import Container, Iterator, Mapping, Sequence

from report.data.contrasts import Contrast, Step
from report.data.factors import VARIANT, Factor, listed
from report.data.frames import Study
from report.data.metrics import Metric
from report.data.statistics import FEWEST_SEEDS
from report.render.numbers import at_most, p_text
from report.render.panels import span
from report.study.published import nearest
from report.study.text.alive import causes
from report.study.text.cautions import DOUBT, is_certified
from report.study.text.findings import few_seeds, size

MOST_SENTENCES = 3
MOST_STEPS = 5  # named in a sentence
MOST_PLACES = 2  # of a step, named


def answer(study: Study) -> list[str]:
    """The study's question answered, a sentence for each factor that it asks about."""
    if study.runs.empty:
        return ["Nothing yet: no run of this study has finished."]
    followed = [sentence] if (sentence := nearest(study)) else []
    if few := few_seeds(study):
        return [*followed, few]
    effects = [_effect(study, factor) for factor in asked(study)]
    of_levels = causes(study) if "level" in study.design.question.lower() else ()
    said = [sentence for sentence in effects if sentence]
    first = [*followed, *of_levels][: MOST_SENTENCES - bool(said)]  # leaves room for an effect
    return [*first, *said][:MOST_SENTENCES] or [_nothing(study)]


def _nothing(study: Study) -> str:
    """Why nothing is answered."""
    if not study.varying:
        return "Nothing is compared: the study has one cell. The tables show what was measured."
    return (
        "No finding: no two sides of what is compared are complete for "
        f"{FEWEST_SEEDS} paired seeds. The tables and figures show what was measured."
    )


def asked(study: Study) -> list[Factor]:
    """The factors that a question is about: the variants, or those that it names, or all."""
    question = study.design.question.lower()
    named = [
        factor
        for factor in study.varying
        if factor.label.lower() in question or factor.name.lower() in question
    ]
    variants = [factor for factor in study.varying if factor.name == VARIANT]
    return variants or named or study.varying


def _effect(study: Study, factor: Factor) -> str:
    """What the steps of a factor change in the first metric that speaks for all of them; where none
    does, in the first, and which it does not speak for."""
    spoken = _spoken(study, factor)
    if not spoken:
        return ""
    known = {step for by_step in spoken.values() for step in by_step}
    whole = [metric for metric, by_step in spoken.items() if len(by_step) == len(known)]
    metric = (whole or [*spoken])[0]
    steps = spoken[metric]
    clear = {step: [c for c in every if c.is_clear] for step, every in steps.items()}
    single = [cell for cell in study.contrasts.by_cell[factor.name] if cell.metric == metric]
    cells = {step: [cell for cell in single if cell.steps[0] == step] for step in steps}
    in_cells = _changes(study, _otherwise(clear, cells), cells)
    said = [
        _changes(study, clear, steps),
        _unclear(study, [c for step in steps if not clear[step] for c in steps[step]]),
        f"in single cells {in_cells}" if in_cells else "",
        *_left_out(study, factor, metric, steps),
    ]
    averaged = next(iter(steps.values()))[0].averaged
    over = f", on average over {listed(f.label for f in averaged)}" if averaged else ""
    return f"{_subject(factor)}{over}: {'; '.join(filter(None, said))}."


def _spoken(study: Study, factor: Factor) -> dict[Metric, dict[Step, list[Contrast]]]:
    """The effects of a factor that enough seeds have, by metric and by step."""
    spoken: dict[Metric, dict[Step, list[Contrast]]] = {}
    for contrast in study.contrasts.effects[factor.name]:
        if contrast.estimate.n >= FEWEST_SEEDS:
            by_step = spoken.setdefault(contrast.metric, {})
            by_step.setdefault(contrast.steps[0], []).append(contrast)
    return spoken


def _unclear(study: Study, contrasts: Sequence[Contrast]) -> str:
    """Which steps change nothing; of which no effect is established, and how large it may be."""
    steps: dict[Step, list[Contrast]] = {}
    for contrast in contrasts:
        steps.setdefault(contrast.steps[0], []).append(contrast)
    same = [step for step, every in steps.items() if all(c.is_equal for c in every)]
    open_ = [step for step in steps if step not in same]
    said = []
    if same:
        metric = contrasts[0].metric
        said.append(f"the {metric.label} is the same on every seed for {_names(same)}")
    if open_:
        left = [contrast for step in open_ for contrast in steps[step]]
        largest = max(left, key=lambda contrast: contrast.estimate.margin)
        metric, what = largest.metric, "any such mean" if largest.averaged else "any"
        under = f"{what} is under {at_most(largest.estimate.margin)} {metric.unit}"
        doubt = "" if all(is_certified(study, contrast) for contrast in left) else f", {DOUBT}"
        effect = f"no effect on the {metric.label} is established for {_names(open_)}"
        said.append(f"{effect} ({under}{doubt})")
    return "; ".join(said)


def _names(steps: Sequence[Step]) -> str:
    return listed(map(_name, steps)) if len(steps) <= MOST_STEPS else f"{len(steps)} of its steps"


def _left_out(
    study: Study, factor: Factor, metric: Metric, spoken: Container[Step]
) -> Iterator[str]:
    """The steps of which a metric says nothing, and why; it has `spoken` of the others."""
    differing = study.contrasts.differing
    steps = [step for step in differing if step.factor == factor]
    mute = [step for step in steps if not differing[step].isdisjoint(metric.within)]
    if mute:
        yield f"the {metric.label} cannot judge {listed(map(_name, mute))}"
    if short := [step for step in steps if step not in spoken and step not in mute]:
        yield f"{listed(map(_name, short))}: not complete for {FEWEST_SEEDS} paired seeds"


Clear = Mapping[Step, Sequence[Contrast]]


def _changes(study: Study, clear: Clear, known: Clear) -> str:
    """What the steps change for certain, the largest of them by name; of `known` places each."""
    largest = sorted(filter(clear.get, clear), key=lambda s: -_largest(clear[s]))[:MOST_STEPS]
    if not largest:
        return ""
    named = [step for step in clear if step in largest]
    parts = [_part(study, step, clear[step], len(known[step])) for step in named]
    left = sum(map(bool, clear.values())) - len(largest)
    more = f", and {left} more of its steps change it" if left > 0 else ""
    return f"{'; '.join(parts)}{more}{proof_of([c for step in named for c in clear[step]])}"


def _otherwise(clear: Clear, cells: Clear) -> Clear:
    """The cells that change for certain where no mean over them does, or the other way."""
    return {
        step: [c for c in cells[step] if c.is_clear and not any(_agrees(mean, c) for mean in means)]
        for step, means in clear.items()
    }


def _agrees(mean: Contrast, cell: Contrast) -> bool:
    """Whether a mean is over the cell, among others, and of its sign."""
    is_over_it = all(held in cell.held for held in mean.held)
    return is_over_it and (mean.estimate.mean > 0) == (cell.estimate.mean > 0)


def proof_of(named: Sequence[Contrast]) -> str:
    """` (n = 5, Holm p ≤ 0.047)`, of all that are named."""
    p = max(contrast.holm_p for contrast in named)
    n = span([contrast.estimate.n for contrast in named])
    return f" ({n}, Holm p {p_text(p) if p < 0.001 else f'≤ {at_most(p)}'})"


def _subject(factor: Factor) -> str:
    if factor.is_ordered:
        return f"{factor.label[0].upper()}{factor.label[1:]}"
    return f"Against {factor.describe(factor.values[0])}"


def _name(step: Step) -> str:
    """`2 → 3`; of what has no order its end."""
    ends = [step.factor.text(value) for value in (step.start, step.end)]
    return " → ".join(ends) if step.factor.is_ordered else ends[1]


def _largest(contrasts: Sequence[Contrast]) -> float:
    return max(abs(contrast.estimate.mean) for contrast in contrasts)


def _part(study: Study, step: Step, clear: Sequence[Contrast], of: int) -> str:
    """`2 → 3 lowers the NLL by 0.28 ± 0.12 nats`."""
    ups = {contrast.estimate.mean > 0 for contrast in clear}
    verb = "moves" if len(ups) > 1 else "raises" if True in ups else "lowers"
    return f"{_name(step)} {verb} the {clear[0].metric.label} by {_sizes(study, clear, of)}"


def _sizes(study: Study, clear: Sequence[Contrast], of: int) -> str:
    """`4.7 ± 0.2 nats (BCE) and 1.7 ± 0.1 nats (MSE, not certified)`; of many a range."""
    doubtful = [not is_certified(study, contrast) for contrast in clear]
    if len(clear) <= MOST_PLACES:
        return listed(
            size(contrast) + _aside(contrast.place * (of > 1), DOUBT * is_doubtful)
            for contrast, is_doubtful in zip(clear, doubtful, strict=True)
        )
    least, *_, most = sorted(clear, key=lambda c: abs(c.estimate.mean))
    places = f"{len(clear)} of {of} places" * (len(clear) < of)
    doubt = f"{sum(doubtful)} of them {DOUBT}" * any(doubtful)
    return f"{size(least)} to {size(most)}{_aside(places, doubt)}"


def _aside(*words: str) -> str:
    given = ", ".join(filter(None, words))
    return f" ({given})" if given else ""
