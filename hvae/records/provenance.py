"""Where and by what code a number was made: the two blocks that every record carries."""

import platform
from pathlib import Path
from typing import Any

from hvae import __version__
from hvae.records import sources
from hvae.records.git import GitError, git


def code() -> dict[str, Any]:
    """Version, digest of the sources, git commit, whether the sources differ from it (both `None`
    outside a checkout), and where git could not say, its words as `git_error`."""
    return {"version": __version__, "sources_sha256": sources.sources_sha256()} | _commit()


def _commit() -> dict[str, Any]:
    """Of the repository whose top level holds the sources, and of no other around them: a virtual
    environment may lie in anyone's."""
    found: dict[str, Any] = {"git_commit": None, "git_dirty": None}
    folder = sources.SOURCES
    if not (folder.parent / ".git").exists():  # a file in a worktree
        return found
    try:
        changes = git(folder, "status", "--porcelain", "--", ".")
        return {"git_commit": git(folder, "rev-parse", "HEAD"), "git_dirty": bool(changes)}
    except GitError as error:
        return found | {"git_error": str(error)}


def environment(device: str) -> dict[str, Any]:
    """Python, torch, device and threads of this process."""
    import torch

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device,
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }


def device_name(device: str) -> str:
    """The processor's or the GPU's own name."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # no Linux
        lines = []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
