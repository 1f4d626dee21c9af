"""Nothing needs a compiler: whatever is wrong with it, a warning says so and None comes back."""

import ctypes
import os
import subprocess
from functools import partial
from pathlib import Path

import pytest

from hvae.native import build as c_library
from hvae.native.build import SOURCE, c_compiler, compiler_name

build = partial(c_library.library.__wrapped__, is_double=False)  # what a fresh process does
HAS_NONE = pytest.mark.skipif(c_compiler() is None, reason="needs a C compiler, such as cc")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(c_library.platformdirs, "user_cache_path", lambda name: folder / name)
    monkeypatch.setattr(c_library, "_spare_folders", lambda: [str(tmp_path / "spare")])
    # Nothing here is trained: a compiler that need not optimise answers ten times as fast.
    monkeypatch.setattr(c_library, "FLAGS", ("-O0", *c_library.FLAGS[1:]))
    return folder


@pytest.fixture
def bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it, and no `ziglang`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(c_library.importlib.util, "find_spec", lambda name: None)
    return folder


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_the_compiler_is_the_named_one_a_usual_one_or_that_of_ziglang(
    bin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert c_compiler() is compiler_name() is None
    monkeypatch.setattr(c_library.importlib.util, "find_spec", lambda name: name == "ziglang")
    found = c_compiler()
    assert found is not None
    assert found[1:] == ["-m", "ziglang", "cc"]
    script(bin / "clang", "")
    assert c_compiler() == [str(bin / "clang")]
    assert compiler_name() == "clang"
    script(bin / "mine", "")
    monkeypatch.setenv("CC", "mine")
    assert c_compiler() == [str(bin / "mine")]


def test_without_a_compiler_there_is_one_line(bin: Path) -> None:
    with pytest.warns(UserWarning, match="no C compiler found .* twice as long"):
        assert build() is None


FAILS = "echo 'cc1: error: no\nmore' >&2; exit 1"
SAYS_NOTHING = "exit 1"
MAKES_NO_LIBRARY = 'while [ $# -gt 1 ]; do [ "$1" = -o ] && echo > "$2"; shift; done'


@pytest.mark.parametrize("body", [FAILS, SAYS_NOTHING, MAKES_NO_LIBRARY])
def test_a_broken_compiler_is_one_line(bin: Path, body: str, cache: Path) -> None:
    script(bin / "cc", body)
    with pytest.warns(UserWarning, match=r"cannot compile step.c, going on without: .+"):
        assert build() is None
    assert not list(cache.glob("**/*.so"))


def test_a_slow_compiler_is_one_line(
    bin: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hvae.native.build.SECONDS", 0.5)
    script(bin / "cc", "echo 'cc1: warning: thinking' >&2; while :; do :; done")
    with pytest.warns(UserWarning, match="going on without: cc1: warning: thinking"):
        assert build() is None


@HAS_NONE
def test_a_folder_that_takes_nothing_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(c_library.platformdirs, "user_cache_path", lambda name: tmp_path / "file")
    with pytest.warns(UserWarning, match="going on without"):
        assert build() is None


@HAS_NONE
def test_it_is_compiled_once_for_all_processes(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(build(), ctypes.CDLL)
    asked: list[list[str]] = []
    run = c_library._run

    def counting(command: list[str], seconds: float) -> bytes:
        asked.append(command)
        return run(command, seconds)

    monkeypatch.setattr(c_library, "_run", counting)
    assert isinstance(build(), ctypes.CDLL)
    assert not any(str(SOURCE) in command for command in asked)
    assert isinstance(build(is_double=True), ctypes.CDLL)  # another: double
    assert len(list(cache.rglob("*.so"))) == 2


@HAS_NONE
def test_other_sources_are_compiled_anew(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()
    monkeypatch.setattr(c_library, "SOURCE", changed(tmp_path, "#include", "/* other */\n#include"))
    build()
    assert len(list(cache.rglob("*.so"))) == 2


def changed(folder: Path, before: str, after: str) -> Path:
    """A copy of the sources with another layers.h."""
    for path in SOURCE.parent.glob("*.[ch]"):
        (folder / path.name).write_bytes(path.read_bytes())
    text = (folder / "layers.h").read_text()
    assert text.count(before) == 1
    (folder / "layers.h").write_text(text.replace(before, after))
    return folder / SOURCE.name


@HAS_NONE
@pytest.mark.parametrize("structure", ["Model", "Batch"])
def test_a_structure_that_differs_from_pythons_is_one_line(
    structure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = changed(tmp_path, f"}} {structure};", f"int64_t more; }} {structure};")
    monkeypatch.setattr(c_library, "SOURCE", other)
    with pytest.warns(UserWarning, match=rf"without: {structure} has \d+ bytes in C and \d+ in "):
        assert build() is None


@HAS_NONE
@pytest.mark.parametrize("damage", [b"", b"\x7fELF", None], ids=["empty", "short", "one bit"])
def test_a_damaged_library_is_compiled_anew(cache: Path, damage: bytes | None) -> None:
    build()
    (path,) = cache.rglob("*.so")
    content = path.read_bytes()
    path.unlink()  # what is mapped must not change
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if damage is None else damage)
    assert isinstance(build(), ctypes.CDLL)
    assert path.read_bytes() == content


@HAS_NONE
def test_where_the_usual_folder_takes_nothing_another_is_used_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "spare").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr(c_library.platformdirs, "user_cache_path", lambda name: tmp_path / "file")
    with pytest.warns(UserWarning, match=rf"file/compiled takes no library .*: {tmp_path}/spare/"):
        assert isinstance(build(), ctypes.CDLL)
    assert isinstance(build(), ctypes.CDLL)  # found there, without a word
    assert not recwarn.list


@HAS_NONE
def test_of_a_user_without_a_home_it_lies_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> Path:
        raise RuntimeError("could not determine the home directory for '~/.cache'")

    (tmp_path / "spare").mkdir()
    monkeypatch.setattr(c_library.platformdirs, "user_cache_path", refuse)
    with pytest.warns(UserWarning, match=r"^the cache folder takes no library \(could not determ"):
        assert isinstance(build(), ctypes.CDLL)


@HAS_NONE
def test_where_the_linker_cannot_write_it_lies_elsewhere(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = c_library._run

    def full(command: list[str], seconds: float) -> bytes:
        if str(cache) in " ".join(command):
            raise subprocess.CalledProcessError(1, command, stderr="ld: No space left\nmore")
        return real(command, seconds)

    (tmp_path / "spare").mkdir()
    monkeypatch.setattr(c_library, "_run", full)
    with pytest.warns(UserWarning, match=r"takes no library \(ld: No space left\): .*/spare/"):
        assert isinstance(build(), ctypes.CDLL)


@HAS_NONE
def test_a_library_that_others_could_have_laid_there_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "spare" / f"hvae-{os.getuid()}"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    (tmp_path / "file").touch()
    monkeypatch.setattr(c_library.platformdirs, "user_cache_path", lambda name: tmp_path / "file")
    with pytest.warns(UserWarning, match="going on without"):
        assert build() is None
    assert not list(folder.iterdir())


def test_a_compiler_may_be_named_with_options_and_one_that_is_not_there_is_said(
    bin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(bin / "mine", FAILS)
    monkeypatch.setenv("CC", "mine -O1 '-D X'")
    assert c_compiler() == [str(bin / "mine"), "-O1", "-D X"]
    monkeypatch.setenv("CC", "absent -O1")
    script(bin / "cc", FAILS)
    told = f"'absent' is not there; {bin / 'cc'} compiles"
    with pytest.warns(UserWarning, match=told), pytest.warns(UserWarning, match="going on without"):
        assert build() is None
    for unfit in ("'", " "):
        monkeypatch.setenv("CC", unfit)
        assert c_compiler() == [str(bin / "cc")]
