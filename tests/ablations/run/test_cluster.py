"""A cluster that lacks what is asked of it, loses workers and nodes, or its launcher. What it
shares with other executors is tested in test_executors.py."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import worker_functions as work
from builders import design

from ablations.grid import Pack
from ablations.run.cluster import ENVIRONMENT, Ray, _device, _lost, joined
from ablations.run.executors import NodeDied, Outcome
from ablations.run.launch import Launch, require_there
from ablations.run.pack import Conditions, Task, run_pack
from hvae.config import DataConfig
from hvae.processes import WorkerDied, WorkerFailed
from hvae.records.sources import SourcesChanged

needs_ray = pytest.mark.ray
LAUNCHER = """
import signal, sys
from pathlib import Path
from dataclasses import replace
import worker_functions as work
from ablations.run.cluster import joined

signal.signal(signal.SIGINT, signal.default_int_handler)
tasks = [Path(name) for name in sys.argv[2:]]
say = lambda task, done, total: print("held", flush=True)
try:
    with joined(sys.argv[1], 2, "cpu") as place:
        list(replace(place, prepare=work.nothing).map(work.hold, tasks, say))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

LACKS_MEMORY = """
from dataclasses import replace
import worker_functions as work
from ray.cluster_utils import Cluster
from ablations.run.cluster import joined

head = {"num_cpus": 1, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=head)
with joined(cluster.address, 1, "cpu") as place:
    for outcome in replace(place, prepare=work.nothing).map(work.take_memory, [6 * 10**9, 10]):
        print(outcome.result, outcome.error, flush=True)
cluster.shutdown()
"""


def refuse(address: str | None, told: str) -> None:
    with pytest.raises(ValueError, match=told), joined(address, 1, "cpu"):
        pass


def test_an_address_is_needed_and_no_cluster_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    refuse(None, r"^address: none is given; allowed: .* or \$RAY_ADDRESS set$")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    refuse(None, "^address: 'auto' is not allowed; allowed: HOST:PORT$")


def test_where_nothing_answers_is_said_at_once() -> None:
    refuse("127.0.0.1:9", "^address: nothing answers at '127.0.0.1:9': Connection refused$")
    refuse("127.0.0.1:99999", "^address: nothing answers at '127.0.0.1:99999': ")


