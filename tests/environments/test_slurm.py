"""The two scripts of `ablations/README.md` for Slurm, as printed, on two nodes of this machine."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import worker_functions as work

from hvae.records.store import Store

ROOT = Path(__file__).parents[2]
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
pytestmark = [pytest.mark.slow, pytest.mark.ray]
CONFIG = """
ClusterName=two
SlurmctldHost={host}
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n.pid
SlurmctldPidFile={folder}/controller.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} Port=17001 CPUs=16
NodeName=n2 NodeHostname={host} Port=17002 CPUs=16
PartitionName=all Nodes=n1,n2 Default=YES State=UP
"""
STUDY = """
seeds = 6
[set]
depth = 1
latent = 2
"data.name" = "digits"
"train.epochs" = 5
"evaluation.importance_samples" = 10
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A controller and two nodes of 16 processors, so they say."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing)}: slurmctld, slurmd, slurm-client, munge")
    folder = tmp_path / "slurm"
    for name in ("state", "n1", "n2"):
        (folder / name).mkdir(parents=True)
    config = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    config.write_text(CONFIG.format(host=host, folder=folder))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    monkeypatch.setenv("SLURM_CONF", str(config))
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge")
    subprocess.run(["runuser", "-u", "munge", "--", "munged"], check=False)  # or it runs
    subprocess.run(["slurmctld"], check=True)
    for node in ("n1", "n2"):
        subprocess.run(["slurmd", "-N", node], check=True)
    yield
    for words in ("scancel --user=root", "scontrol shutdown"):
        subprocess.run(words.split())
        time.sleep(2)


def scripts() -> dict[str, str]:
    """By name."""
    blocks = re.findall(
        r"```bash\n(#!/bin/bash\n# (\S+)\n.*?)```",
        (ROOT / "ablations" / "README.md").read_text(),
        re.S,
    )
    return {name: text for text, name in blocks}


def is_done() -> bool:
    """Whether no job waits or runs; a controller that is busy does not say."""
    asked = subprocess.run(["squeue", "-h"], capture_output=True, text=True)
    return asked.returncode == 0 and not asked.stdout


def test_readmes_scripts_for_slurm_train_a_study_and_leave_nothing_behind(
    slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "big.toml").write_text(STUDY)
    for name, text in scripts().items():
        (folder / name).write_text(text)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    for words in ("-c 16 head.sh", "--array=1-1 -c 16 node.sh"):
        subprocess.run(["sbatch", *words.split()], cwd=folder, check=True)
    assert work.eventually(is_done)
    said = "\n".join(path.read_text(errors="replace") for path in folder.glob("*.out"))
    assert len(Store(folder / "results" / "big").finished()) == 6, said
    assert (tmp_path / ".hvae-ray.token").stat().st_mode & 0o077 == 0
    assert not (folder / "ray.address").exists()
    assert f"{tmp_path}/study" not in subprocess.check_output(["ps", "-eo", "args"], text=True)
