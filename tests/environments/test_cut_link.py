"""A node whose cable is pulled: two network namespaces as machines, the link between them cut."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import worker_functions as work

from ablations.run.cluster import ENVIRONMENT

pytestmark = [pytest.mark.slow, pytest.mark.ray]
HEAD, NODE, PORT = "10.77.0.1", "10.77.0.2", 6399
MOST_SECONDS = 90.0  # ray itself takes seven minutes
SETUP = f"""
netns add hvae-head
netns add hvae-node
link add hvae-a netns hvae-head type veth peer name hvae-b netns hvae-node
-n hvae-head addr add {HEAD}/24 dev hvae-a
-n hvae-node addr add {NODE}/24 dev hvae-b
-n hvae-head link set hvae-a up
-n hvae-node link set hvae-b up
-n hvae-head link set lo up
-n hvae-node link set lo up
"""
LAUNCHER = """
import sys
from dataclasses import replace
from pathlib import Path
import worker_functions as work
from ablations.run.cluster import joined

say = lambda task, done, total: print("held", flush=True)
with joined(sys.argv[1], 1, "cpu") as place:
    (outcome,) = replace(place, prepare=work.nothing).map(work.hold, [Path(sys.argv[2])], say)
    print(type(outcome.error).__name__, flush=True)
"""


def ip(words: str) -> bool:
    return subprocess.run(["ip", *words.split()], capture_output=True).returncode == 0


@pytest.fixture
def machines() -> Iterator[None]:
    """Two, joined by a cable."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs root and ip: iproute2")
    try:
        if not all(map(ip, SETUP.strip().splitlines())):
            pytest.skip("needs to make network namespaces")
        yield
    finally:
        ip("netns del hvae-head")
        ip("netns del hvae-node")


def started(machine: str, *command: str) -> subprocess.Popen[str]:
    """On a machine, with Python's programs."""
    path = work.search_path()
    return subprocess.Popen(
        ["ip", "netns", "exec", machine, sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | ENVIRONMENT | {"PYTHONPATH": path},
    )


def ray(machine: str, *options: str) -> subprocess.Popen[str]:
    code = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
    return started(machine, "-c", code, "start", "--block", *options)


def test_a_cut_link_is_noticed_within_a_minute_and_a_half(machines: None, tmp_path: Path) -> None:
    folder = tempfile.mkdtemp(prefix="ray-")  # short: sockets lie in it
    of_head = ("--head", f"--port={PORT}", f"--node-ip-address={HEAD}", "--num-cpus=0")
    head = ray("hvae-head", *of_head, "--include-dashboard=false", f"--temp-dir={folder}")
    node = launcher = None
    try:
        address = f"{HEAD}:{PORT}"
        assert work.eventually(lambda: answers(address))
        launcher = started("hvae-head", "-c", LAUNCHER, address, str(tmp_path / "held"))
        assert launcher.stdout is not None
        assert launcher.stdout.readline().endswith("waiting for one\n")  # no node is there yet
        node = ray("hvae-node", f"--address={address}", f"--node-ip-address={NODE}", "--num-cpus=1")
        assert launcher.stdout.readline() == "held\n"
        assert ip("-n hvae-head link set hvae-a down")
        cut = time.monotonic()
        assert launcher.stdout.readline() == "NodeDied\n"
        sys.stderr.write(f"\nnoticed after {time.monotonic() - cut:.0f} s\n")
        assert time.monotonic() - cut < MOST_SECONDS
    finally:
        for process in filter(None, (launcher, node, head)):
            process.terminate()
            process.communicate(timeout=work.LONG_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def answers(address: str) -> bool:
    """Whether the head can be joined."""
    code = f"import socket; socket.create_connection(('{HEAD}', {PORT}), 1)"
    asked = started("hvae-head", "-c", code)
    asked.communicate()
    return asked.returncode == 0
