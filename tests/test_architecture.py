"""Which package may know what: import contracts, and where each outside library may be named."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("hvae", "bench", "report", "ablations")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
HOMES = {  # outside library -> the only places that may import it
    "click": ("ablations/cli/",),
    "tqdm": ("ablations/",),
    "matplotlib": ("report/",),
    "jinja2": ("report/",),
    "torchvision": ("hvae/data/download.py", "bench/ladder/documented_loop.py"),
    "torch": ("hvae/", "bench/", "ablations/"),
    "pandas": ("report/", "ablations/api.py"),
    "PIL": ("report/", "ablations/cli/sample.py"),
    "safetensors": ("hvae/records/attachments.py",),
    "ray": ("ablations/run/cluster.py",),
    "mlflow": ("ablations/trackers/mlflow_export.py",),
    "sqlalchemy": ("ablations/trackers/mlflow_export.py",),
    "tensorboard": ("ablations/trackers/tensorboard_export.py",),
}
WALL_CLOCKS = ("time.time", "time.time_ns", "datetime.now", ".st_mtime", ".st_mtime_ns", "getmtime")
LIGHT = [
    "hvae",
    "hvae.config",
    "hvae.records.store",
    "hvae.data.images",
    "hvae.records.provenance",
    "ablations.cli.main",
]


def imported(tree: ast.AST) -> Iterator[str]:
    """Top-level names of what a module imports, also by `importlib.import_module("name")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call) and last_name(node.func) == "import_module":
            named = node.args[0]
            if isinstance(named, ast.Constant):
                yield str(named.value).split(".")[0]


def last_name(node: ast.AST) -> str:
    """`c` of `a.b.c`."""
    return str(getattr(node, "attr", getattr(node, "id", "")))


@cache
def trees() -> dict[str, ast.Module]:
    """Every module, by its path from the root."""
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in SOURCES}


@cache
def imports() -> dict[str, set[str]]:
    """What every module imports, by its path from the root."""
    return {path: set(imported(tree)) for path, tree in trees().items()}


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    """Every node of every module, with the module's path from the root."""
    return [(path, node) for path, tree in trees().items() for node in ast.walk(tree)]


def importers(library: str) -> list[str]:
    """The modules that import a library, relative to the root."""
    return [path for path, libraries in imports().items() if library in libraries]


@pytest.mark.parametrize(
    "source",
    [
        "import click",
        "import click.testing as t",
        "from click.testing import CliRunner",
        "def f():\n    import click",
        "importlib.import_module('click')",
    ],
)
def test_the_search_finds_every_form_of_import(source: str) -> None:
    assert list(imported(ast.parse(source))) == ["click"]
    assert "click" not in imported(ast.parse("from . import click\nclick = 'click'"))


@pytest.mark.parametrize(("library", "homes"), HOMES.items())
def test_an_outside_library_is_imported_in_its_own_place_only(
    library: str, homes: tuple[str, ...]
) -> None:
    found = importers(library)
    assert [path for path in found if not path.startswith(homes)] == []
    assert found, f"nothing imports {library}"


def test_the_import_contracts_hold() -> None:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_importing_what_starts_first_does_not_import_torch(run_python: Callable[..., str]) -> None:
    heavy = "{'torch', 'torchvision', 'sklearn', 'matplotlib', 'pandas', 'mlflow', 'tensorboard'}"
    each = (f"import {name}; print('{name}:', *{heavy} & sys.modules.keys())" for name in LIGHT)
    assert run_python("\n".join(["import sys", *each])) == "\n".join(f"{name}:" for name in LIGHT)


def test_the_report_never_imports_torch_scikit_learn_or_the_suite(
    run_python: Callable[..., str],
) -> None:
    paths = [path.relative_to(ROOT) for path in (ROOT / "report").rglob("*.py")]
    never = "{'torch', 'torchvision', 'sklearn', 'ablations'}"
    names = ", ".join(".".join(path.with_suffix("").parts) for path in paths)
    assert run_python(f"import sys, {names}; print({never} & sys.modules.keys())") == "set()"


def test_a_broad_except_stands_only_at_the_edge_of_the_executors() -> None:
    broad = [
        path
        for path, node in nodes()
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
    ]
    assert broad == ["hvae/processes.py"]  # `attempt`, of which the executors are made


def test_git_is_called_in_one_place_only() -> None:
    callers = [path.relative_to(ROOT).as_posix() for path in SOURCES if '"git"' in path.read_text()]
    assert callers == ["hvae/records/git.py"]


def test_nothing_seeds_the_global_generator() -> None:
    calls = [
        (path, ast.unparse(node.func))
        for path, node in nodes()
        if isinstance(node, ast.Call) and last_name(node.func) in ("manual_seed", "seed")
    ]
    seeding = ("torch.manual_seed", "torch.seed", "random.seed", "np.random.seed")
    assert not [(path, call) for path, call in calls if call in seeding]


def test_no_clock_that_may_be_set_back_decides_or_measures_anything() -> None:
    """The gate alone asks for the date, to write it down."""
    asking = [
        path
        for path, node in nodes()
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith(WALL_CLOCKS)
    ]
    assert asking == ["bench/gate/storage.py"]


def unpickling(tree: ast.AST) -> list[str]:
    """Calls that may run what they read: `np.load` that allows pickles, and those of pickles."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = []
    for call in calls:
        name = ast.unparse(call.func)
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        is_numpy = name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False"
        others = ("torch.load", "joblib.load", "pd.read_pickle", "pickle.load", "pickle.loads")
        if is_numpy or name in others or name.endswith("Unpickler"):
            found.append(name)
    return found


def test_nothing_is_unpickled_but_what_a_worker_and_its_parent_say_to_each_other() -> None:
    for bad in ("np.load(f)", "np.load(f, allow_pickle=True)", "torch.load(f)", "pickle.loads(b)"):
        assert unpickling(ast.parse(bad))
    assert not unpickling(ast.parse("np.load(f, allow_pickle=False)"))
    found = {path: unpickling(tree) for path, tree in trees().items()}
    assert {path: calls for path, calls in found.items() if calls} == {
        "ablations/run/cluster.py": ["pickle.loads"],
        "hvae/processes.py": ["pickle.loads", "pickle.loads"],
    }
    importing = {
        path for name in ("pickle", "shelve", "dill", "marshal") for path in importers(name)
    }
    assert importing == {"ablations/run/cluster.py", "hvae/processes.py"}


@pytest.mark.parametrize(
    ("rule", "home"),
    [
        ("0.999", "hvae/training/adam.py"),  # Adam's constants
        ("quantiles(", "bench/throughput/spread.py"),  # which quartiles
        ("60_000", "hvae/datasets.py"),  # the table of datasets
    ],
)
def test_a_rule_is_stated_once(rule: str, home: str) -> None:
    places = [path.relative_to(ROOT).as_posix() for path in SOURCES if rule in path.read_text()]
    assert places == [home]
