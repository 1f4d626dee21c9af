import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import pytest
import worker_functions as work
from click.testing import CliRunner, Result

from ablations.cli.main import main
from ablations.cli.plan import _gflop, plan_dict, plan_lines
from ablations.grid import Pack, runs
from ablations.presets import PRESETS
from ablations.run import launch as launching
from ablations.studies import narrow
from hvae import __version__
from hvae.config import RunConfig
from hvae.records.sources import SourcesChanged
from hvae.records.standings import STATES
from hvae.records.store import Record, Store
from hvae.settings import digest

MakeRecord = Callable[..., Record]
SMALL = ("--depth", "1", "--loss", "bce", "--latent", "2", "--seeds", "2")
RUNS = runs(narrow(PRESETS["quick"], {"depth": (1,), "loss": ("bce",), "latent": (2,)}, seeds=2))
THROUGHPUT = "ablations.run.launch.throughput"
EXAMPLE = re.compile(r"^ {4}hvae (.+)$", re.MULTILINE)


@dataclass
class StandIn:
    """Writes records in place of `run_study`; the runs of seed 1 fail where told to."""

    make_record: MakeRecord
    fails: bool = False
    interrupted: bool = False
    seen: list[RunConfig] = field(default_factory=list)
    arguments: tuple[Any, ...] = ()

    def __call__(self, packs: Sequence[Pack], store: Store, *rest: Any) -> None:
        self.arguments = rest
        _, conditions, _, sharing = rest
        shown = sharing.shown
        for run in (run for pack in packs for run in pack.runs):
            self.seen.append(run)
            if self.fails and run.train.seed == 1:
                store.write_failure(run, RuntimeError("told to fail"))
                continue
            if self.interrupted and run.train.seed == 1:
                raise KeyboardInterrupt
            record = self.make_record(run)
            weights = {".safetensors": b"weights"} if conditions.keeps_weights else {}
            store.write(record, weights)
            shown.add(record)


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch, make_record: MakeRecord) -> StandIn:
    stand_in = StandIn(make_record)
    monkeypatch.setattr(launching, "run_study", stand_in)
    monkeypatch.setattr(THROUGHPUT, lambda *_: {})
    return stand_in


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """In place of the report: the page as an empty file, and the formats asked for."""
    asked: list[Sequence[str]] = []

    def write(*arguments: Any) -> list[Path]:
        *_, folder, formats, _ = arguments
        asked.append(formats)
        folder.mkdir(exist_ok=True)
        (folder / "index.html").touch()
        return [folder / "index.html"]

    monkeypatch.setattr("report.study.writer.write_report", write)
    return asked


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def run_small(folder: Path, *options: str) -> Result:
    return call("run", "quick", *SMALL, "--device", "cpu", "--results", str(folder), *options)


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [path]
    for name, command in group.commands.items():
        deeper = (*path, name)
        found += commands(command, deeper) if isinstance(command, click.Group) else [deeper]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_helps_with_an_example_that_parses(command: tuple[str, ...]) -> None:
    result = call(*command, "--help")
    examples = EXAMPLE.findall(result.stdout)
    assert result.exit_code == 0
    assert examples
    for example in examples:
        words = example.split()
        chosen: click.Command = main
        while isinstance(chosen, click.Group):
            chosen = chosen.commands[words.pop(0)]
        chosen.make_context("hvae", words)


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_option_has_a_help(command: tuple[str, ...]) -> None:
    found: click.Command = main
    for name in command:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    options = [p for p in found.params if isinstance(p, click.Option)]
    assert all(option.help for option in options)


def test_the_contract_has_these_commands() -> None:
    names = {"studies", "plan", "run", "status", "report", "compare", "data", "bench"}
    assert set(main.commands) == names | {"reproduce", "sample", "gate", "export"}


def test_the_version_is_that_of_the_package() -> None:
    assert call("--version").stdout.strip() == f"hvae, version {__version__}"


def test_studies_lists_axes_runs_and_cost() -> None:
    result = call("studies")
    assert result.exit_code == 0
    assert "standard: 200 runs" in result.stdout
    assert "depth 1, 2, 3, 4; loss bce, mse; latent 2, 5, 10, 20, 50; 5 seeds" in result.stdout
    assert "5 seeds; data.binarize dynamic" in result.stdout


