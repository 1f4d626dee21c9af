"""What the gate measures, by name, and the files that do it. Imports no torch.

A *side* of a comparison is a folder with `hvae/` as one revision has it and, for both sides alike,
the harness of HEAD in `bench/gate/side/`: same measuring code, different measured code.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

BENCHMARKS = ("train_step", "train_pack", "train_compiled", "evaluation")  # counted and timed
# Followed number by number.
TRAININGS = ("documented", "elbo", "iwae", "compiled", "compiled_elbo", "evaluation")
OPERATORS = "operators."  # begins the metric of an operator, which counts its calls
ADVISORY = ("python_calls",)  # differs between versions of Python and of torch: reported only

MEASURED = "hvae"
FILES = tuple(
    f"bench/{name}.py"
    for name in (
        *("__init__", "gate/__init__", "gate/side/__init__", "gate/side/harness"),
        *(f"gate/side/{part}" for part in ("subject", "workloads", "counts", "numerics", "worker")),
    )
)
CONSTRAINTS = "constraints.txt"


def sources_digest(tree: Path, judges: Sequence[str] = ()) -> str:
    """Hex digest of all that decides a measurement: measured sources, harness, constraints; and
    of the files named in `judges`."""
    paths = [*tree.glob(f"{MEASURED}/**/*.py"), *tree.glob(f"{MEASURED}/**/*.[ch]")]
    sources = sorted(path.relative_to(tree).as_posix() for path in paths)
    sha = hashlib.sha256()
    for name in (*sources, *FILES, CONSTRAINTS, *judges):
        path = tree / name
        content = path.read_bytes() if path.is_file() else b"missing"
        sha.update(f"{name}\0{len(content)}\0".encode() + content)
    return sha.hexdigest()
