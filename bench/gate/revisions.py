"""The two sides of a comparison, laid out in a temporary folder from a checkout and its history."""

import ast
import contextlib
import shutil
import signal
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from bench.gate.side.harness import CONSTRAINTS, FILES, MEASURED
from bench.gate.sides import CannotMeasure, Sides
from hvae.records.claims import Claims
from hvae.records.code_digest import code_digest, source_files
from hvae.records.git import GitError, git, git_or_none

# The latter of a base with flat folders.
HARNESSES = ("bench/gate/side/harness.py", "bench/harness.py")
PREFIX, CLAIM = "hvae-gate-", "claim"  # of a folder, and of the file in it
SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Revisions(NamedTuple):
    """Full hashes of the commits compared; `is_dirty`: head is not as committed."""

    base: str
    head: str
    is_dirty: bool


def checkout_root(folder: Path) -> Path:
    """The checkout around a folder. Raises `ValueError` where there is none of hvae."""
    try:
        root = Path(git(folder, "rev-parse", "--show-toplevel"))
    except GitError as error:
        raise ValueError(f"gate: {folder}: {error}; allowed: a checkout of hvae") from error
    missing = [name for name in (f"{MEASURED}/__init__.py", *FILES) if not (root / name).is_file()]
    if missing:
        raise ValueError(f"gate: {root} is no checkout of hvae: {missing[0]} is missing")
    return root


def resolve(root: Path, base: str | None) -> Revisions:
    """The merge-base of `base` and HEAD, and HEAD; HEAD twice where `base` is None.

    Raises `ValueError` where the history at hand does not hold it, a shallow clone's for example.
    """
    head = git_or_none(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if head is None:
        raise ValueError(f"gate: {root} has no commit yet")
    is_dirty = bool(git_or_none(root, "status", "--porcelain", "--", MEASURED, *FILES, CONSTRAINTS))
    if base is None:
        return Revisions(head, head, is_dirty)
    if git_or_none(root, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}") is None:
        raise ValueError(f"base: {base!r} is no commit here{_advice(root, base)}")
    merge_base = git_or_none(root, "merge-base", base, "HEAD")
    if not merge_base:
        raise ValueError(f"base: {base!r} and HEAD have no common commit here{_advice(root, base)}")
    return Revisions(merge_base, head, is_dirty)


def committed(root: Path, revision: str, name: str) -> str:
    """The content of a file in a commit; nothing where the commit has no such file."""
    return git_or_none(root, "show", f"{revision}:{name}") or ""


def constraints(tree: Path) -> str:
    """The versions of libraries that a tree was tested with; nothing where it names none."""
    file = tree / CONSTRAINTS
    return file.read_text() if file.is_file() else ""


class Layout(NamedTuple):
    """The sides, and the trees whose sources they hold: the base's, unpacked, and the checkout."""

    sides: Sides
    base_tree: Path
    head_tree: Path


@contextlib.contextmanager
def laid_out(root: Path, base: str | None) -> Iterator[Layout]:
    """Both sides as folders, base from a commit (from the checkout itself where None), head from
    the checkout as it stands. Gone afterwards, also where it is interrupted or terminated; what a
    killed one left is removed by the next."""
    _sweep(Path(tempfile.gettempdir()))
    with (
        _terminated_as_interrupted(),
        tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name,
        Claims(Path(name) / "unclaimed") as claims,
    ):
        claims.take(0)
        (Path(name) / "unclaimed").rename(Path(name) / CLAIM)
        folder = Path(name).resolve()
        tree = root if base is None else _unpack(root, base, folder)
        sides = Sides(_lay_out(tree, root, folder / "base"), _lay_out(root, root, folder / "head"))
        yield Layout(sides, tree, root)


def sources_digest(tree: Path, judges: Sequence[str] = ()) -> str:
    """Hex digest of the code that decides a measurement: of measured sources, of the harness and of
    the files named in `judges`."""
    named = [tree / name for name in (*FILES, *judges)]
    present = [path for path in named if path.is_file()]
    return code_digest(tree, [*source_files(tree / MEASURED), *present])


def declared(tree: Path) -> list[str]:
    """The names that a tree's own harness measures, as they are written there; none where it has no
    harness."""
    file = next((tree / name for name in HARNESSES if (tree / name).is_file()), None)
    if file is None:
        return []
    try:
        module = ast.parse(file.read_text(), file.name)
    except SyntaxError as error:
        raise CannotMeasure("base", f"SyntaxError: {error}") from error
    assigned = [node for node in module.body if isinstance(node, ast.Assign)]
    values = {ast.unparse(node.targets[0]): node.value for node in assigned}
    named = [values[kind] for kind in ("BENCHMARKS", "TRAININGS") if kind in values]
    return [name for value in named for name in ast.literal_eval(value)]


def _sweep(folder: Path) -> None:
    """Remove what was laid out here by a process that is no more: its claim went with it."""
    for claim in folder.glob(f"{PREFIX}*/{CLAIM}"):
        with contextlib.suppress(OSError), Claims(claim) as claims:  # one of another user's
            if claims.take(0) and claims.are_kept:
                shutil.rmtree(claim.parent, ignore_errors=True)


def _unpack(root: Path, revision: str, folder: Path) -> Path:
    """The tree of a commit, in a folder of no repository."""
    file, tree = folder / "tree.tar", folder / "tree"
    try:
        git(root, "archive", "--format=tar", f"--output={file}", revision)
        with tarfile.open(file) as archive:
            # Python 3.11.3 and older have no filter, 3.12 and 3.13 warn where none is named.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(tree)
    except (GitError, tarfile.TarError) as error:
        raise ValueError(f"base: git cannot unpack it: {error}") from error
    return tree


def _lay_out(source: Path, root: Path, side: Path) -> Path:
    """A side: the measured sources of one, the harness of HEAD."""
    if not (source / MEASURED).is_dir():
        raise CannotMeasure(side.name, f"it has no {MEASURED}/")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source / MEASURED, side / MEASURED, ignore=ignored)
    for name in FILES:
        (side / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, side / name)
    if (source / CONSTRAINTS).is_file():
        shutil.copyfile(source / CONSTRAINTS, side / CONSTRAINTS)
    return side


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a closed terminal, unwind like Ctrl-C, so that what must be removed is
    removed; what is ignored, as under nohup, stays ignored."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in previous.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _advice(root: Path, base: str) -> str:
    """What would help: a clone of one branch or tag, as CI makes it, fetches no other unless it is
    told to."""
    if base.endswith("/"):
        return (
            ": nothing follows the slash; where a variable was to, as GITHUB_BASE_REF in CI, it is "
            "empty (it is set for pull requests only)"
        )
    branches = "origin '+refs/heads/*:refs/remotes/origin/*'"
    if git_or_none(root, "rev-parse", "--is-shallow-repository") == "true":
        return (
            f"; this clone is shallow: `git fetch --unshallow {branches}`, or fetch-depth: 0 in CI"
        )
    advice = "; allowed: a branch, tag or hash of this history"
    has_origin = git_or_none(root, "remote", "get-url", "origin") is not None
    return advice + (f" (`git fetch {branches}` brings what origin has)" if has_origin else "")