def test_plan_shows_packs_parameters_and_cost_and_writes_nothing(tmp_path: Path) -> None:
    result = call("plan", "quick", "--workers", "2", "--results", str(tmp_path / "r"))
    lines = result.stdout.splitlines()
    assert "48 runs" in lines[0]
    assert "0 done, 0 diverged, 48 missing, 0 failed, 0 stale, 0 damaged" in lines[0]
    assert re.fullmatch(
        r"pack 1: depth 4, \d+ runs, [\d,]+ parameters, \d+ GFLOP, about \d+ s, \d+ MB",
        lines[1],
    )
    assert re.fullmatch(
        r"to train: 48 runs in \d+ packs, \d+ GFLOP; with evaluation about \d+ s on 2 workers",
        lines[-1],
    )
    assert list(tmp_path.iterdir()) == []


def test_plan_says_once_what_holds_for_a_stretch_of_packs(tmp_path: Path) -> None:
    options = ("--depth", "1", "--latent", "2", "--latent", "5", "--workers", "2")
    result = call("plan", "standard", *options, "--results", str(tmp_path))
    lines = result.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[1:-1]] == [
        "packs 1-10, each",
        "packs 11-20, each",
    ]
    assert "each: 1 run, 159,294 parameters" in lines[1]
    assert "to train: 20 runs in 20 packs" in lines[-1]


