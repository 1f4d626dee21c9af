"""Parameters and FLOPs of a run in closed form."""

from hvae.config import ModelConfig, RunConfig


def parameter_count(model: ModelConfig) -> int:
    """Trainable scalars: 174,084 at 784-100-20 with two levels.

    Of a level of L latents and h hidden units over d values below, d the pixels D or the latents of
    the level below: an encoder d → h → 2L holds d·h + h + 2(h·L + L), a decoder L → h → d holds
    L·h + h + h·d + d, with a learned variance above the first level h·d + d more; each further
    hidden layer h·h + h.
    """
    biases = sum(
        2 * hidden * model.hidden_layers + 2 * latent + _outputs(model, level, below)
        for level, (below, hidden, latent) in enumerate(level_sizes(model))
    )
    return weight_count(model) + biases


def flops_per_image(run: RunConfig) -> int:
    """FLOPs of the matrix products of one training step, per image: forward, weight and input
    gradients.

    A matrix of n weights costs 2n in each of the three, but the first layer of the first encoder
    needs no input gradient. With S importance samples all but what does not depend on the draw runs
    S times: not the first encoder, and from the top down none. At 784-100-20, two levels: 56 MFLOP
    for a batch of 64 (22.1 + 22.1 + 12.1).
    """
    model, samples = run.model, run.train.importance_samples
    first = model.input_dim * model.hiddens[0]
    encoders = [encoder_weights(model, level) for level in range(model.num_layers)]
    once = encoders[0] if model.inference == "bottom-up" else sum(encoders)
    return 2 * (3 * (once + samples * (weight_count(model) - once)) - first)


def weight_count(model: ModelConfig) -> int:
    """Entries of all weight matrices, biases left out."""
    levels = range(model.num_layers)
    return sum(encoder_weights(model, level) + decoder_weights(model, level) for level in levels)


def encoder_weights(model: ModelConfig, level: int) -> int:
    """Entries of the weight matrices of a level's encoder, levels counted from 0."""
    below, hidden, latent = level_sizes(model)[level]
    return below * hidden + (model.hidden_layers - 1) * hidden**2 + 2 * hidden * latent


def decoder_weights(model: ModelConfig, level: int) -> int:
    """Entries of the weight matrices of a level's decoder, levels counted from 0."""
    below, hidden, latent = level_sizes(model)[level]
    deeper = (model.hidden_layers - 1) * hidden**2
    return latent * hidden + deeper + hidden * _outputs(model, level, below)


def level_sizes(model: ModelConfig) -> list[tuple[int, int, int]]:
    """Of each level, from the bottom up, the width of what lies below it, its hidden units, its
    latents."""
    below = (model.input_dim, *model.latents[:-1])
    return list(zip(below, model.hiddens, model.latents, strict=True))


def _outputs(model: ModelConfig, level: int, below: int) -> int:
    """What a level's decoder says: a mean of each value below, and above the first its variance
    where that is learned."""
    return below * (2 if level and model.prior_variance == "learned" else 1)
