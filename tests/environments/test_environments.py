"""One tiny study where nothing is as usual: streams, folders, homes, languages, owners."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hvae.native.build import c_compiler

ROOT = Path(__file__).parents[2]
STUDY = """
[set]
depth = 1
latent = 2
"data.name" = "digits"
"train.epochs" = 1
"evaluation.importance_samples" = 2
"evaluation.nll_images" = 2
[[variants]]
name = "β = ½"
"""
RUN = "run tiny.toml --device cpu --executor serial --no-throughput"
COMPILES = pytest.mark.skipif(c_compiler() is None, reason="needs a C compiler, such as cc")
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux has these files")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with spaces and umlauts in its path, and the study in it."""
    made = tmp_path / "größer als 'x'"
    made.mkdir()
    (made / "tiny.toml").write_text(STUDY, encoding="utf-8")
    return made


def hvae(
    folder: Path,
    words: str,
    streams: str = "",
    environment: Mapping[str, str] | None = None,
    prefix: str = "",
) -> subprocess.CompletedProcess[str]:
    """The command in a shell of the folder, its streams led elsewhere."""
    command = f"{prefix} {shlex.quote(sys.executable)} -m hvae {words} {streams}"
    env = os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {})
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=env,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )


def record(folder: Path) -> dict[str, Any]:
    """The one record of the study, whose page must be there."""
    (path,) = (folder / "results" / "tiny" / "runs").glob("*.json")
    assert (folder / "results" / "tiny" / "report" / "index.html").is_file()
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


@pytest.fixture
def noexec(tmp_path: Path) -> Iterator[Path]:
    """A file system that executes nothing."""
    place = tmp_path / "noexec"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "noexec,size=64m", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system without execution is allowed to root alone")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("streams", ["2>/dev/full", "2>&- <&-"])
@LINUX
def test_a_stderr_that_takes_nothing_changes_no_answer(folder: Path, streams: str) -> None:
    result = hvae(folder, "status tiny.toml", streams)
    assert result.returncode == 0
    assert "1 missing" in result.stdout


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full"])
@LINUX
def test_a_mistake_is_exit_code_two_where_nobody_hears_of_it(folder: Path, streams: str) -> None:
    assert hvae(folder, "status absent.toml", streams).returncode == 2


@LINUX
def test_an_answer_that_cannot_be_written_is_one_line(folder: Path) -> None:
    result = hvae(folder, "status tiny.toml", ">/dev/full")
    assert result.returncode == 1
    assert result.stderr == "hvae: error: No space left on device\n"
    assert hvae(folder, "status tiny.toml", ">&-").stderr == ""


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("", "β = ½"), ("ascii", "β = ½"), ("latin-1", "\\u03b2 = \ufffd")],  # click mends ASCII
)
def test_any_language_can_be_answered_in(folder: Path, encoding: str, shown: str) -> None:
    settings = {"LC_ALL": "C", "PYTHONIOENCODING": encoding}
    result = hvae(folder, "status tiny.toml", "", settings)
    assert (result.returncode, result.stderr) == (0, "")
    assert shown in result.stdout


@pytest.mark.parametrize("module", ["hvae", "ablations.cli"])
def test_either_module_is_the_program(folder: Path, module: str) -> None:
    words = f"{shlex.quote(sys.executable)} -m {module} --version #"
    result = hvae(folder, "", prefix=words)
    assert result.stdout.startswith("hvae, version ")