def test_plan_as_json_counts_what_is_there_and_packs_the_rest(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    store = Store(tmp_path / "quick")
    store.open_for_writing()
    store.write(make_record(RUNS[0]))
    plan = json.loads(call("plan", "quick", "--json", "--results", str(tmp_path)).stdout)
    packed = [name for pack in plan["packs"] for name in pack["runs"]]
    assert plan["counts"]["done"] == 1
    assert len(packed) == 47
    assert digest(RUNS[0]) not in packed


def test_plan_counts_the_flops_of_all_epochs_of_every_pack() -> None:
    """Of 68 × 100 and 66 × 100 weights, the first 64 × 100 without a gradient of their input."""
    one, other = (replace(run, train=replace(run.train, epochs=3)) for run in RUNS)
    plan = plan_dict([Pack("quick", (one, other)), Pack("quick", (one,))], 2, "cuda", 1)
    gflop = 3 * 1437 * 2 * (3 * (68 * 100 + 66 * 100) - 64 * 100) / 1e9
    assert [pack["gflop"] for pack in plan["packs"]] == pytest.approx([2 * gflop, gflop])
    assert plan["gflop"] == pytest.approx(3 * gflop)


@pytest.mark.parametrize(
    ("seconds", "told"), [(119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2.0 h")]
)
def test_plan_says_long_times_in_minutes_and_hours(seconds: float, told: str) -> None:
    (line,) = plan_lines({"packs": [], "gflop": 0.0, "seconds": seconds, "workers": 1})
    assert line.endswith(f"; with evaluation about {told} on 1 worker")


def test_run_records_what_is_missing_and_prints_the_report(
    tmp_path: Path, trainer: StandIn, written: list[Sequence[str]]
) -> None:
    result = run_small(tmp_path, "--workers", "3", "--data-dir", str(tmp_path / "data"))
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path}/quick/report/index.html\n"
    assert Store(tmp_path / "quick").finished() == {digest(run) for run in RUNS}
    executor, conditions, *_ = trainer.arguments
    assert (executor.count, conditions.device) == (3, "cpu")
    assert conditions.data_dir == tmp_path / "data"
    assert "quick 2/2: depth 1" in result.stderr
    assert list(map(list, written)) == [["html", "latex", "csv", "md"]]


def test_a_second_run_does_nothing_and_says_so(
    tmp_path: Path, trainer: StandIn, written: list[Sequence[str]]
) -> None:
    run_small(tmp_path)
    result = run_small(tmp_path)
    assert result.exit_code == 0
    assert result.stderr == "quick: nothing to do, every run is there\n"
    assert result.stdout == f"{tmp_path}/quick/report/index.html\n"
    assert len(trainer.seen) == 2


def test_weights_are_kept_where_asked_and_a_recorded_run_without_is_trained_again(
    tmp_path: Path, trainer: StandIn
) -> None:
    store = Store(tmp_path / "quick")
    run_small(tmp_path, "--no-report")
    records = {name: store.path(name).read_bytes() for name in store.finished()}
    assert len(records) == len(trainer.seen) == 2
    assert not [name for name in records if store.weights_path(name).exists()]

    result = run_small(tmp_path, "--no-report", "--keep-weights")
    assert "trained again for want of weights: 2 recorded runs; no record changes" in result.stderr
    assert len(trainer.seen) == 4
    assert all(store.weights_path(name).exists() for name in records)
    assert {name: store.path(name).read_bytes() for name in store.finished()} == records

    for option in ((), ("--keep-weights",)):  # and nothing a third time
        result = run_small(tmp_path, "--no-report", *option)
        assert "nothing to do" in result.stderr
        assert "no weights" not in result.stderr
    assert len(trainer.seen) == 4


def test_more_seeds_train_only_the_new_ones(tmp_path: Path, trainer: StandIn) -> None:
    run_small(tmp_path, "--no-report", "--seeds", "1")
    run_small(tmp_path, "--no-report", "--seeds", "3")
    assert [run.train.seed for run in trainer.seen] == [0, 1, 2]


def test_no_report_writes_and_prints_none(tmp_path: Path, trainer: StandIn) -> None:
    result = run_small(tmp_path, "--no-report")
    assert result.stdout == ""
    assert not (tmp_path / "quick" / "report").exists()


def test_failed_runs_end_in_exit_code_one_and_are_retried(
    tmp_path: Path, trainer: StandIn, written: list[Sequence[str]]
) -> None:
    trainer.fails = True
    result = run_small(tmp_path)
    assert result.exit_code == 1
    assert "1 of 2 runs failed; `hvae status quick`, narrowed alike, lists them" in result.stderr
    assert result.stdout == f"{tmp_path}/quick/report/index.html\n"
    listed = call("status", "quick", *SMALL, "--results", str(tmp_path))
    assert listed.exit_code == 1
    assert re.search(r"failed     depth 1, .*, seed 1: RuntimeError: told to fail", listed.stdout)
    trainer.fails = False
    assert run_small(tmp_path).exit_code == 0
    assert call("status", "quick", *SMALL, "--results", str(tmp_path)).exit_code == 0


@pytest.mark.usefixtures("trainer")
def test_a_warm_up_that_is_longer_than_the_training_is_said(tmp_path: Path) -> None:
    long = ("--set", "train.kl_warmup_epochs=4", "--set", "train.rate_steps=2-4")
    said = run_small(tmp_path, *long, "--epochs", "4", "--no-report").stderr
    assert "train.kl_warmup_epochs: 2 of 2 runs end before it does" in said
    assert "train.rate_steps: 2 of 2 runs end before it does" in said
    fits = run_small(tmp_path, *long, "--epochs", "5", "--no-report").stderr
    assert "end before" not in fits


def test_an_interrupted_run_keeps_its_records_and_says_how_to_resume(
    tmp_path: Path, trainer: StandIn
) -> None:
    trainer.interrupted = True
    result = run_small(tmp_path)
    assert result.exit_code == 130
    assert "finished runs are kept; the same command resumes" in result.stderr
    assert Store(tmp_path / "quick").finished() == {digest(RUNS[0])}


def test_stale_records_stay_unless_redone(tmp_path: Path, trainer: StandIn) -> None:
    real = trainer.make_record
    trainer.make_record = lambda run: replace(real(run), code={"sources_sha256": "others"})
    run_small(tmp_path, "--no-report")
    trainer.make_record = real
    result = run_small(tmp_path, "--no-report")
    assert "not redone: 2 stale records; --redo-stale does it" in result.stderr
    assert (result.exit_code, len(trainer.seen)) == (0, 2)
    here = ("quick", *SMALL, "--results", str(tmp_path))
    assert "2 stale" in call("status", *here).stdout
    assert "to train: 0 runs" in call("plan", *here).stdout
    assert "to train: 2 runs" in call("plan", *here, "--redo-stale").stdout
    assert run_small(tmp_path, "--no-report", "--redo-stale").exit_code == 0
    assert len(trainer.seen) == 4


def test_weights_of_stale_records_are_kept_only_with_the_records_redone(
    tmp_path: Path, trainer: StandIn
) -> None:
    real = trainer.make_record
    trainer.make_record = lambda run: replace(real(run), code={"sources_sha256": "others"})
    run_small(tmp_path, "--no-report")
    trainer.make_record = real
    result = run_small(tmp_path, "--no-report", "--keep-weights")
    assert "not redone: 2 stale records; --redo-stale does it" in result.stderr
    run_small(tmp_path, "--no-report", "--keep-weights", "--redo-stale")
    store = Store(tmp_path / "quick")
    assert all(store.weights_path(digest(run)).exists() for run in RUNS)


def test_a_study_of_a_file_is_named_by_the_file_until_its_copy_is_there(
    tmp_path: Path, trainer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    axes = '[axes]\ndepth = [1]\n[set]\n"data.name" = "digits"\n'
    Path("mine.toml").write_text(f'question = "first?"\n{axes}')
    assert "run `hvae run mine.toml`, narrowed alike, first" in call("report", "mine.toml").stderr
    assert call("run", "mine.toml", "--device", "cpu", "--no-report").exit_code == 0
    for command in ("status", "plan", "report"):
        assert call(command, "mine").exit_code == 0
    page = Path("results/mine/report/index.html")
    assert "first?" in page.read_text()
    Path("mine.toml").write_text(f'question = "second?"\n{axes}')
    assert call("run", "mine.toml", "--device", "cpu").exit_code == 0  # nothing to train
    assert "second?" in page.read_text()
    assert len(trainer.seen) == 1
    Path("mine.toml").write_text(f'question = "third?"\n{axes}')
    assert call("report", "mine.toml", "--format", "doc").exit_code == 2
    assert "second?" in Path("results/mine/study.toml").read_text()  # nothing written
    nothing = call("report", "mine", "--epochs", "7")
    assert (nothing.exit_code, nothing.stdout) == (2, "")
    assert "results: no record of these runs under results/mine" in nothing.stderr
    assert "second?" in page.read_text()
    assert "mine.toml differs from what is asked, the copy in results/mine" in nothing.stderr
    assert "differs" not in call("status", "mine.toml").stderr
    Path("mine.toml").write_text(f'question = "fourth?"\n{axes}')
    assert call("run", "mine.toml", "--no-report").exit_code == 0  # nothing to train
    assert "fourth?" in Path("results/mine/study.toml").read_text()
    for other in (b"\xff", f'name = "other"\n{axes}'.encode()):
        Path("mine.toml").write_bytes(other)
        assert "differs" not in call("status", "mine").stderr
    assert call("status", "mine", "--epochs", "7").stdout.startswith(
        "mine: 1 run in results/mine: 0 done, 0 diverged, 1 missing, 0 failed, 0 stale, "
        "0 damaged, 0 unreadable; others recorded: 1\n"
    )
    assert "allowed: family, levels, literature, mine, objective" in call("status", "x").stderr
    assert "'reproduce' is no study; `hvae reproduce`" in call("status", "reproduce").stderr


def test_workers_that_do_not_fit_the_memory_are_said(
    tmp_path: Path, trainer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablations.prediction.memory_here", lambda: 0.5e9)
    said = run_small(tmp_path, "--no-report", "--workers", "2").stderr
    assert re.search(r"memory: 2 workers need .* GB and 0\.5 GB are here; fewer fit, as --wo", said)


def test_status_as_json_has_every_run_by_key(tmp_path: Path, trainer: StandIn) -> None:
    run_small(tmp_path, "--no-report", "--seeds", "1")
    result = call("status", "quick", *SMALL, "--results", str(tmp_path), "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert {name: found["runs"][name]["state"] for name in found["runs"]} == {
        digest(RUNS[0]): "done",
        digest(RUNS[1]): "missing",
    }
    assert found["counts"] == dict.fromkeys(STATES, 0) | {"done": 1, "missing": 1}


def test_status_lists_damage_and_exits_with_one(tmp_path: Path, trainer: StandIn) -> None:
    run_small(tmp_path, "--no-report")
    Store(tmp_path / "quick").path(digest(RUNS[0])).write_text("{")
    result = call("status", "quick", *SMALL, "--results", str(tmp_path))
    assert result.exit_code == 1
    assert re.search(rf"{digest(RUNS[0])}  damaged  .*not a whole record", result.stdout)


@pytest.mark.parametrize(
    "formats", [("--format", "csv,md"), ("--format", "csv, md"), ("--format=csv", "--format=md")]
)
def test_report_prints_its_paths_and_takes_formats(
    tmp_path: Path, trainer: StandIn, written: list[Sequence[str]], formats: tuple[str, ...]
) -> None:
    run_small(tmp_path, "--no-report")
    result = call("report", "quick", *formats, "--results", str(tmp_path))
    assert result.exit_code == 0
    assert written == [["csv", "md"]]
    assert result.stdout == f"{tmp_path}/quick/report/index.html\n"


def test_the_real_report_is_written_from_records(tmp_path: Path, trainer: StandIn) -> None:
    run_small(tmp_path, "--no-report")
    result = call("report", "quick", *SMALL, "--format", "csv", "--results", str(tmp_path))
    assert result.exit_code == 0
    assert all(Path(line).exists() for line in result.stdout.splitlines())
    assert f"{tmp_path}/quick/report/runs.csv" in result.stdout
    assert "files there" not in result.stderr
    figures = tmp_path / "quick" / "report" / "figures"
    figures.mkdir()
    (figures / "old.pdf").touch()
    again = call("report", "quick", *SMALL, "--format", "csv", "--results", str(tmp_path))
    assert f"{figures.parent}: 1 files there are not of this report" in again.stderr


def test_report_opens_the_page(
    tmp_path: Path,
    trainer: StandIn,
    written: list[Sequence[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(click, "launch", opened.append)
    run_small(tmp_path, "--no-report")
    call("report", "quick", "--open", "--results", str(tmp_path))
    assert opened == [f"{tmp_path}/quick/report/index.html"]


def test_data_fetch_prints_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hvae.data.download.fetch", lambda name, folder: folder / name)
    result = call("data", "fetch", "mnist", "--data-dir", str(tmp_path))
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}/mnist\n")


def test_data_fetch_has_nothing_to_do_for_digits(tmp_path: Path) -> None:
    result = call("data", "fetch", "digits", "--data-dir", str(tmp_path))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "digits comes with scikit-learn: nothing to fetch\n"


def test_debug_shows_the_traceback_before_or_after_the_command() -> None:
    for arguments in (("--debug", "plan", "qick"), ("plan", "qick", "--debug")):
        result = call(*arguments)
        assert result.exit_code == 2
        assert "Traceback (most recent call last)" in result.stderr
        assert result.stderr.endswith("quick, standard, a *.toml file\n")


def test_what_the_system_refuses_is_one_line_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "some/file")

    monkeypatch.setattr("ablations.cli.status.standings_of", refuse)
    result = call("status", "quick")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "hvae: error: some/file: Permission denied\n"
    assert "Traceback" in call("status", "quick", "--debug").stderr


def test_an_answer_that_nobody_reads_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("ablations.cli.status.standings_of", refuse)
    result = call("status", "quick")
    assert (result.exit_code, result.output) == (1, "")


BAD = {
    "unknown command": (("frob",), "No such command 'frob'"),
    "unknown option": (("--frob",), "No such option '--frob'"),
    "no study": (("run",), "Missing argument 'STUDY|FILE.toml'"),
    "unknown study": (("run", "qick"), "study: 'qick' is not known; allowed: family, levels"),
    "no such file": (("run", "no.toml"), "study: cannot read no.toml: No such file"),
    "unknown key": (("run", "bad.toml"), "bad.toml: unknown key 'sedes'; allowed: axes, budget"),
    "depth 0": (("run", "quick", "--depth", "0"), "'--depth': 0 is not in the range x>=1"),
    "latent -1": (("run", "quick", "--latent", "-1"), "'--latent': -1 is not in the range x>=1"),
    "loss l1": (("run", "quick", "--loss", "l1"), "'--loss': 'l1' is not one of 'bce', 'mse'"),
    "seeds 0": (("run", "quick", "--seeds", "0"), "'--seeds': 0 is not in the range x>=1"),
    "depth twice": (
        ("run", "quick", "--depth", "1", "--depth", "1"),
        "depth: 1 is given twice; allowed: distinct values",
    ),
    "unknown data": (
        ("run", "quick", "--data", "cifar"),
        "data: 'cifar' is not allowed; allowed: digits, mnist, fashion-mnist, kmnist, "
        "emnist-digits, or a file *.npz or a folder of IDX files",
    ),
    "missing data": (
        ("run", "standard", "--data-dir", "nowhere"),
        "mnist: nowhere/MNIST/raw/train-images-idx3-ubyte is missing; get it with `hvae data",
    ),
    "results is a file": (("run", "quick", "--results", "file"), "'file' is a file"),
    "study's folder is a file": (
        ("run", "quick", "--results", "taken"),
        "results: cannot write under taken/quick: Not a directory",
    ),
    "results under a file": (
        ("run", "quick", "--results", "file/results"),
        "results: cannot write under file/results/quick: Not a directory; allowed: a folder",
    ),
    "nothing to report": (("report", "quick"), "no record of these runs under results/quick; run"),
    "unknown format": (
        ("report", "quick", "--format", "doc", "--results", "held"),
        "format: 'doc' is not allowed; allowed: html",
    ),
    "no page to open": (
        ("report", "quick", "--format", "csv", "--open", "--results", "held"),
        "--open: needs html among the formats; got csv",
    ),
    "columns of nothing": (
        ("report", "quick", "--format", "csv", "--columns", "nll_nats", "--results", "held"),
        "--columns: needs latex or md among the formats; got csv",
    ),
    "workers of one process": (
        ("run", "quick", "--executor", "serial", "--workers", "2"),
        "workers: 2 have no meaning with executor 'serial'; allowed: 1",
    ),
    "no home": (("run", "~nobody-here/x.toml"), "study: cannot read "),
    "no home of the data folder": (
        ("run", "quick", "--data-dir", "~nobody-here/x"),
        "'--data-dir': '~nobody-here/x': nobody has that name; allowed: a path",
    ),
    "no home of results": (
        ("status", "quick", "--results", "~nobody-here/x"),
        "'--results': '~nobody-here/x': nobody has that name; allowed: a path",
    ),
    "no home of data": (
        ("run", "quick", "--data", "~nobody-here/x.npz"),
        "data: '~nobody-here/x.npz' is not allowed; allowed: digits",
    ),
    "a variant's setting": (
        ("run", "levels", "--set", "train.kl_weight=1"),
        "train.kl_weight: variant 'β = 1' sets it; allowed: what no variant that runs sets",
    ),
    "unknown dataset": (("data", "fetch", "cifar"), "'cifar' is not one of 'digits', 'mnist'"),
}


def test_a_data_folder_that_the_environment_names_is_checked_like_the_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trainer: StandIn
) -> None:
    monkeypatch.setenv("HVAE_DATA", "~nobody-here/x")
    refused(run_small(tmp_path), "'~nobody-here/x': nobody has that name")


def test_a_cost_between_nine_and_ten_has_no_exponent() -> None:
    assert [_gflop(cost) for cost in (0.04, 0.96, 1.2, 9.6, 1234.0)] == [
        *("0.04 GFLOP", "1 GFLOP", "1 GFLOP", "10 GFLOP", "1,234 GFLOP"),
    ]


@pytest.mark.parametrize(("arguments", "told"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trainer: StandIn,
    arguments: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("bad.toml").write_text("sedes = 3")
    Path("taken").mkdir()
    Path("taken/quick").touch()
    held = Store(Path("held/quick"))
    held.open_for_writing()
    held.write(trainer.make_record(RUNS[0]))
    before = sorted(Path().rglob("*"))
    result = call(*arguments)
    refused(result, told)
    assert sorted(Path().rglob("*")) == before
    assert trainer.seen == []


def refused(result: Result, told: str) -> None:
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("hvae: error: ")
    assert result.stderr.count("\n") == 1
    assert told in result.stderr


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"study": "quick"', '"study": "qu', "not a whole record"),
        ('"schema": 1', '"schema": 99', "schema 99 was written by a newer hvae; this one reads"),
        ('"status": "finished"', '"status": "diverged"', "the checksum does not fit"),
    ],
)
def test_a_record_that_cannot_be_trusted_is_named(
    tmp_path: Path, trainer: StandIn, command: str, old: str, new: str, told: str
) -> None:
    run_small(tmp_path, "--no-report", "--seeds", "1")
    path = Store(tmp_path / "quick").path(digest(RUNS[0]))
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    result = call(command, "quick", *SMALL, "--results", str(tmp_path))
    refused(result, f"{path}: ")
    assert told in result.stderr
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert len(trainer.seen) == 1


def test_a_pack_that_does_not_fit_the_memory_is_refused_before_anything_is_made(
    tmp_path: Path, trainer: StandIn
) -> None:
    result = run_small(tmp_path / "r", "--latent", "100000", "--depth", "1000")
    refused(result, "memory: pack ")
    assert not (tmp_path / "r").exists()
    assert trainer.seen == []
    planned = call("plan", "quick", "--latent", "100000", "--depth", "1000")
    assert planned.exit_code == 0
    assert "memory: pack " in planned.stderr


def refuse(*arguments: object, **options: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_folder_that_may_not_be_written_is_refused(
    tmp_path: Path, trainer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "mkdir", refuse)  # root, who runs CI, is refused nothing
    refused(run_small(tmp_path), f"results: cannot write under {tmp_path}/quick: Permission denied")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_where_nothing_can_be_published_is_refused_before_any_training(
    tmp_path: Path, trainer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "rename", refuse)
    told = f"results: cannot write under {tmp_path}/quick: Permission denied"
    refused(run_small(tmp_path), told)
    assert trainer.seen == []


def fill(*arguments: object, **options: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_is_one_line_and_exit_code_one(
    tmp_path: Path, trainer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is trained; nothing that was given is wrong."""
    monkeypatch.setattr(os, "fsync", fill)
    result = run_small(tmp_path)
    assert result.exit_code == 1
    told = f"hvae: error: results: cannot write under {tmp_path}/quick: No space left on device; "
    assert result.stderr == f"{told}make room and start the command again\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_report_may_go_elsewhere_and_then_its_study_is_only_read(
    tmp_path: Path, trainer: StandIn, written: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(tmp_path / "s.toml").write_text('axes.depth = [1]\nset."data.name" = "digits"\nseeds = 1')
    study, results = str(tmp_path / "s.toml"), tmp_path / "results"
    call("run", study, "--no-report", "--results", str(results))
    (results / "s" / "study.toml").unlink()
    before = sorted(results.rglob("*"))
    told = call("report", study, "--results", str(results), f"--out={tmp_path}/elsewhere")
    assert told.stdout == f"{tmp_path}/elsewhere/index.html\n"
    assert sorted(results.rglob("*")) == before


def test_foreign_files_are_a_line_each_where_they_are_named_like_records(
    tmp_path: Path, trainer: StandIn
) -> None:
    run_small(tmp_path, "--no-report", "--seeds", "1")
    store, (_, other) = Store(tmp_path / "quick"), RUNS
    os.mkfifo(store.path(digest(other)))  # to open it would wait for ever
    for name in (".DS_Store", f"._{digest(other)}.json", f"{digest(RUNS[0])} (1).json"):
        (store.runs / name).write_text("of another program")
    status = call("status", "quick", *SMALL, "--results", str(tmp_path))
    assert (status.exit_code, status.stderr) == (1, "")
    listed = status.stdout.splitlines()
    assert "1 done, 0 diverged, 0 missing, 0 failed, 0 stale, 0 damaged, 1 unreadable" in listed[0]
    assert listed[2].endswith(f"{digest(other)}.json: cannot be read: not a file")
    assert len(listed) == 3
    refused(run_small(tmp_path), f"{digest(other)}.json: cannot be read: not a file")


def test_without_hard_links_a_real_grid_records_all_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse)
    brief = ("--epochs", "1", "--importance-samples", "2", "--no-throughput", "--no-report")
    assert run_small(tmp_path, *brief, "--executor", "serial").exit_code == 0
    store = Store(tmp_path / "quick")
    assert len(store.finished()) == 2
    assert {path.suffix for path in store.runs.iterdir()} == {".json", ".npz"}


def test_runs_that_diverged_are_said_and_only_where_all_did_it_is_exit_code_one(
    tmp_path: Path, trainer: StandIn
) -> None:
    real = trainer.make_record
    trainer.make_record = lambda run: real(run, nll=None if run.train.seed else 70.0)
    result = run_small(tmp_path / "some", "--no-report")
    others = len(RUNS) - 1
    assert result.exit_code == 0
    assert f"{others} of {len(RUNS)} runs diverged" in result.stderr
    listed = call("status", "quick", *SMALL, "--results", str(tmp_path / "some"))
    assert f"1 done, {others} diverged, 0 missing" in listed.stdout
    trainer.make_record = lambda run: real(run, nll=None)
    for _ in range(2):  # also where nothing is left to do
        assert run_small(tmp_path / "all", "--no-report").exit_code == 1


def test_throughput_is_timed_unless_told_otherwise(
    tmp_path: Path, trainer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    timed = {"shape": {"measurements": [1]}}
    monkeypatch.setattr(THROUGHPUT, lambda *given: told.append(given[-1]) or timed)
    run_small(tmp_path / "timed", "--no-report")
    assert trainer.arguments[2] == timed  # and so reaches the records
    run_small(tmp_path / "not", "--no-report", "--no-throughput")
    assert told == [True, False]


def test_runs_that_nobody_recorded_are_exit_code_one(
    tmp_path: Path, trainer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "run_study", lambda *given: None)
    result = run_small(tmp_path, "--no-report")
    assert result.exit_code == 1
    assert "2 of 2 runs are still to do; `hvae status quick`" in result.stderr


def test_each_record_is_read_once(
    tmp_path: Path, trainer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_small(tmp_path, "--no-report", "--seeds", "1")
    read: list[str] = []
    real = Store.read

    def note(self: Store, name: str) -> Record:
        read.append(name)
        return real(self, name)

    monkeypatch.setattr(Store, "read", note)
    assert run_small(tmp_path, "--no-report").exit_code == 0
    assert read == [digest(run) for run in RUNS]


def test_sources_that_change_before_anything_is_trained_are_one_line_and_exit_code_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(*arguments: object, **options: object) -> int:
        raise SourcesChanged("the sources changed")

    monkeypatch.setattr(THROUGHPUT, change)
    result = run_small(tmp_path, "--no-report")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "hvae: error: the sources changed"


def test_cuda_where_there_is_none_is_refused(
    tmp_path: Path, trainer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    arguments = ("run", "quick", "--device", "cuda", "--results", str(tmp_path / "r"))
    refused(call(*arguments), "device: 'cuda' is not there on this machine; allowed: auto, cpu")
    assert list(tmp_path.iterdir()) == []


LIGHT = {
    "help": ("--help",),
    "run's help": ("run", "--help"),
    "studies": ("studies",),
    "a plan with nothing to time": ("plan", "quick", *SMALL),
    "status": ("status", "quick"),
    "report": ("report", "quick", "--format", "md"),
    "nothing to run": ("run", "quick", *SMALL),
}


WITHOUT_TORCH = """
import contextlib, io, json, sys
from ablations.cli.main import main

for what, arguments in json.loads(sys.argv[1]).items():
    with contextlib.redirect_stdout(io.StringIO()) as said:
        main(arguments, standalone_mode=False)
    assert said.getvalue(), what
    assert "torch" not in sys.modules, what
    print(what)
"""


def test_torch_is_not_imported_to_report_or_find_nothing_to_run(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    store = Store(tmp_path / "results" / "quick")
    store.open_for_writing()
    for run in RUNS:
        store.write(make_record(run))
    (store.folder / "report").mkdir()
    (store.folder / "report" / "index.html").touch()
    command = [sys.executable, "-c", WITHOUT_TORCH, json.dumps(LIGHT)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert done.stdout.splitlines() == [*LIGHT], done.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": work.search_path()}
