"""Executors of each kind, among them a Ray cluster on this machine."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import worker_functions as work

from ablations.run.executors import Executor, Local, Serial

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

    path = os.pathsep.join(filter(None, sys.path))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ENVIRONMENT | {"PYTHONPATH": path}).items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": HEALTH}
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


@pytest.fixture(params=[*EXECUTORS, pytest.param("ray", marks=pytest.mark.ray)])
def executor(request: pytest.FixtureRequest) -> Any:
    """Each kind."""
    return EXECUTORS.get(request.param) or request.getfixturevalue("nodes")


@pytest.fixture(params=["one worker", "two workers", pytest.param("ray", marks=pytest.mark.ray)])
def workers(request: pytest.FixtureRequest) -> Any:
    """Each kind that has processes of its own."""
    return EXECUTORS.get(request.param) or request.getfixturevalue("nodes")