def test_without_ray_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr("ablations.run.cluster._require_listener", lambda address: None)
    refuse("127.0.0.1:9", r"^executor: 'ray' is not installed; .*`pip install 'hvae\[ray\]'`$")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"executor": "ray"}, "^workers: none are told; "),
        ({"workers": 10**30}, "^workers: 10+ is not allowed; allowed: integers from 1 to 10,000$"),
        ({"address": "a:1"}, "^address: 'a:1' has no meaning with executor 'local'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Launch(**options)


@needs_ray
def test_a_gpu_that_no_node_has_is_refused(nodes: Any, cluster: Any) -> None:
    told = f"^device: 'cuda' is on no node of {cluster.address}; allowed: auto, cpu$"
    with pytest.raises(ValueError, match=told):
        _device("cuda", cluster.address)


@needs_ray
def test_what_a_node_lacks_is_said_as_of_this_machine(nodes: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte is missing; get it with"):
        nodes.ask(partial(require_there, [DataConfig()], tmp_path / "nowhere"), "cpu")


@needs_ray
def test_a_cluster_that_does_not_let_in_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def refuse(*_: Any, **__: Any) -> None:
        raise ray.exceptions.RayError("no token was found\nand more")

    monkeypatch.setattr("ablations.run.cluster._require_listener", lambda address: None)
    monkeypatch.setattr(ray, "init", refuse)
    told = "^address: no Ray cluster to join at 'here:1': no token was found$"
    with pytest.raises(ValueError, match=told), joined("here:1", 1, "cpu"):
        pass


def test_what_fails_on_a_node_that_was_asked_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: Outcome[str, str] = Outcome("asked", error=ModuleNotFoundError("No module named 'x'"))
    monkeypatch.setattr(Ray, "map", lambda self, function, tasks: iter([failed]))
    with pytest.raises(WorkerFailed, match=r"^ModuleNotFoundError: No module named 'x'$"):
        Ray(1, "cpu", None).ask(str, "asked")


def test_where_a_node_that_was_asked_is_gone_another_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone: Outcome[str, str] = Outcome("asked", error=NodeDied("its node left the cluster"))
    outcomes = [gone, gone, Outcome("asked", "cpu"), *4 * [gone]]
    monkeypatch.setattr(Ray, "map", lambda self, function, tasks: iter([outcomes.pop(0)]))
    place = Ray(1, "cpu", None)
    assert place.ask(str, "asked") == "cpu"
    with pytest.raises(ValueError, match=r"^executor: no node of the cluster answers: .* left"):
        place.ask(str, "asked")
    assert not outcomes


@needs_ray
def test_sources_other_than_the_launchers_make_no_record(nodes: Any) -> None:
    (run,) = design({"depth": (1,), "latent": (2,)}, seeds=1).runs
    other = Conditions(Path(), "cpu", {"sources_sha256": "cd" * 32})
    (outcome,) = nodes.map(run_pack, [Task(Pack("quick", (run,)), other, {})])
    assert isinstance(outcome.error, SourcesChanged)


@needs_ray
def test_a_task_that_lacks_memory_is_a_worker_that_died() -> None:
    from ray.exceptions import OutOfMemoryError

    lost = _lost(OutOfMemoryError("task was killed"))
    assert type(lost) is WorkerDied
    assert str(lost) == "a worker died: its node ran out of memory"


@needs_ray
@pytest.mark.slow
def test_a_task_that_takes_too_much_memory_is_lost_alone() -> None:
    """The node's limit is 2 GB above what is in use, and one task asks for 6 GB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    bytes_ = {
        name: 1024 * int(size.split()[0]) for name, size in (line.split(":") for line in lines)
    }
    total, free = bytes_["MemTotal"], bytes_["MemAvailable"]
    if free < 9e9:
        pytest.skip("needs 9 GB of memory")
    limits = {
        "RAY_memory_usage_threshold": str((total - free + 2e9) / total),
        "RAY_memory_monitor_refresh_ms": "100",
        "PYTHONPATH": work.search_path(),
    }
    command = [sys.executable, "-c", LACKS_MEMORY]
    env = os.environ | ENVIRONMENT | limits
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    said = ["None a worker died: its node ran out of memory", "10 None"]
    assert done.stdout.splitlines() == said, done.stderr


@needs_ray
def test_a_node_that_is_gone_takes_its_task_alone(nodes: Any, cluster: Any, tmp_path: Path) -> None:
    """The test adds a node for it, and holds the two others meanwhile."""
    tasks = [tmp_path / name for name in "abc"]
    place, node = replace(nodes, workers=3), cluster.add_node(num_cpus=1)
    heard: list[Path] = []

    def hear(task: Path, done: int, total: int) -> None:
        heard.append(task)
        if len(heard) == 3:
            cluster.remove_node(node, allow_graceful=False)

    with place.open(3) as calls:
        outcome = next(calls.map(work.hold, tasks, hear))
        assert isinstance(outcome.error, NodeDied)
        assert sorted(heard) == tasks
        others = [task for task in tasks if task != outcome.task]
        assert all(map(work.is_held, others))
    assert work.eventually(lambda: not any(map(work.is_held, tasks)))


@needs_ray
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_task_outlives_its_launcher(cluster: Any, tmp_path: Path, number: int) -> None:
    held = [tmp_path / "first", tmp_path / "second"]
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, cluster.address, *map(str, held)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": work.search_path()},
        start_new_session=True,
    )
    assert [launcher.stdout.readline() for _ in held] == ["held\n"] * 2
    os.killpg(launcher.pid, number)
    said, complaints = launcher.communicate(timeout=work.LONG_SECONDS)
    assert said == ("interrupted\n" if number == signal.SIGINT else "")
    assert complaints == ""
    assert work.eventually(lambda: not any(map(work.is_held, held)))
