"""Studies from TOML: what a file may say, what it is told where it may not, what is kept of it."""

import textwrap
from pathlib import Path

import pytest

from ablations import study_files
from ablations.grid import runs
from ablations.presets import PRESETS
from ablations.studies import Study, Variant
from ablations.study_files import COPY, as_file, keep, load_study

DEPTH = "[axes]\ndepth = [1]\n"


def write(path: Path, text: str) -> str:
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return str(path)


def test_the_example_of_the_docstring_loads(tmp_path: Path) -> None:
    lines = (study_files.__doc__ or "").splitlines()
    example = "\n".join(line for line in lines if line.startswith("    ") or not line)
    study = load_study(write(tmp_path / "mine.toml", example))
    assert (study.name, study.seeds, study.question) == (
        "wake-up",
        3,
        "What wakes the upper levels?",
    )
    assert study.axes == {"depth": (2, 3), "train.learning_rate": (1e-3, 3e-3)}
    assert study.settings == {"train.epochs": 10, "data.name": "digits"}
    warm_up = {"objective": "elbo", "train.kl_warmup_epochs": 5}
    assert study.variants == (
        Variant("documented"),
        Variant("ELBO", {"objective": "elbo"}),
        Variant("ELBO, warm-up", warm_up),
    )
    assert len(runs(study)) == 36


def test_tables_of_sections_mean_the_same_as_dotted_names(tmp_path: Path) -> None:
    dotted = """
        [axes]
        "train.kl_weight" = [0.5, 1]
        [set]
        "train.epochs" = 10
        [[variants]]
        name = "ELBO"
        set = { "train.objective" = "elbo" }
    """
    nested = """
        [axes]
        train.kl_weight = [0.5, 1]
        [set.train]
        epochs = 10
        [[variants]]
        name = "ELBO"
        [variants.set.train]
        objective = "elbo"
    """
    one, other = (
        write(tmp_path / "s.toml", text) and load_study(str(tmp_path / "s.toml"))
        for text in (dotted, nested)
    )
    assert one == other
    assert [run.train.kl_weight for run in runs(one)] == [0.5, 1.0]


@pytest.mark.parametrize("name", ["mine.toml", "S.TOML", "~/mine.toml"])
def test_a_file_is_known_by_its_suffix_in_either_case_with_a_mark_and_from_home(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / Path(name).name, f"\ufeff{DEPTH}")
    study = load_study(name)
    assert (study.name, study.argument.strip("'")) == (Path(name).stem, name)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "sedes = 3",
            "unknown key 'sedes'; allowed: axes, budget, name, question, seeds, set, var",
        ),
        ("", r"nothing is asked; allowed: \[axes\], \[set\] or \[\[variants\]\]"),
        ("[axes]\ndept = [1]", "unknown setting 'dept'; allowed: "),
        ("[axes]\ndepth = 2", "depth: 2 is no axis; allowed: a list"),
        ("[axes]\n# depth = [2]", "nothing is asked; allowed: "),
        ("[axes]\ndepth = {}", "depth: {} is no axis; allowed: a list"),
        ("[axes.train]", "unknown setting 'train'; allowed: "),
        ("[set]\n'train.epochs' = {}", "train.epochs: {} is not allowed; allowed: "),
        ("[set]\n'data.path' = ''", "data.path: '' is not allowed; allowed: a file"),
        ("[set]\ndepth = 2\nmodel.num_layers = 2", "depth: it is given twice"),
        ("[set]\n'train.epochs' = 5\ntrain.epochs = 9", "train.epochs: it is given twice"),
        (
            "[[variants]]\nname = 'x'\n[variants.set]\n'train.epochs' = 5\ntrain.epochs = 9",
            "train.epochs: it is given twice",
        ),
        (f"[axes]\ndepth = {'[' * 5000}{']' * 5000}", "is nested too deeply; allowed: "),
        (
            "[set]\n'data.name' = 'digits'\n'data.path' = 'a.npz'",
            "data.name: a path is given, too; allowed: one of the two",
        ),
        ("axes = 3", r"axes: 3 is not allowed; allowed: a table \[axes\]"),
        ("variants = [3]", r"variants: 3 is not allowed; allowed: tables \[\[variants\]\]"),
        ("variants = 3", r"variants: 3 is not allowed; allowed: tables \[\[variants\]\]"),
        ("[[variants]]\nnam = 'x'", "unknown key of a variant 'nam'; allowed: name, set"),
        ("[[variants]]\nset.depth = 2", "variant: name '' is not allowed"),
        ("question = 3\n[set]", "question: 3 is not allowed; allowed: text in quotes"),
        ('seeds = "3"\n[set]', "seeds: '3' is not allowed; allowed: integers ≥ 1"),
        (
            'name = "Quick"\n[set]',
            "name: 'Quick' is that of a study of hvae's own; allowed: any ot",
        ),
        ('name = "reproduce-2"\n[set]', "name: 'reproduce-2' is that of a study of hvae's own"),
        ('name = "bench"\n[set]', "name: 'bench' is that of a study of hvae's own"),
        ('name = "é"\n[set]', r"name: 'é' is not allowed; allowed: [^;]*$"),
        ("depth = [", "Invalid|Unclosed"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path / "mine.toml", text)
    with pytest.raises(ValueError, match=told) as caught:
        load_study(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[axes]\ndepths = [1, 2]", "'depths' is now depth under [axes]"),
        (
            '[axes]\nlosses = ["bce"]\n[base.train]\nepochs = 5',
            "'losses' is now loss under [axes]; "
            "'base.train.epochs' is now \"train.epochs\" = 5 under [set]",
        ),
    ],
)
def test_a_file_of_an_older_form_is_shown_that_of_today(
    tmp_path: Path, text: str, told: str
) -> None:
    path = write(tmp_path / "mine.toml", text)
    with pytest.raises(ValueError, match="older form") as caught:
        load_study(path)
    assert str(caught.value) == f"{path}: of an older form: {told}"


