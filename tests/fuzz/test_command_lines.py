"""Any option of any command with any value: refused in one line, or done as it says."""

import importlib
import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import hostile
import pytest
from builders import record
from hypothesis import strategies as st

from ablations.cli.main import main
from ablations.grid import runs
from ablations.presets import PRESETS
from ablations.run.verification import Verdict
from ablations.studies import narrow
from hvae.config import OBJECTIVES
from hvae.records.store import Store

FETCH = "data fetch"  # of commands, one in a group
COMMANDS = ["plan", "status", "studies", "report", "sample", "run", FETCH]
SWEPT = {"--depth": "num_layers", "--latent": "latent_dim", "--loss": "loss"}
FITTING = {
    **{name: ["1", "2", "3"] for name in ("--depth", "--latent", "--seeds", "--epochs")},
    "--importance-samples": ["1", "10"],
    "--loss": ["bce", "mse"],
    "--objective": list(OBJECTIVES),
    "--data": ["digits", "mnist"],
    "--vary": ["train.kl_weight=0.5,1", "depth=1,2", "train.epochs=1", "data.binarize=static"],
    "--set": ["train.epochs=2", "latent=3", "train.learning_rate=1e-3", "seed=1"],
    "--format": ["csv", "md", "csv,md", "latex"],
    "--device": ["auto", "cpu"],
    "--executor": ["serial", "local"],
    "--results": ["results", "./results/"],
}
STUDIES = ["quick", "objective", "mine.toml", "mine", "../mine", "reproduce", "digits", "mnist"]


def options_of(command: str) -> list[click.Option]:
    found: click.Command = main
    for name in command.split():
        assert isinstance(found, click.Group)
        found = found.commands[name]
    return [p for p in found.params if isinstance(p, click.Option)]


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """By turns right ones and wild ones, with any word where one of a few would be right."""
    is_wild, command = draw(st.booleans()), draw(st.sampled_from(COMMANDS))
    right = ["digits", "mnist"] if command == FETCH else ["quick", "mine.toml"]
    studies = st.one_of(st.sampled_from(STUDIES), hostile.texts)
    words = ["--format=csv"] if command == "report" else []
    words += [draw(studies if is_wild else st.sampled_from(right))] if command != "studies" else []
    known = [o for o in options_of(command) if is_wild or o.is_flag or o.opts[-1] in FITTING]
    for option in draw(st.lists(st.sampled_from(known), max_size=4 if is_wild else 2)):
        name = option.opts[-1]
        fitting = st.sampled_from(FITTING.get(name, ["1"]))
        one = st.one_of(fitting, fitting, hostile.texts) if is_wild else fitting
        given = [] if option.is_flag else [draw(one)]
        words += draw(st.sampled_from([[name, *given], ["=".join([name, *given])]]))
    return [*command.split(), *(draw(st.permutations(words)) if is_wild else words)]


def given(arguments: Iterable[str], option: str) -> set[str]:
    """The values of an option on a command line."""
    words = list(arguments)
    apart = {after for word, after in pairwise(words) if word == option}
    return apart | {w.partition("=")[2] for w in words if w.startswith(f"{option}=")}


def test_a_command_line_is_refused_in_a_line_or_done_as_it_says(
    fuzz: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run` trains nothing here, and nothing is asked of the network."""
    importlib.import_module("report.study.writer")  # with the fonts of the home that is one
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("ablations.cli.run.FORMATS", ("csv",))  # a page takes seconds
    monkeypatch.setattr("ablations.run.launch._train", lambda *given: None)
    monkeypatch.setattr("ablations.run.verification.verify", lambda *given: Verdict("", True))
    monkeypatch.setattr("hvae.data.download._download", _no_network)
    (tmp_path / "mine.toml").write_text("seeds = 2\n[axes]\ndepth = [1, 2]\n")
    store = Store(tmp_path / "results" / "quick")
    store.open_for_writing()
    for run in runs(narrow(PRESETS["quick"], {"depth": (1,)}, seeds=1)):
        store.write(record(run))

    def check(arguments: list[str]) -> str:
        before = hostile.files_under(tmp_path)
        result = hostile.call(arguments)
        after = hostile.files_under(tmp_path)
        changed = {path for path in after if after[path] != before.get(path)}
        assert before.keys() <= after.keys()
        assert all("report" in path.parts or path.suffix == ".toml" for path in changed), changed
        if result.exit_code == 0 and arguments[0] == "status" and "--help" not in arguments:
            listed = [*arguments, "--json"]
            _require_as_asked(arguments, json.loads(hostile.call(listed).stdout)["runs"])
        return f"exit {result.exit_code}"

    fuzz("command lines", 110, command_lines(), check)


def _require_as_asked(arguments: list[str], runs: dict[str, Any]) -> None:
    configs = [run["config"] for run in runs.values()]
    for option, key in SWEPT.items():
        if asked := given(arguments, option):
            values = {str((c["model"] | c["train"])[key]) for c in configs}
            assert values == {str(int(a)) if a.strip().isdigit() else a for a in asked}


def _no_network(*given: Any) -> None:
    raise OSError("no network")
