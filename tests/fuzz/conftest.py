"""How many inputs are tried, with which seed, and what came of them.

By default a few hundred, the same each time; with `--run-slow` tens of thousands from a seed that
is printed, and that HVAE_FUZZ_SEED repeats.
"""

import os
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

TIMES = 44  # as many inputs where slow tests run
SEED = int(os.environ.get("HVAE_FUZZ_SEED") or secrets.randbelow(2**32))
OUTCOMES: dict[str, Counter[str]] = {}  # by kind of input

Check = Callable[[Any], str]  # what came of an input, in a word
Fuzz = Callable[[str, int, SearchStrategy[Any], Check], None]


@pytest.fixture
def fuzz(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Fuzz:
    """Check inputs of a kind: so many, or `TIMES` as many. Neither is anything trained to predict
    a time, nor a page opened, nor are the sources read anew for every input."""
    from hvae.records.sources import sources_sha256

    is_slow, sources = request.config.getoption("--run-slow"), sources_sha256()
    monkeypatch.setattr("ablations.prediction._training_seconds", lambda run: 1.0)
    monkeypatch.setattr("ablations.run.launch.sources_sha256", lambda: sources)
    monkeypatch.setattr("click.launch", lambda *given: 0)

    def run(kind: str, count: int, inputs: SearchStrategy[Any], check: Check) -> None:
        outcomes = OUTCOMES.setdefault(kind, Counter())

        def counted(given_input: Any) -> None:
            outcomes["inputs"] += 1
            outcomes[check(given_input)] += 1

        tried = settings(
            max_examples=count * (TIMES if is_slow else 1),
            deadline=None,
            database=None,
            derandomize=not is_slow,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )(given(given_input=inputs)(counted))
        (seed(SEED)(tried) if is_slow else tried)()

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not OUTCOMES or not terminalreporter.config.getoption("--run-slow"):
        return
    terminalreporter.section(f"inputs, HVAE_FUZZ_SEED={SEED}")
    for kind, outcomes in OUTCOMES.items():
        words = ", ".join(f"{n} {word}" for word, n in sorted(outcomes.items()) if word != "inputs")
        terminalreporter.write_line(f"{kind:<16}{outcomes['inputs']:>7}: {words}")
    total = sum(outcomes["inputs"] for outcomes in OUTCOMES.values())
    terminalreporter.write_line(f"{'all':<16}{total:>7}")
