"""hvae/records/git.py: git in the repository of a folder, whatever a hook has set."""

import shutil
from pathlib import Path

import pytest
import repositories

from hvae.records.git import GitError, git, git_or_none, local_variables

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git on the PATH")

SET_BY_HOOKS = ("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "COMMON_DIR")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    repositories.git(folder, "init", "--quiet")
    repositories.git(folder, "commit", "--quiet", "--allow-empty", "--message=first")
    return folder


def test_what_a_hook_sets_changes_no_answer(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = repositories.git(repository, "rev-parse", "HEAD")
    for name in SET_BY_HOOKS:
        monkeypatch.setenv(f"GIT_{name}", str(tmp_path / "elsewhere"))
    local_variables.cache_clear()  # asked in a hook, git lists them as well
    assert git(repository, "rev-parse", "HEAD") == head
    assert git(repository, "rev-parse", "--show-toplevel") == str(repository.resolve())
    assert git(repository, "status", "--porcelain") == ""


def test_a_failure_is_what_git_says_on_one_line(repository: Path) -> None:
    with pytest.raises(
        GitError, match=r"^fatal: .*nowhere.* path not in the working tree\. Use .*$"
    ):
        git(repository, "rev-list", "nowhere")
    with pytest.raises(GitError, match="git rev-parse failed"):
        git(repository, "rev-parse", "--verify", "--quiet", "nowhere")
    assert git_or_none(repository, "rev-parse", "--verify", "--quiet", "nowhere") is None


def test_without_git_there_is_no_answer(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    local_variables.cache_clear()
    with pytest.raises(GitError, match="'git'"):
        git(repository, "status")
    assert git_or_none(repository, "status") is None
    monkeypatch.undo()
    assert git_or_none(repository, "status", "--porcelain") == ""
