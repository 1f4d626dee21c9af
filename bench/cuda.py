"""The whole CUDA path proven in one command, on a machine with an NVIDIA GPU and MNIST:
`python -m bench.cuda FOLDER [CHECK…]`. Each check is a command that anybody may give; what it
printed stays in FOLDER, and a table says which held and what it took.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

PYTHON = (sys.executable, "-m")
HVAE = (*PYTHON, "hvae")
CHECKS = {  # each with what it proves
    # captured = eager, GPU = CPU, exact counts
    "tests": (*PYTHON, "pytest", "-q", "-m", "cuda", "tests/hvae", "tests/bench"),
    "bench": (*HVAE, "bench", "--device", "cuda", "--rounds", "3"),  # the ladder
    "kernels": (*PYTHON, "bench.ladder.kernels"),  # what a captured step consists of
    "gate": (*HVAE, "gate", "--aa", "--device", "cuda"),  # counts and times on the device
    "quick": (*HVAE, "run", "quick", "--device", "cuda"),  # from data to report
    "standard": (*HVAE, "run", "standard", "--device", "cuda"),  # the documented grid, 200 runs
}


class Result(NamedTuple):
    """How a check ended; `said` is the last line that it printed."""

    name: str
    exit_code: int
    seconds: float
    said: str

    @property
    def line(self) -> str:
        verdict = "held" if self.exit_code == 0 else f"exit {self.exit_code}"
        return f"{self.name:<10}{verdict:<9}{self.seconds:>7.1f} s  {self.said}"


def main(folder: Path, names: list[str]) -> int:
    """Carry out the checks; the exit code is 1 where one did not hold, 2 where there is none of
    that name, no GPU, or a folder that has results already, which nothing would measure again."""
    if unknown := set(names) - set(CHECKS):
        sys.stderr.write(f"CHECK: {min(unknown)!r} is not known; allowed: {', '.join(CHECKS)}\n")
        return 2
    if not torch.cuda.is_available():
        sys.stderr.write("device: no NVIDIA GPU that torch finds; allowed: a machine with one\n")
        return 2
    if (folder / "results").exists():
        sys.stderr.write(f"FOLDER: {folder} holds results already; allowed: another\n")
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for name in names or CHECKS:
        results.append(check(name, folder))
        sys.stderr.write(f"{results[-1].line}\n")
    lines = [*(result.line for result in results), *seconds_of_runs(folder)]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(any(result.exit_code for result in results))


def check(name: str, folder: Path) -> Result:
    """One check, what it prints kept in a file of its name."""
    log = folder / f"{name}.log"
    command = CHECKS[name]
    options = ("--results", str(folder / "results")) if command[: len(HVAE)] == HVAE else ()
    started = time.perf_counter()
    with log.open("w") as file:
        code = subprocess.call((*command, *options), stdout=file, stderr=subprocess.STDOUT)
    lines = log.read_text(errors="replace").strip().splitlines() or [""]
    return Result(name, code, time.perf_counter() - started, lines[-1])


def seconds_of_runs(folder: Path) -> Iterator[str]:
    """What the records of each study say that training and evaluation took."""
    for study in sorted((folder / "results").glob("*/runs")):
        records = [json.loads(path.read_bytes()) for path in study.glob("*.json")]
        parts = [record["seconds"] for record in records if "seconds" in record]
        spent = {part: sum(each[part] for each in parts) for part in ("train", "evaluate")}
        yield (
            f"{study.parent.name}: {len(parts)} runs, {spent['train']:.1f} s of training, "
            f"{spent['evaluate']:.1f} s of evaluation"
        )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/cuda"), sys.argv[2:]))
