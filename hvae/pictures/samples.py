"""Pictures of a trained model: samples, reconstructions, traversals, a manifold. Pixels as bytes.

Every picture is the decoder's pixel mean, 0–255. A model is drawn alone, on its own device, in
shapes of its own, with noise that the seed and its sizes determine: its pictures are the same bit
for bit whoever trained beside it. What is not finite is drawn black.
Shapes: B images, D pixels, L latent, T levels, U units.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from hvae import streams
from hvae.data.images import Images
from hvae.data.mnist import Bytes
from hvae.model.hierarchy import HierarchicalVAE, ancestral, posterior_means

SAMPLES = 16  # beside every record
EXTENT = 3.0  # traversals and manifold go this far to either side: ±3 is documented
TRAVERSAL_UNITS, TRAVERSAL_STEPS = 2, 7
TRAVERSED = 7  # the digit whose traversals are shown, if it is there: MNIST's first test image
DIGITS = 10  # at most


def pictures(
    model: HierarchicalVAE, images: Images, unit_kl: Sequence[float]
) -> dict[str, npt.NDArray[np.generic]]:
    """What lies beside every record: images as bytes, and which units were traversed.

    `unit_kl` [L] is the KL of each unit of level 1, by which the units are chosen: the two that say
    most, or the one there is.
    """
    shown = first_of_each_digit(images.test_labels)
    originals, digits = _pixels(images, shown), images.test_labels[shown].tolist()
    moved = digits.index(TRAVERSED) if TRAVERSED in digits else 0
    units = largest(unit_kl, TRAVERSAL_UNITS)
    return {
        "samples": samples(model, SAMPLES),
        "originals": as_bytes(originals),
        "reconstructions": reconstructions(model, originals),
        "traversals": traversals(model, originals[moved], units),
        "traversal_units": np.array(units),
    }


@torch.no_grad()
def samples(model: HierarchicalVAE, count: int, seed: int = 0) -> Bytes:
    """Ancestral samples: every level drawn given the one above, from z_T ~ N(0, I): [count, D]."""
    sizes = model.config
    noise = streams.noise("samples", seed, 0, count, sizes.num_layers, sizes.latent_dim)
    return _drawn(model, ancestral(model, _beside(model, noise))[0])


@torch.no_grad()
def reconstructions(model: HierarchicalVAE, x: Tensor) -> Bytes:
    """Images decoded from the posterior mean of z_1: [B, D] in [0, 1] -> [B, D]."""
    return _drawn(model, posterior_means(model, _beside(model, x))[0])


@torch.no_grad()
def traversals(model: HierarchicalVAE, x: Tensor, units: Sequence[int]) -> Bytes:
    """One image with one unit of z_1 moved by −3…3 from its posterior mean: [U, 7, D].

    The fourth of the seven is the image's reconstruction.
    """
    mean = posterior_means(model, _beside(model, x[None]))[0]  # [1, L]
    which = F.one_hot(torch.tensor(units), model.config.latents[0])  # [U, L]
    steps = torch.linspace(-EXTENT, EXTENT, TRAVERSAL_STEPS)
    return _drawn(model, mean + _beside(model, steps[:, None] * which[:, None, :]))


@torch.no_grad()
def manifold(model: HierarchicalVAE, steps: int, plane: tuple[int, int] = (0, 1)) -> Bytes:
    """The plane of two dimensions of the top level, the others 0: [steps, steps, D].

    Columns run over its first dimension from −3 to 3, rows over its second from 3 down to −3, as
    on paper. Every level below is at its prior's mean: no noise. Needs L ≥ 2.
    """
    axis = torch.linspace(-EXTENT, EXTENT, steps)
    z = torch.zeros(steps, steps, model.config.latents[-1])
    z[..., plane[0]], z[..., plane[1]] = axis, axis.flip(0)[:, None]
    z = _beside(model, z)
    for level in range(model.config.num_layers - 1, 0, -1):
        z = model.decode(level, z)
    return _drawn(model, z)


def largest(values: Sequence[float], count: int) -> list[int]:
    """Where the largest values are, the largest first; NaN counts as the least."""
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")
    return [int(index) for index in order[:count]]


def first_of_each_digit(labels: Bytes, each: int = 1) -> list[int]:
    """Where the first `each` images of every digit lie, or as many as there are, in the order of
    the digits; of other labels than 0–9 those of the ten lowest."""
    digits = np.unique(labels)[:DIGITS]
    found = [np.flatnonzero(labels == digit)[:each] for digit in digits]
    return [int(index) for indices in found for index in indices]


def as_bytes(pixels: Tensor) -> Bytes:
    """Pixels in [0, 1] as 0–255, rounded; NaN is 0."""
    bytes_: Bytes = (pixels.nan_to_num(0.0) * 255).round().byte().cpu().numpy()
    return bytes_


def _drawn(model: HierarchicalVAE, z: Tensor) -> Bytes:
    """Pixel means at z_1: [..., L] -> [..., D]."""
    return as_bytes(model.likelihood.mean(model.decode(0, z)))


def _beside(model: HierarchicalVAE, values: Tensor) -> Tensor:
    """The values where the model is, in its own precision."""
    return values.to(next(model.parameters()))


def _pixels(images: Images, indices: list[int]) -> Tensor:
    """Test images in [0, 1]: [B, D]."""
    return torch.tensor(images.test[indices]).float() / images.test_levels
