"""A comparison in words: three sentences, and what a reader must know before believing them."""

from collections.abc import Iterable, Sequence

from hvae.config import RunConfig
from hvae.settings import value
from report.comparison.differences import TIMED, UNKNOWN, Comparison
from report.data.contrasts import Contrast, Family
from report.data.factors import Factor, listed, words
from report.data.statistics import FEWEST_SEEDS
from report.render.numbers import counted, p_text, rounded, shown

ORIGINS = {"code_sources_sha256": "sources", "code_git_commit": "commit", "data_sha256": "data"}
SUFFIX = ", seconds"  # of a cost


def sides(comparison: Comparison) -> list[str]:
    """`A: results/quick, commit 861982d475, AMD EPYC, engine compiled`, and B."""
    facts = {fact.name: fact for fact in comparison.facts}
    said = []
    for side, store in zip("ab", comparison.pairing.stores, strict=True):
        held = {n: str(getattr(facts[n], side)) for n in facts}
        commits = held["code_git_commit"]
        commit = commits if commits == UNKNOWN else ", ".join(c[:10] for c in commits.split(", "))
        changed = " with changes" if "True" in held["code_git_dirty"] else ""
        engine = held.get("engine", UNKNOWN)
        parts = (f"commit {commit}{changed}", held["device_name"], f"engine {engine}")
        said.append(f"{side.upper()}: {store.folder}, {', '.join(parts)}")
    return said


def answer(comparison: Comparison) -> list[str]:
    """What changed in nats, what in seconds, and what the sides have in common."""
    return [_nats(comparison), _seconds(comparison), _origins(comparison)]


def _nats(comparison: Comparison) -> str:
    pairs = len(comparison.pairing.pairs)
    whole = f"{comparison.identical} of {counted(pairs, 'pair')}"
    same = f"all metrics that both have are identical in {whole}"
    if comparison.is_unchanged:
        return f"A{same[1:]}, bit for bit."
    family = next(iter(comparison.families.values()), ())
    said = _change(family) if family else "No metric of A and B can be compared"
    return f"{said}; {same}."


def _change(family: Family) -> str:
    """What a family of cells shows, with the largest difference that may be stated."""
    name, cells = family[0].metric.label, counted(len(family), "cell")
    n = max(contrast.estimate.n for contrast in family)
    if all(contrast.is_equal for contrast in family):
        return f"The {name} is the same on every seed in {cells}"
    clear = [contrast for contrast in family if contrast.is_clear]
    largest = max(clear or family, key=lambda c: (c.estimate.n > 0, abs(c.estimate.mean)))
    size = f"by most at {place(largest)}: {difference(largest)}"
    if n < FEWEST_SEEDS:
        few = f"n = {n}, and nothing is claimed from fewer than {FEWEST_SEEDS} paired seeds"
        return f"No finding on the {name} ({few}); it differs {size}"
    if not clear:
        enough = counted(sum(c.estimate.n >= FEWEST_SEEDS for c in family), "cell")
        return f"No change of the {name} is established in any of {enough}; it differs {size}"
    lower = sum(contrast.estimate.mean < 0 for contrast in clear)
    parts = [(lower, "lower"), (len(clear) - lower, "higher")]
    counts = " and ".join(f"{word} in {count}" for count, word in parts if count)
    return f"The {name} is {counts} of {cells}, {size}"


def difference(contrast: Contrast) -> str:
    """`−0.31 ± 0.12 nats (n = 3, Holm p = 0.02)`."""
    known = contrast.estimate
    test = f", Holm p {p_text(contrast.holm_p)}" if known.n > 1 else ""
    size = f"{shown(known.mean, known.half_width)} {contrast.metric.unit}".strip()
    return f"{size} (n = {known.n}{test})"


def place(contrast: Contrast) -> str:
    """The cell of a contrast: `depth 2, BCE`."""
    return contrast.place or "the one cell"


def _seconds(comparison: Comparison) -> str:
    if apart := comparison.differs(TIMED):
        told = "; ".join(f"{f.label} {_brief(f.a)} → {_brief(f.b)}" for f in apart)
        return f"Seconds cannot be compared, for they depend on what differs: {told}."
    costs = {r.what.removesuffix(SUFFIX): r for r in comparison.ratios if r.what.endswith(SUFFIX)}
    if not costs:
        return "No seconds are known."
    told = ", ".join(
        f"{what} {rounded(r.median, 2)} (quartiles {rounded(r.lower, 2)} to {rounded(r.upper, 2)})"
        for what, r in costs.items()
    )
    return f"Seconds of B over those of A: {told}."


def _brief(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def _origins(comparison: Comparison) -> str:
    known = [f for f in comparison.facts if f.name in ORIGINS and UNKNOWN not in (f.a, f.b)]
    other = [ORIGINS[fact.name] for fact in known if fact.differing]
    same = [ORIGINS[fact.name] for fact in known if not fact.differing]
    changes = comparison.pairing.changes
    said = [f"differ in {listed(changes + other)}"] if changes or other else []
    if not changes or same:
        said.append(f"have the same {listed(([] if changes else ['settings']) + same)}")
    return f"A and B {' and '.join(said)}."


def notices(comparison: Comparison) -> list[str]:
    """Runs without partner, pairs without numbers, metrics that cannot be compared, one seed."""
    pairing, said = comparison.pairing, []
    for side, runs in zip("AB", pairing.alone, strict=True):
        if runs:
            named = "; ".join(cells_in_words(runs, pairing.factors))
            said.append(f"{counted(len(runs), 'run')} of {side} without a partner: {named}.")
    if comparison.without:
        count = counted(comparison.without, "pair")
        said.append(f"{count} of {len(pairing.pairs)}: diverged on a side, left out of the means.")
    if comparison.incomparable:
        named = ", ".join(metric.heading for metric in comparison.incomparable)
        said.append(f"Not compared, for it means something else on the other side: {named}.")
    families = comparison.families.values()
    if families and max(c.estimate.n for family in families for c in family) == 1:
        said.append("One paired seed a cell: differences without intervals.")
    return said


def cells_in_words(runs: Iterable[RunConfig], factors: Sequence[Factor]) -> list[str]:
    """`depth 2, BCE (seed 0, 1)` for each cell of runs."""
    seeds: dict[str, list[int]] = {}
    for run in runs:
        name = words(factors, [value(run, factor.name) for factor in factors])
        seeds.setdefault(name or "the one cell", []).append(run.train.seed)
    return [f"{name} (seed {', '.join(map(str, sorted(seeds[name])))})" for name in sorted(seeds)]
