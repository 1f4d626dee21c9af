"""Parameters and FLOPs of a run in closed form."""

from hvae.config import ModelConfig, RunConfig


def parameter_count(model: ModelConfig) -> int:
    """Trainable scalars: 174,084 at 784-100-20 with two levels.

    An encoder d → h → 2L holds d·h + h + 2(h·L + L), a decoder L → h → d holds
    L·h + h + h·d + d; the first level has d = D pixels, every other d = L.
    """

    def level(width: int) -> int:
        h, latent = model.hidden_dim, model.latent_dim
        encoder = width * h + h + 2 * (h * latent + latent)
        decoder = latent * h + h + h * width + width
        return encoder + decoder

    return level(model.input_dim) + (model.num_layers - 1) * level(model.latent_dim)


def flops_per_image(run: RunConfig) -> int:
    """FLOPs of the matrix products of one training step, per image: forward, weight and input
    gradients.

    A matrix of n weights costs 2n in each of the three, but the first layer of the first encoder
    needs no input gradient. With S importance samples all but that encoder runs S times. At
    784-100-20, two levels: 56 MFLOP for a batch of 64 (22.1 + 22.1 + 12.1).
    """
    model, samples = run.model, run.train.importance_samples
    first = model.input_dim * model.hidden_dim
    encoder = first + 2 * model.hidden_dim * model.latent_dim
    return 2 * (3 * (encoder + samples * (weight_count(model) - encoder)) - first)


def weight_count(model: ModelConfig) -> int:
    """Entries of all weight matrices, biases left out: per level d·h + 2·h·L + L·h + h·d."""
    widths = model.input_dim + (model.num_layers - 1) * model.latent_dim
    return (
        2 * widths * model.hidden_dim + 3 * model.num_layers * model.hidden_dim * model.latent_dim
    )
