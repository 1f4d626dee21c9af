"""`hvae sample`: one run is chosen or the choice explained; the same command draws the same."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ablations.cli.main import main
from ablations.cli.sample import sheet
from ablations.grid import runs
from ablations.presets import PRESETS
from ablations.studies import narrow
from hvae.model.hierarchy import initial, state
from hvae.pictures.samples import samples
from hvae.records.attachments import weights_file
from hvae.records.store import WEIGHTS, Record, Store
from hvae.settings import digest, override

STUDY = narrow(PRESETS["quick"], {"depth": (1, 2), "loss": ("bce",), "latent": (2,)}, seeds=2)
RUNS = runs(STUDY)  # depth 1, depth 2 of seed 0; the same of seed 1
MakeRecord = Callable[..., Record]
Keep = Callable[..., None]


def call(folder: Path, *arguments: str) -> Result:
    command = ("sample", "quick", "--results", str(folder), *arguments)
    return CliRunner().invoke(main, command, catch_exceptions=False)


def refused(result: Result) -> str:
    """What a wrong input is told: one line, on stderr, exit code 2, nothing on stdout."""
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


@pytest.fixture
def keep(tmp_path: Path, make_record: MakeRecord) -> Keep:
    """Record the runs of these numbers, with weights or without."""
    store = Store(tmp_path / "quick")
    store.open_for_writing()

    def record(numbers: Sequence[int], with_weights: bool = True) -> None:
        for run in (RUNS[number] for number in numbers):
            files = {WEIGHTS: weights_file(state(initial(run)), run)} if with_weights else {}
            store.write(make_record(run), files)

    return record


def test_the_sheet_shows_the_samples_of_the_run(tmp_path: Path, keep: Keep) -> None:
    keep([1])
    result = call(tmp_path, "--count", "5", "--noise-seed", "3")
    assert result.stderr == ""
    path = Path(result.stdout.strip())
    assert path == tmp_path / "quick" / f"samples-{digest(RUNS[1])}.png"
    expected = sheet(samples(initial(RUNS[1]), 5, seed=3).reshape(5, 8, 8))
    with Image.open(path) as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), expected)


def test_the_same_command_writes_the_same_bytes_and_another_seed_others(
    tmp_path: Path, keep: Keep
) -> None:
    keep([1])
    out = [tmp_path / f"{name}.png" for name in ("once", "again", "other")]
    for path, seed in zip(out, ("0", "0", "1"), strict=True):
        assert call(tmp_path, "--out", str(path), "--noise-seed", seed).exit_code == 0
    once, again, other = (path.read_bytes() for path in out)
    assert once == again != other


@pytest.mark.parametrize(
    "options",
    [
        ("--depth", "2", "--seed", "1"),
        ("--key", digest(RUNS[3])),
        ("--key", digest(RUNS[3])[:8]),
        ("--depth", "2", "--loss", "bce", "--latent", "2", "--seed", "1"),
        ("--objective", "documented", "--set", "depth=2", "--set", "seed=1"),
        ("--set", "model.num_layers=2", "--set", "train.epochs=60", "--seed", "1"),
    ],
    ids=["axes", "key", "short key", "all but one", "set", "set whole names"],
)
def test_a_run_is_chosen_by_its_settings_or_its_key(
    tmp_path: Path, keep: Keep, options: tuple[str, ...]
) -> None:
    keep(range(4))
    assert digest(RUNS[3]) in call(tmp_path, *options).stdout


def test_where_only_one_run_kept_its_weights_it_is_that(tmp_path: Path, keep: Keep) -> None:
    keep([0, 2, 3], with_weights=False)
    keep([1])
    assert digest(RUNS[1]) in call(tmp_path).stdout


def test_a_model_of_other_sources_is_said_to_be(tmp_path: Path, make_record: MakeRecord) -> None:
    store = Store(tmp_path / "quick")
    store.open_for_writing()
    old = replace(make_record(RUNS[0]), code={"sources_sha256": "others"})
    store.write(old, {WEIGHTS: weights_file(state(initial(RUNS[0])), RUNS[0])})
    assert f"{old.digest}: made by other sources of hvae" in call(tmp_path).stderr


def test_runs_that_only_their_images_tell_apart_are_told_by_their_keys(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    store = Store(tmp_path / "quick")
    store.open_for_writing()
    own = {"data.path": "own.npz", "data.name": "own", "data.sizes": (9, 9, 8, 8)}
    both = [override(RUNS[0], own | {"data.sha256": letter * 64}) for letter in "ab"]
    for run in both:
        store.write(make_record(run), {WEIGHTS: weights_file(state(initial(run)), run)})
    keys = ", ".join(sorted(map(digest, both)))
    assert refused(call(tmp_path)).endswith(f"they differ in their images; keys {keys}")


def test_an_ambiguous_choice_is_told_what_distinguishes(
    tmp_path: Path, keep: Keep, make_record: MakeRecord
) -> None:
    keep(range(4))
    line = refused(call(tmp_path))
    assert "study: 4 runs under" in line
    assert line.endswith("have weights; allowed: one; they differ in depth 1, 2; seed 0, 1")
    longer = override(RUNS[0], {"train.epochs": 7, "data.name": "mnist"})
    weights = {WEIGHTS: weights_file(state(initial(longer)), longer)}
    Store(tmp_path / "quick").write(make_record(longer), weights)
    line = refused(call(tmp_path, "--depth", "1", "--seed", "0"))
    assert "have weights, depth 1, seed 0; allowed: one; " in line
    assert line.endswith("they differ in train.epochs 7, 60; data.name digits, mnist")


def test_without_weights_one_line_says_how_to_keep_them(tmp_path: Path, keep: Keep) -> None:
    told = f"study: 0 runs under {tmp_path / 'quick'} have weights; allowed: one; `hvae run STUDY"
    assert told in refused(call(tmp_path))
    keep([0, 1], with_weights=False)
    assert told in refused(call(tmp_path))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--depth", "4", "--seed", "9"), "have weights, depth 4, seed 9; allowed: one"),
        (("--key", "f00"), "have weights, key f00; allowed: one"),
        (
            ("--out", "picture.jpg"),
            "out: 'picture.jpg' is not allowed; allowed: a file named *.png",
        ),
        (("--count", "0"), "'--count'"),
        (("--depth", "2", "--set", "depth=3"), "depth: it is given twice; allowed: once"),
        (("--set", "epochs=3"), "unknown setting 'epochs'"),
        (("--set", "train.epochs=x"), "train.epochs: 'x' is not allowed; allowed: integers"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(
    tmp_path: Path, keep: Keep, options: tuple[str, ...], told: str
) -> None:
    keep([0])
    assert told in refused(call(tmp_path, *options))
    assert not list(tmp_path.rglob("*.png"))


def test_damaged_weights_are_refused_naming_the_file(tmp_path: Path, keep: Keep) -> None:
    keep([0])
    path = Store(tmp_path / "quick").weights_path(digest(RUNS[0]))
    path.write_bytes(path.read_bytes()[:-1])
    assert f"{path}: no whole file of weights" in refused(call(tmp_path))


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path, keep: Keep) -> None:
    keep([0])
    (tmp_path / "file").touch()
    line = refused(call(tmp_path, "--out", str(tmp_path / "file" / "a.png")))
    assert f"out: cannot write under {tmp_path / 'file'}: " in line


def test_the_name_of_a_study_leads_to_no_other_folder(tmp_path: Path, keep: Keep) -> None:
    keep([0])
    for name in ("../quick", str(tmp_path / "quick"), "."):
        command = ("sample", name, "--results", str(tmp_path / "results"))
        result = CliRunner().invoke(main, command, catch_exceptions=False)
        assert "name: " in refused(result)


def test_a_run_that_diverged_draws_nothing(tmp_path: Path, make_record: MakeRecord) -> None:
    store = Store(tmp_path / "quick")
    store.open_for_writing()
    weights = {WEIGHTS: weights_file(state(initial(RUNS[0])), RUNS[0])}
    store.write(make_record(RUNS[0], nll=None), weights)
    line = refused(call(tmp_path))
    assert f"key: '{digest(RUNS[0])}' diverged" in line
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize(("count", "shape"), [(1, (56, 56)), (5, (119, 182)), (9, (182, 182))])
def test_a_sheet_is_as_square_as_can_be_with_enlarged_digits(
    count: int, shape: tuple[int, int]
) -> None:
    """8 by 8 pixels become 56 by 56, seven pixels apart."""
    images = np.arange(count * 64, dtype=np.uint8).reshape(count, 8, 8)
    pixels = sheet(images)
    assert pixels.shape == shape
    np.testing.assert_array_equal(pixels[:56:7, :56:7], images[0])
