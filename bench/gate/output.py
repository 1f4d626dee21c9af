"""The gate's verdict for people: plain lines, and Markdown for a pull request."""

from typing import Any

from bench.gate.gate import Outcome
from bench.gate.statistics import FAIL, INCONCLUSIVE, PASS
from bench.gate.tiers import BROKEN, IDENTITY, NOTE, WAIVED, Finding, Tier
from bench.gate.waivers import FILE

VERDICTS = {
    PASS: "PASS: HEAD is not slower, not heavier, and computes the same",
    FAIL: "FAIL: HEAD is slower, heavier or computes something else",
    IDENTITY: "PASS: what is measured is the same code",
    BROKEN: "FAIL: HEAD cannot be measured",
    INCONCLUSIVE: "INCONCLUSIVE: this machine is too noisy now to tell; run it again",
}
NOTES_AT_MOST = 12  # of a tier, in the plain answer: the rest is in the JSON


def lines(outcome: Outcome) -> list[str]:
    """The answer: what was compared, each tier, what would accept it, the verdict."""
    answer = _compared(outcome)
    for tier in outcome.tiers:
        answer.append(f"{tier.name:<9} {tier.status.upper():<6} {tier.summary}")
        answer += [f"{'':<10}{text}" for text in _shown(tier)]
    if offered := _offered(outcome):
        answer += [f"to accept what failed, commit to {FILE}:", *(f"  {o}" for o in offered)]
    answer += [f"compared   {path}" for path in outcome.files]
    return [*answer, f"{_verdict(outcome)} ({outcome.seconds:.0f} s)"]


def markdown(outcome: Outcome) -> str:
    """The answer as the summary of a pull request."""
    rows = [f"| {t.name} | {t.status} | {_cell(t.summary)} |" for t in outcome.tiers]
    parts = [
        f"### Performance gate: {outcome.status}",
        *_compared(outcome),
        "\n".join(["| tier | verdict | |", "|---|---|---|", *rows]),
    ]
    for tier in outcome.tiers:
        if tier.findings:
            parts.append("\n".join(f"- {f.status}: `{f.text}`" for f in tier.findings))
    if offered := _offered(outcome):
        parts.append("\n".join([f"To accept, commit to `{FILE}`:", "```", *offered, "```"]))
    return "\n\n".join([*parts, f"**{_verdict(outcome)}**"]) + "\n"


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """The whole answer, ready for JSON."""
    return {
        "verdict": outcome.status,
        "exit_code": outcome.exit_code,
        "seconds": round(outcome.seconds, 1),
        "device": outcome.device_name,
        "revisions": outcome.revisions._asdict() if outcome.revisions else None,
        "tiers": [
            {**tier._asdict(), "findings": [finding._asdict() for finding in tier.findings]}
            for tier in outcome.tiers
        ],
        "files": [str(path) for path in outcome.files],
    }


def _verdict(outcome: Outcome) -> str:
    decisive = [tier.name for tier in outcome.tiers if tier.name in (IDENTITY, BROKEN)]
    return VERDICTS[(*decisive, outcome.status)[0]]


def _compared(outcome: Outcome) -> list[str]:
    """A line that says what was compared; none where it was read from files."""
    if (found := outcome.revisions) is None:
        return []
    head = f"{found.head[:12]}{' with uncommitted changes' if found.is_dirty else ''}"
    return [f"base {found.base[:12]}, head {head}, on {outcome.device_name}"]


def _shown(tier: Tier) -> list[str]:
    """What decides first; of many notes only some."""
    deciding = [f for f in tier.findings if f.status != NOTE]
    notes = [f for f in tier.findings if f.status == NOTE]
    shown = [_marked(finding) for finding in (*deciding, *notes[:NOTES_AT_MOST])]
    left_out = len(notes) - NOTES_AT_MOST
    return [*shown, f"and {left_out} more changes; see --json"] if left_out > 0 else shown


def _marked(finding: Finding) -> str:
    is_marked = finding.status in (FAIL, INCONCLUSIVE, WAIVED)
    return f"{finding.status.upper()} {finding.text}" if is_marked else finding.text


def _offered(outcome: Outcome) -> list[str]:
    return [
        finding.waiver
        for tier in outcome.tiers
        for finding in tier.findings
        if finding.status == FAIL and finding.waiver
    ]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
