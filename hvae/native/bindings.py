"""`step.c` as Python calls it: its structures, its functions, the room that they need. Shapes:
S draws, B images, D pixels, H hidden."""

import ctypes

import torch
from torch import Tensor

from hvae.model import Decoder
from hvae.native.build import library

SLACK = 64  # numbers behind the parameters, which whole vectors may read

LONG, DOUBLE, POINTER = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


class Model(ctypes.Structure):
    """`Model` of step.c."""

    _fields_ = (
        *((name, LONG) for name in ("pixels", "hidden", "latent", "levels", "is_bce", "is_joint")),
        *((name, DOUBLE) for name in ("learning_rate", "kl_weight", "kl_floor")),
        *((name, POINTER) for name in ("parameters", "mean", "square")),
    )


class Batch(ctypes.Structure):
    """`Batch` of step.c."""

    _fields_ = (
        ("images", LONG),
        *((name, POINTER) for name in ("x", "start", "lit", "noise")),
        *((name, LONG) for name in ("noise_image", "noise_level")),
    )


SIGNATURES = {
    "padded_images": [LONG],
    "work_size": [POINTER, LONG],
    "prepare_all": [
        *[POINTER, LONG, LONG, POINTER, POINTER, LONG, LONG, DOUBLE],
        *[POINTER, LONG, LONG, POINTER, POINTER, POINTER, POINTER],
    ],
    "steps": [POINTER, POINTER, LONG, LONG, POINTER, POINTER],
    "pixel_sums": [POINTER, LONG, LONG, LONG, POINTER, POINTER, LONG, *[POINTER] * 4],
}


def declared(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The library for a dtype with the types of its functions, if it can be had."""
    found = library(is_double=dtype == torch.float64)
    if found is not None:
        for name, types in SIGNATURES.items():
            getattr(found, name).argtypes = types
        found.work_size.restype = found.padded_images.restype = LONG
    return found


def pixel_sums(
    compiled: ctypes.CDLL, decoder: Decoder, hidden: Tensor, x: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """`pixels.plain_sums` of hidden units [S, B, H]: [S, B] each."""
    weight, bias = decoder.linear_2.weight, decoder.linear_2.bias
    hidden, (draws, images, width) = hidden.contiguous(), hidden.shape
    partition, error = hidden.new_empty(2, draws, images)
    lanes = lanes_for(images)
    across = None if x is None else rows_across(compiled, x)
    work = hidden.new_empty((2 * SLACK + width + 3) * lanes)
    compiled.pixel_sums(
        *(hidden.data_ptr(), draws, images, width, weight.data_ptr(), bias.data_ptr(), len(bias)),
        None if across is None else across.data_ptr(),
        *(work.data_ptr(), partition.data_ptr(), error.data_ptr()),
    )
    return partition, None if x is None else error


def rows_across(compiled: ctypes.CDLL, x: Tensor) -> Tensor:
    """Images [B, D] as step.c reads them: [D, B padded to whole vectors]."""
    lanes = int(compiled.padded_images(len(x)))
    across = x.new_zeros(x.shape[1], lanes)
    across[:, : len(x)] = x.mT
    return across


def lanes_for(images: int) -> int:
    """Room for images in whole vectors of any processor."""
    return -(-images // SLACK) * SLACK
