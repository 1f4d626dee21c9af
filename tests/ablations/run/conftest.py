"""Executors of each kind, among them a Ray cluster on this machine."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import worker_functions as work

from ablations.run.executors import Executor, Local, Serial
from hvae.records.store import Store

EXECUTORS: dict[str, Executor] = {
    "serial": Serial(work.nothing),
    "one worker": Local(1, work.nothing),
    "two workers": Local(2, work.nothing),
}
HEALTH = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}  # not half a minute


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A head without cores and two nodes of one core each, which import what tests import."""
    from ablations.run.cluster import ENVIRONMENT

    path = work.search_path()
    with pytest.MonkeyPatch.context() as patch:
        # Workers as urgent as the tests beside them: Ray's own would wait for these.
        for name, value in (ENVIRONMENT | {"PYTHONPATH": path, "RAY_worker_niceness": "0"}).items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "_system_config": HEALTH, "no_monitor": True}
        head |= {"include_dashboard": False, "include_log_monitor": False}
        made = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            made.add_node(num_cpus=1)
        yield made
        made.shutdown()


@pytest.fixture(scope="session")
def nodes(cluster: Any) -> Iterator[Any]:
    """The cluster, joined."""
    from ablations.run.cluster import joined

    with joined(cluster.address, 2, "auto") as place:
        yield replace(place, prepare=work.nothing)


def _of_kind(request: pytest.FixtureRequest) -> Any:
    return EXECUTORS.get(request.param) or request.getfixturevalue("nodes")


RAY = pytest.param("ray", marks=pytest.mark.ray)
executor = pytest.fixture(params=[*EXECUTORS, RAY], name="executor")(_of_kind)  # each kind
# Each kind that has processes of its own.
workers = pytest.fixture(params=["one worker", "two workers", RAY], name="workers")(_of_kind)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty folder of a study."""
    opened = Store(tmp_path / "quick")
    opened.open_for_writing()
    return opened
