"""Throwaway repositories: git as the tests call it, with an author and without the user's hooks."""

import subprocess
from pathlib import Path

SETTINGS = {
    "user.name": "test",
    "user.email": "test@example.org",
    "commit.gpgsign": "false",
    "core.hooksPath": ".git/hooks",
}


def git(folder: Path, *arguments: str) -> str:
    """What git prints in a folder, stripped; it must succeed."""
    options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    command = ["git", "-C", str(folder), *options, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def clone(source: str, folder: Path, *options: str) -> None:
    """Clone a repository, or one at an address, into a folder that is not there yet."""
    git(folder.parent, "clone", "--quiet", *options, source, str(folder))