@pytest.mark.slow
def test_the_program_can_be_called_from_a_script_without_a_main_guard(folder: Path) -> None:
    """As in a notebook's cell: the workers import no `__main__`."""
    words = [*RUN.replace("serial", "local").split(), "--workers", "1"]
    script = f"from ablations.cli.main import main\nmain({words!r})\n"
    result = hvae(folder, "", prefix=f"{shlex.quote(sys.executable)} -c {shlex.quote(script)} #")
    assert result.returncode == 0, result.stderr
    assert record(folder)["status"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("streams", [">&-", "2>&-", "2>/dev/full", ">&- 2>&- <&-", "2>&1 | true"])
@LINUX
def test_a_run_ends_with_its_records_whatever_the_streams(folder: Path, streams: str) -> None:
    result = hvae(folder, RUN, streams)
    assert result.returncode == 0, result.stderr
    assert record(folder)["status"] == "finished"


@pytest.mark.slow
def test_workers_do_not_need_the_streams_either(folder: Path) -> None:
    words = RUN.replace("serial", "local") + " --workers 1"
    assert hvae(folder, words, ">&- 2>&- <&-").returncode == 0
    assert record(folder)["status"] == "finished"


@pytest.mark.slow
def test_a_run_where_the_language_is_c(folder: Path) -> None:
    result = hvae(folder, RUN, "", {"LC_ALL": "C", "LANG": "C"})
    assert result.returncode == 0, result.stderr
    page = folder / "results" / "tiny" / "report" / "index.html"
    assert record(folder)["status"] == "finished"
    assert result.stdout.strip() == str(page.relative_to(folder))


@pytest.mark.slow
@COMPILES
def test_a_tmpdir_that_executes_nothing_is_no_obstacle_to_the_compiled_step(
    folder: Path, tmp_path: Path, noexec: Path
) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    result = hvae(folder, RUN, "", {"TMPDIR": str(noexec), **cache})
    assert result.returncode == 0, result.stderr
    assert record(folder)["environment"]["flags"]["engine"] == "compiled"
    assert list((tmp_path / "cache").rglob("*.so"))


@pytest.mark.slow
@COMPILES
def test_where_neither_home_nor_tmpdir_execute_another_folder_does_and_is_named(
    folder: Path, noexec: Path
) -> None:
    homes = {"HOME": str(noexec), "XDG_CACHE_HOME": str(noexec), "TMPDIR": str(noexec)}
    result = hvae(folder, RUN, "", homes)
    assert result.returncode == 0, result.stderr
    assert record(folder)["environment"]["flags"]["engine"] == "compiled"
    assert str(noexec) in result.stderr


@pytest.mark.slow
@COMPILES
@LINUX
def test_a_home_that_cannot_be_written_is_no_obstacle(folder: Path, tmp_path: Path) -> None:
    """/proc takes no file, from root neither."""
    (tmp_path / "tmp").mkdir()
    homes = {"HOME": "/proc", "TMPDIR": str(tmp_path / "tmp")}
    bare = "env -u XDG_CACHE_HOME -u XDG_CONFIG_HOME -u XDG_DATA_HOME -u MPLCONFIGDIR"
    result = hvae(folder, RUN, "", homes, bare)
    assert result.returncode == 0, result.stderr
    assert record(folder)["environment"]["flags"]["engine"] == "compiled"
    assert f"{tmp_path}/tmp/hvae-" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.skipif(getattr(os, "getuid", lambda: 1)() != 0, reason="only root is another too")
def test_a_study_of_another_owner_is_run_by_whoever_may(folder: Path, tmp_path: Path) -> None:
    """Sources, study and results of one user, the command of another, who may write the results."""
    results = folder / "results"
    results.mkdir()
    for path in (results, *folder.parents[: len(folder.relative_to("/").parts) - 2]):
        path.chmod(0o777)
    who = subprocess.run(["id", "-u", "nobody"], capture_output=True, text=True)
    if who.returncode or not shutil.which("setpriv"):
        pytest.skip("needs setpriv and a user called nobody")
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    as_other = f"setpriv --reuid {who.stdout.strip()} --clear-groups"
    result = hvae(folder, RUN, "", {"HOME": str(home)}, as_other)
    assert result.returncode == 0, result.stderr
    assert record(folder)["status"] == "finished"
    read_only = hvae(folder, "status tiny.toml", "", {"HOME": "/proc"}, as_other)
    assert "1 done" in read_only.stdout


@pytest.mark.slow
def test_records_carry_no_commit_of_a_repository_that_only_holds_the_installation(
    folder: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "other"
    installed = repository / ".venv" / "lib"
    for package in ("hvae", "bench", "report", "ablations"):
        shutil.copytree(ROOT / package, installed / package)
    git = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "other"], check=True)
    result = hvae(folder, RUN, "", {"PYTHONPATH": str(installed)})
    assert result.returncode == 0, result.stderr
    code = record(folder)["code"]
    assert (code["git_commit"], code["git_dirty"]) == (None, None)