@pytest.mark.parametrize("stem", ["étude", "my study", "v1.2", "x" * 120])
def test_a_file_whose_name_cannot_be_the_studys_is_told_what_helps(
    tmp_path: Path, stem: str
) -> None:
    path = tmp_path / f"{stem}.toml"
    with pytest.raises(ValueError, match=r'or write name = "…" in the file$'):
        load_study(write(path, DEPTH))
    assert load_study(write(path, f'name = "mine"\n{DEPTH}')).name == "mine"


def test_what_is_no_study_is_told_what_is(tmp_path: Path) -> None:
    known = (
        r"^study: 'qick' is not known; allowed: family, levels, literature, objective, quick, "
        r"standard, a \*.toml file$"
    )
    with pytest.raises(ValueError, match=known):
        load_study("qick", tmp_path)
    with pytest.raises(ValueError, match=r"^study: cannot read no\.toml: No such file"):
        load_study("no.toml")
    (tmp_path / "latin.toml").write_bytes(b'question = "\xe9"')
    with pytest.raises(ValueError, match=r"latin\.toml: 'utf-8' codec can't decode"):
        load_study(str(tmp_path / "latin.toml"))
    for strange in ("x" * 300, "../x", ""):
        with pytest.raises(ValueError, match="is not known"):
            load_study(strange, tmp_path)


def test_a_study_kept_beside_its_records_is_known_by_its_name(tmp_path: Path) -> None:
    study = load_study(write(tmp_path / "mine.toml", DEPTH))
    folder = tmp_path / "results" / "mine"
    (folder / "runs").mkdir(parents=True)
    told = rf"^study: of 'mine' only records are in {folder}; allowed: its \*\.toml file$"
    with pytest.raises(ValueError, match=told):
        load_study("mine", tmp_path / "results")
    keep(study, folder)
    again = load_study("mine", tmp_path / "results")
    assert again == study
    assert (study.argument, again.argument) == (str(tmp_path / "mine.toml"), "mine")
    changed = load_study(write(tmp_path / "mine.toml", f'question = "?"\n{DEPTH}'))
    keep(changed, folder)
    assert load_study("mine", tmp_path / "results").question == "?"


def test_a_copy_is_written_where_it_is_not_there_already(tmp_path: Path) -> None:
    keep(PRESETS["quick"], tmp_path)
    assert list(tmp_path.iterdir()) == []
    study = load_study(write(tmp_path / "mine.toml", DEPTH))
    keep(study, tmp_path)
    before = (tmp_path / COPY).stat().st_ino
    keep(study, tmp_path)
    assert (tmp_path / COPY).stat().st_ino == before


def test_a_folder_that_was_copied_leads_to_no_other(tmp_path: Path) -> None:
    for folder in ("mine", "mine-old"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / COPY, f'name = "mine"\n{DEPTH}')
    assert load_study("mine", tmp_path).name == "mine"
    with pytest.raises(ValueError, match="mine-old holds the study 'mine'; allowed: a folder nam"):
        load_study("mine-old", tmp_path)


def test_what_was_made_in_python_is_known_by_its_name_too(tmp_path: Path) -> None:
    made = Study(
        "mine",
        'Does "β"\nmatter\x7f?',
        {"train.epochs": 3, "train.rate_steps": [1, 2]},
        {"depth": range(1, 3), "train.learning_rate": (1e-5, 3e-3), "loss": ("bce", "mse")},
        (Variant("documented"), Variant("ELBO, β = ½", {"objective": "elbo"})),
        seeds=4,
        budget="an hour",
    )
    (tmp_path / "mine").mkdir()
    keep(as_file(made), tmp_path / "mine")
    assert load_study("mine", tmp_path) == made
    assert as_file(PRESETS["quick"]).toml == ""
    with pytest.raises(ValueError, match=r"^name: 'bench' is that of a study of hvae's own"):
        as_file(Study("bench"))
    with pytest.raises(UnicodeEncodeError):
        as_file(Study("mine", "\udcff"))


def test_a_copy_that_is_given_as_a_file_is_its_folders_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    (folder / "runs").mkdir(parents=True)
    file = write(folder / COPY, DEPTH)
    study = load_study(file, tmp_path)
    assert (study.name, study.argument) == ("mine", file)
    assert load_study(file).name == "study"  # of other results
    monkeypatch.chdir(folder)
    assert load_study(COPY, Path("..")).name == "mine"
    assert load_study(COPY).name == "study"
