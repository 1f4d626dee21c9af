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
INTERPOLATION_STEPS = 10
TRAVERSED = 7  # the digit whose traversals are shown, if it is there: MNIST's first test image
DIGITS = 10  # at most


def pictures(
    model: HierarchicalVAE,
    images: Images,
    unit_kl: Sequence[Sequence[float]],
    shape: tuple[int, int],
) -> dict[str, npt.NDArray[np.generic]]:
    """What lies beside every record: images as bytes, their `shape` (height, width), and which
    units were traversed.

    `unit_kl` [T][L] is the KL of each unit, by which the units of a level are chosen: of level 1
    the two that say most, or the one there is; of each above the one.
    """
    shown = first_of_each_digit(images.test_labels)
    originals, digits = _pixels(images, shown), images.test_labels[shown].tolist()
    moved = digits.index(TRAVERSED) if TRAVERSED in digits else 0
    x = originals[moved]
    units = largest(unit_kl[0], TRAVERSAL_UNITS)
    above = [largest(level, 1) for level in unit_kl[1:]]
    return {
        "samples": samples(model, SAMPLES),
        "originals": as_bytes(originals),
        "reconstructions": reconstructions(model, originals),
        "traversals": traversals(model, x, units),
        "traversal_units": np.array(units),
        "upper_traversals": np.array(
            [traversals(model, x, own, level)[0] for level, own in enumerate(above, start=1)]
        ),
        "upper_units": np.array(above).reshape(-1),
        "interpolation": interpolation(model, originals[moved - 1], x),
        "image_shape": np.array(shape),
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
def traversals(model: HierarchicalVAE, x: Tensor, units: Sequence[int], level: int = 0) -> Bytes:
    """One image with one unit of a level moved by −3…3 from its posterior mean: [U, 7, D].

    Every level below is at its prior's mean. Level 0 is z_1: there the fourth of the seven is the
    image's reconstruction.
    """
    mean = posterior_means(model, _beside(model, x[None]))[level]  # [1, L]
    which = F.one_hot(torch.tensor(units), model.config.latents[level])  # [U, L]
    steps = torch.linspace(-EXTENT, EXTENT, TRAVERSAL_STEPS)
    z = mean + _beside(model, steps[:, None] * which[:, None, :])
    return _drawn(model, _down(model, z, level))


@torch.no_grad()
def interpolation(model: HierarchicalVAE, one: Tensor, other: Tensor) -> Bytes:
    """From one image to another, on the line between their posterior means of z_1: [10, D]. Its
    ends are their reconstructions."""
    ends = posterior_means(model, _beside(model, torch.stack([one, other])))[0]
    share = _beside(model, torch.linspace(0, 1, INTERPOLATION_STEPS)[:, None])
    return _drawn(model, torch.lerp(ends[:1], ends[1:], share))


@torch.no_grad()
def manifold(model: HierarchicalVAE, steps: int, plane: tuple[int, int] = (0, 1)) -> Bytes:
    """The plane of two dimensions of the top level, the others 0: [steps, steps, D].

    Columns run over its first dimension from −3 to 3, rows over its second from 3 down to −3, as
    on paper. Every level below is at its prior's mean: no noise. Needs L ≥ 2.
    """
    axis = torch.linspace(-EXTENT, EXTENT, steps)
    z = torch.zeros(steps, steps, model.config.latents[-1])
    z[..., plane[0]], z[..., plane[1]] = axis, axis.flip(0)[:, None]
    return _drawn(model, _down(model, _beside(model, z), model.config.num_layers - 1))


def largest(values: Sequence[float], count: int) -> list[int]:
    """Where the largest values are, the largest first; NaN counts as the least."""
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")
    return [int(index) for index in order[:count]]


def first_of_each_digit(labels: Bytes, each: int = 1) -> list[int]:
    """Where the first `each` images of every digit lie, or as many as there are, in the order of
    the digits; of other labels than 0–9 those of the ten lowest, without labels the first ten."""
    digits = np.unique(labels)[:DIGITS]
    if len(digits) == 1:
        return list(range(min(DIGITS * each, len(labels))))
    found = [np.flatnonzero(labels == digit)[:each] for digit in digits]
    return [int(index) for indices in found for index in indices]


def as_bytes(pixels: Tensor) -> Bytes:
    """Pixels in [0, 1] as 0–255, rounded; NaN is 0."""
    bytes_: Bytes = (pixels.nan_to_num(0.0) * 255).round().byte().cpu().numpy()
    return bytes_


def _down(model: HierarchicalVAE, z: Tensor, level: int) -> Tensor:
    """z_1 where every level below one is at its prior's mean: [..., L] -> [..., L]."""
    for below in range(level, 0, -1):
        z = model.decode(below, z)
    return z


def _drawn(model: HierarchicalVAE, z: Tensor) -> Bytes:
    """Pixel means at z_1: [..., L] -> [..., D]."""
    return as_bytes(model.likelihood.mean(model.decode(0, z)))


def _beside(model: HierarchicalVAE, values: Tensor) -> Tensor:
    """The values where the model is, in its own precision."""
    return values.to(next(model.parameters()))


def _pixels(images: Images, indices: list[int]) -> Tensor:
    """Test images in [0, 1]: [B, D]."""
    return torch.tensor(images.test[indices]).float() / images.test_levels
