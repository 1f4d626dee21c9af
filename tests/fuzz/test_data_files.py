"""Any IDX file: refused in one line that names it, or its images are the bytes that it holds."""

import gzip
import struct
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
from hypothesis import strategies as st

from hvae.data.images import load_grey
from hvae.data.mnist import files_of

COUNT = 3


def idx(items: int, shape: tuple[int, ...]) -> bytes:
    content = np.arange(items * int(np.prod(shape)), dtype=np.uint8).tobytes()
    return struct.pack(f">{2 + len(shape)}I", 0x0801 + len(shape), items, *shape) + content


words = st.one_of(
    st.integers(0, 2**32 - 1), st.sampled_from([0x803, 0x801, 0, 1, 2, 3, 28, 2**31, 0xD03, 0x8000])
)
edits = st.one_of(
    st.tuples(st.just("word"), st.integers(0, 3), words),
    st.tuples(st.just("cut"), st.integers(0, 2400), st.just(0)),
    st.tuples(st.just("grow"), st.integers(1, 2400), st.just(0)),
    st.tuples(st.just("gzip"), st.integers(0, 200), st.just(0)),
    st.tuples(st.just("other"), st.integers(0, 60), words),
    st.tuples(st.just("byte"), st.integers(16, 2400), st.integers(0, 255)),
    st.tuples(st.just("byte"), st.integers(16, 2400), st.integers(0, 255)),
    st.tuples(st.just("gone"), st.just(0), st.just(0)),
    st.tuples(st.just("folder"), st.just(0), st.just(0)),
)


def edited(content: bytes, kind: str, place: int, word: int) -> bytes:
    if kind == "word":
        return content[: 4 * place] + struct.pack(">I", word) + content[4 * place + 4 :]
    if kind == "byte" and place < len(content):
        return content[:place] + bytes([word]) + content[place + 1 :]
    if kind in ("cut", "byte"):
        return content[:place]
    if kind == "grow":
        return content + bytes(place)
    if kind == "gzip":
        return gzip.compress(content)[: place or None]
    return struct.pack(">I", word) * place


def test_a_data_file_is_refused_in_a_line_or_is_what_it_holds(
    fuzz: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetching repairs nothing here: the network is away."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hvae.data.download._download", _no_network)
    parts = [pair for part in files_of("mnist", tmp_path / "data") for pair in part.items()]
    whole = {path: idx(COUNT, shape) for path, shape in parts}
    next(iter(whole)).parent.mkdir(parents=True)

    def check(given: Any) -> str:
        which, changes = given
        for path, content in whole.items():
            _remove(path)
            path.write_bytes(content)
        path = parts[which][0]
        for kind, place, word in changes:
            content = path.read_bytes() if path.is_file() else b""
            _remove(path)
            if kind == "folder":
                path.mkdir()
            elif kind != "gone":
                path.write_bytes(edited(content, kind, place, word))
        result = hostile.call(["data", "fetch", "mnist", "--data-dir", "data"])
        if result.exit_code:
            assert result.exit_code == 2
            with pytest.raises(ValueError, match="mnist: ") as caught:
                load_grey("mnist", tmp_path / "data")
            assert "\n" not in str(caught.value)
            return "refused"
        _, train, train_labels, test, test_labels = load_grey("mnist", tmp_path / "data")
        for array, (file, _) in zip((train, train_labels, test, test_labels), parts, strict=True):
            assert file.read_bytes().endswith(array.tobytes())
            assert len(array) in (len(train), len(test))
        return "accepted"

    changes = st.lists(edits, min_size=1, max_size=2)
    fuzz("data files", 90, st.tuples(st.integers(0, 3), changes), check)


def _remove(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)


def _no_network(*given: Any) -> None:
    raise OSError("no network")
