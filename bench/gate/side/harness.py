"""What the gate measures, by name, and the files that do it. Imports no torch.

A *side* of a comparison is a folder with `hvae/` as one revision has it and files alike in both,
those of HEAD that are named in `FILES`: same measuring code, different measured code.
"""

# Counted and timed.
BENCHMARKS = ("train_step", "train_pack", "train_compiled", "pixel_sums", "evaluation")
# Followed number by number.
TRAININGS = (
    "documented",
    "elbo",
    "iwae",
    "compiled",
    "compiled_elbo",
    "plain_evaluation",
    "compiled_evaluation",
)
OPERATORS = "operators."  # begins the metric of an operator, which counts its calls
ADVISORY = ("python_calls",)  # differs between versions of Python and of torch: reported only

MEASURED = "hvae"
FILES = tuple(
    f"bench/{name}.py"
    for name in (
        *("__init__", "gate/__init__", "gate/side/__init__", "gate/side/harness"),
        *(f"gate/side/{part}" for part in ("subject", "workloads", "counts", "numerics", "worker")),
        *(f"throughput/{part}" for part in ("__init__", "clock", "recorder")),
    )
)
CONSTRAINTS = "constraints.txt"
