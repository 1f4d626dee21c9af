import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hvae.config import RunConfig, as_dict, digest, parameter_count
from hvae.records.provenance import code
from hvae.records.store import Record

sys.path.insert(0, str(Path(__file__).parent))  # spawned workers import `worker_functions`


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """A whole record of a run by the sources at hand, its scoreboard NLL as given."""

    def make(run: RunConfig, study: str = "quick", nll: float | None = 90.0) -> Record:
        return Record(
            study=study,
            digest=digest(run),
            config=as_dict(run),
            status="diverged" if nll is None else "finished",
            data_sha256="0" * 64,
            code=code(),
            environment={},
            parameters=parameter_count(run.model),
            flops_per_image=1,
            history=[{"epoch": 1, "loss": 1.0}],
            metrics={"scoreboard_nll_nats": nll},
            throughput={},
            seconds={"train": 1.0, "evaluate": 1.0},
        )

    return make
