"""hvae/records/provenance.py: where and by what code a number was made."""

import os
import platform
import shutil
from pathlib import Path

import pytest
import torch
from repositories import git

from hvae import __version__
from hvae.records import provenance as environment
from hvae.records.sources import sources_sha256

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git on the PATH")


@pytest.mark.usefixtures("sources")
def test_outside_a_checkout_the_code_has_no_commit() -> None:
    code = environment.code()
    assert code == {
        "version": __version__,
        "sources_sha256": sources_sha256(),
        "git_commit": None,
        "git_dirty": None,
    }


def committed(folder: Path) -> str:
    """The commit of a new repository with all that lies in the folder."""
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    return git(folder, "rev-parse", "HEAD")


@needs_git
def test_in_a_checkout_the_code_has_its_commit_and_whether_its_sources_changed(
    sources: Path,
) -> None:
    commit = committed(sources.parent)
    (sources.parent / "mine.toml").write_text("seeds = 1\n")
    clean = environment.code()
    assert (clean["git_commit"], clean["git_dirty"]) == (commit, False)
    (sources / "a.py").write_text("x = 3\n")
    assert environment.code() == clean | {"git_dirty": True, "sources_sha256": sources_sha256()}
    (sources / "a.py").write_text("x = 1\n")
    (sources / "new.py").write_text("")
    assert environment.code()["git_dirty"]


@needs_git
def test_a_repository_around_the_sources_that_does_not_hold_them_is_none_of_theirs(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sources / "site-packages").mkdir()
    inner = sources / "site-packages" / "hvae"
    inner.mkdir()
    (inner / "a.py").write_text("x = 1\n")
    committed(sources.parent)
    monkeypatch.setattr("hvae.records.sources.SOURCES", inner)
    code = environment.code()
    assert (code["git_commit"], code["git_dirty"]) == (None, None)
    assert "git_error" not in code


@needs_git
def test_a_checkout_of_another_owner_is_said_in_gits_own_words(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(sources.parent)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own, for its own tests
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # nor does the user trust every folder
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    code = environment.code()
    assert code["git_commit"] is None
    assert "dubious ownership" in code["git_error"]


@needs_git
def test_without_git_the_code_has_no_commit_and_says_why(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(sources.parent)
    monkeypatch.setenv("PATH", "")
    code = environment.code()
    assert code["git_commit"] is None
    assert "'git'" in code["git_error"]


def test_the_environment_is_that_of_this_process() -> None:
    found = environment.environment("cpu")
    assert found["python"] == platform.python_version()
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads() == 1
    assert found["device"] == "cpu"
    assert found["device_name"] == environment.device_name("cpu")
    assert found["platform"]


def test_the_processor_has_the_name_that_linux_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "processor\t: 0\nmodel name\t: Example: CPU @ 2 GHz\nflags\t: a b\n"
    monkeypatch.setattr(Path, "read_text", lambda self: text)
    assert environment.device_name("cpu") == "Example: CPU @ 2 GHz"


@pytest.mark.parametrize("text", [None, "", "Hardware : none named\n"])
def test_a_processor_without_a_name_has_that_of_its_kind(
    monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    def read_text(self: Path) -> str:
        if text is None:
            raise FileNotFoundError(self)
        return text

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "example64")
    assert environment.device_name("cpu") == "example64"
