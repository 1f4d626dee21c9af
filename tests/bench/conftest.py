"""A small MNIST in torchvision's layout; a scratch checkout for the gate."""

import gc
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from repositories import git

from bench.gate.side import harness
from bench.gate.side.harness import BENCHMARKS, CONSTRAINTS, FILES, TRAININGS
from bench.ladder.rungs import Source

MakeSource = Callable[[int], Source]


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture(scope="module")
def counted_apart() -> Iterator[None]:
    """A count collects garbage three times, which takes a second among all modules of tests."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def make_source(tmp_path_factory: pytest.TempPathFactory) -> MakeSource:
    """A folder with so many random training images; white pixels and black ones among them."""

    def make(images: int) -> Source:
        folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
        raw = folder / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for part, count in (("train", images), ("t10k", 3)):
            grey = random.integers(-200, 456, size=(count, 28, 28)).clip(0, 255)
            write_idx(raw / f"{part}-images-idx3-ubyte", grey.astype(np.uint8))
            labels = random.integers(10, size=count, dtype=np.uint8)
            write_idx(raw / f"{part}-labels-idx1-ubyte", labels)
        return Source("mnist", folder, images)

    return make


STUB_WORKER = """
import sys, time
from multiprocessing.connection import Connection
from hvae import stub

orders = Connection(int(sys.argv[1]))
while True:
    order = orders.recv()
    if order["do"] == "exact":
        time.sleep(stub.SLEEP)
        answer = {"counts": stub.COUNTS, "numerics": stub.NUMERICS}
    elif order["do"] == "build":
        answer = dict.fromkeys(order["benchmarks"], 0.05)
    else:
        seconds = stub.SECONDS[order["benchmark"]] * order["calls"]
        answer = {"busy": seconds, "wall": seconds}
    orders.send(answer)
"""


class Scratch:
    """A git checkout whose worker answers at once with what `hvae/stub.py` says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stub: dict[str, object] = {
            "SLEEP": 0,
            "COUNTS": {name: {"flops": 100, "operators.mul": 3} for name in BENCHMARKS},
            "NUMERICS": {
                name: {"values": {"loss": 1.5}, "parameters_sha256": "0"} for name in TRAININGS
            },
            "SECONDS": dict.fromkeys(BENCHMARKS, 1.0),
        }
        for name in ("hvae/__init__.py", *FILES, CONSTRAINTS):
            self.write(name, "")
        self.write("bench/gate/side/harness.py", Path(harness.__file__).read_text())
        self.write("bench/gate/side/worker.py", STUB_WORKER)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()

    def write(self, name: str, content: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def commit(self, **changes: object) -> str:
        """Change what the worker says, commit everything, return the commit."""
        self.stub |= changes
        content = "".join(f"{name} = {value!r}\n" for name, value in self.stub.items())
        self.write("hvae/stub.py", content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=change")
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        return git(self.root, *arguments)

    def worktrees(self) -> int:
        return len(self.git("worktree", "list").splitlines())


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "checkout")
