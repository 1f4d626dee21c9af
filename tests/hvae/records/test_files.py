"""Whole files; what kills and sweeps do to them is tested with the store, in test_store.py."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from hvae.records.files import (
    TEMPORARY,
    DiskFull,
    overwrite,
    probe,
    prove_writable,
    publish,
    slug,
    sweep,
    writing_under,
)


def test_the_first_to_publish_wins_and_whoever_overwrites_does(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert publish(path, b"first")
    assert not publish(path, b"second")
    assert path.read_bytes() == b"first"
    overwrite(path, b"third")
    assert path.read_bytes() == b"third"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("write", [publish, overwrite])
def test_others_may_read_what_is_written_as_far_as_the_umask_lets_them(
    tmp_path: Path, write: object
) -> None:
    assert callable(write)
    before = os.umask(0o027)
    try:
        write(tmp_path / "file", b"content")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_sweep_takes_what_is_half_written_and_no_more(tmp_path: Path) -> None:
    for name in (f"{TEMPORARY}0", f"{TEMPORARY}1", "file"):
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^results: cannot write under .*allowed: a folder"):
        prove_writable(tmp_path / "file" / "device")
    prove_writable(tmp_path / "new" / "device")
    assert list((tmp_path / "new" / "device").iterdir()) == []


NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.ENOENT)


def failing(code: int) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", NO_LINKS, ids=errno.errorcode.get)
def test_without_hard_links_a_file_is_whole_and_the_first_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "link", failing(code))
    probe(tmp_path)
    assert publish(tmp_path / "file", b"first")
    assert not publish(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_where_nothing_can_be_published_fails_the_probe_and_stays_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    monkeypatch.setattr(os, "rename", failing(errno.EPERM))
    with pytest.raises(ValueError, match=rf"^results: cannot write under {tmp_path}: Operation"):
        prove_writable(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_full_disk_is_told_from_a_folder_that_is_wrong(tmp_path: Path, code: int) -> None:
    told = rf"^results: cannot write under {tmp_path}: .*; make room"
    with pytest.raises(DiskFull, match=told), writing_under(tmp_path):
        failing(code)()
    told = "allowed: a folder"
    with pytest.raises(ValueError, match=told) as refused, writing_under(tmp_path):
        failing(errno.EROFS)()
    assert not isinstance(refused.value, DiskFull)


def test_a_slug_can_be_part_of_a_file_name_anywhere() -> None:
    assert slug("AMD EPYC 7B13 (64/128)") == "amd-epyc-7b13-64-128"
