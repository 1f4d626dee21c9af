"""hvae/records/attachments.py: arrays and weights as bytes and back."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hvae.config import DataConfig, ModelConfig, RunConfig, as_dict
from hvae.model.hierarchy import initial, state, with_weights
from hvae.records.attachments import (
    AttachmentError,
    arrays_file,
    read_arrays,
    read_weights,
    weights_file,
)

RUN = RunConfig(ModelConfig(64, 10, 3, 2), data=DataConfig("digits"))
ARRAYS = {"images": np.arange(12, dtype=np.uint8).reshape(3, 4), "units": np.array([4, 1])}


def test_arrays_come_back_with_names_shapes_types_and_values(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    path.write_bytes(arrays_file(ARRAYS))
    back = read_arrays(path)
    assert list(back) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_weights_come_back_bit_for_bit_and_load_into_the_documented_model(tmp_path: Path) -> None:
    model, path = initial(RUN), tmp_path / "weights.safetensors"
    path.write_bytes(weights_file(state(model), RUN))
    back = read_weights(path)
    assert set(back) == set(model.state_dict())
    assert "encoders.0.linear.weight" in back
    loaded = with_weights(RUN, back)
    for name, own in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], own)


def test_the_same_content_gives_the_same_bytes_in_another_process(
    run_python: Callable[..., str],
) -> None:
    code = """
import hashlib, numpy as np
from hvae.records.attachments import arrays_file, weights_file
from hvae.config import RunConfig
arrays = {name: np.ones(3, np.float32) for name in "abc"}
print(hashlib.sha256(arrays_file(arrays) + weights_file(arrays, RunConfig())).hexdigest())
"""
    assert run_python(code) == run_python(code)


def test_the_file_of_weights_says_which_run_it_is_of() -> None:
    content = weights_file(state(initial(RUN)), RUN)
    (size,) = struct.unpack("<Q", content[:8])  # safetensors: length, JSON header, tensors
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    assert json.loads(metadata["run_config"]) == as_dict(RUN)


@pytest.mark.parametrize("read", [read_arrays, read_weights])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99, None], ids=["empty", "half", "most", "missing"])
def test_a_damaged_or_missing_file_is_refused_in_one_line_naming_it(
    tmp_path: Path, read: Callable[[Path], Any], keep: float | None
) -> None:
    path = tmp_path / "file"
    whole = arrays_file(ARRAYS) if read is read_arrays else weights_file(state(initial(RUN)), RUN)
    if keep is not None:
        path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(AttachmentError, match=rf"^{path}: no whole") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_arrays_that_would_run_code_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    np.savez(path, objects=np.array([{}], dtype=object))
    with pytest.raises(AttachmentError, match=r"allow_pickle"):
        read_arrays(path)


def test_reading_weights_imports_no_torch(run_python: Callable[..., str]) -> None:
    assert (
        run_python("import sys, hvae.records.attachments; print('torch' in sys.modules)") == "False"
    )
