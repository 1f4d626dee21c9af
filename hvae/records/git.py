"""Calls of git that see the repository of their folder and no other. Imports no torch."""

import os
import subprocess
from functools import cache
from pathlib import Path


class GitError(ValueError):
    """What git says where it fails, on one line."""


def git(folder: Path, *arguments: str) -> str:
    """What git prints in a folder, stripped. Raises `GitError`.

    A hook's `GIT_DIR` and `GIT_INDEX_FILE` name the commit being made: with them git would read,
    and write, that one instead of the folder's.
    """
    command = ["git", "-C", str(folder), *arguments]
    try:
        local = local_variables()
        clean = {name: value for name, value in os.environ.items() if name not in local}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
    except (OSError, subprocess.CalledProcessError) as error:  # no git, or none that runs
        raise GitError(str(error)) from error
    if done.returncode:
        raise GitError(" ".join(done.stderr.split()) or f"git {arguments[0]} failed")
    return done.stdout.strip()


def git_or_none(folder: Path, *arguments: str) -> str | None:
    """What git prints in a folder, stripped; None where it fails or there is no git."""
    try:
        return git(folder, *arguments)
    except GitError:
        return None


@cache
def local_variables() -> frozenset[str]:
    """Names of the environment variables that tie git to one repository, as git itself lists them.

    Raises `OSError` where there is no git, `CalledProcessError` where it does not run.
    """
    command = ["git", "rev-parse", "--local-env-vars"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return frozenset(done.stdout.split())
