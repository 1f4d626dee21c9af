"""Parameters and FLOPs of a run in closed form: a depth of a million costs no more than one of
two."""

from collections.abc import Iterator
from typing import NamedTuple

from hvae.config import ModelConfig, RunConfig


class Sizes(NamedTuple):
    """Of a level the width of what lies below it, its hidden units, its latents; and what its
    decoder says: a mean of each value below, and above the first level its variance where that is
    learned."""

    below: int
    hidden: int
    latent: int
    outputs: int


def parameter_count(model: ModelConfig) -> int:
    """Trainable scalars: 174,084 at 784-100-20 with two levels.

    Of a level of L latents and h hidden units over d values below, d the pixels D or the latents of
    the level below: an encoder d → h → 2L holds d·h + h + 2(h·L + L), a decoder L → h → d holds
    L·h + h + h·d + d, with a learned variance above the first level h·d + d more; each further
    hidden layer h·h + h.
    """
    biases = sum(
        count * (2 * level.hidden * model.hidden_layers + 2 * level.latent + level.outputs)
        for level, count in _alike(model)
    )
    return weight_count(model) + biases


def run_parameters(run: RunConfig) -> int:
    """Trainable scalars of a run: those of its model and, where the variance of the pixels is
    learned, that."""
    return parameter_count(run.model) + (run.train.loss == "gaussian")


def flops_per_image(run: RunConfig) -> int:
    """FLOPs of the matrix products of one training step, per image: forward, weight and input
    gradients.

    A matrix of n weights costs 2n in each of the three, but the first layer of the first encoder
    needs no input gradient. With S importance samples all but what does not depend on the draw runs
    S times: not the first encoder, and from the top down none. At 784-100-20, two levels: 56 MFLOP
    for a batch of 64 (22.1 + 22.1 + 12.1).
    """
    model, samples = run.model, run.train.importance_samples
    first, _ = next(_alike(model))
    is_bottom_up = model.inference == "bottom-up"
    once = _encoder_weights(model, first) if is_bottom_up else encoder_weights(model)
    repeated = weight_count(model) - once
    return 2 * (3 * (once + samples * repeated) - first.below * first.hidden)


def weight_count(model: ModelConfig) -> int:
    """Entries of all weight matrices, biases left out."""
    return encoder_weights(model) + decoder_weights(model)


def encoder_weights(model: ModelConfig) -> int:
    """Entries of the weight matrices of all encoders."""
    return sum(count * _encoder_weights(model, level) for level, count in _alike(model))


def decoder_weights(model: ModelConfig) -> int:
    """Entries of the weight matrices of all decoders."""
    return sum(
        count * (level.hidden * (level.latent + level.outputs) + _deeper(model, level))
        for level, count in _alike(model)
    )


def level_sizes(model: ModelConfig) -> list[tuple[int, int, int]]:
    """Of each level, from the bottom up, the width of what lies below it, its hidden units, its
    latents."""
    below = (model.input_dim, *model.latents[:-1])
    return list(zip(below, model.hiddens, model.latents, strict=True))


def _alike(model: ModelConfig) -> Iterator[tuple[Sizes, int]]:
    """Levels with how many are like them, the first of all alone."""
    each = 2 if model.prior_variance == "learned" else 1
    if model.latent_dims or model.hidden_dims:
        for level, sizes in enumerate(level_sizes(model)):
            yield Sizes(*sizes, sizes[0] * (each if level else 1)), 1
        return
    pixels, hidden, latent = model.input_dim, model.hidden_dim, model.latent_dim
    yield Sizes(pixels, hidden, latent, pixels), 1
    yield Sizes(latent, hidden, latent, latent * each), model.num_layers - 1


def _encoder_weights(model: ModelConfig, level: Sizes) -> int:
    return level.hidden * (level.below + 2 * level.latent) + _deeper(model, level)


def _deeper(model: ModelConfig, level: Sizes) -> int:
    return (model.hidden_layers - 1) * level.hidden**2
