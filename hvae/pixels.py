"""log p of an image under many draws of z_1: nearly all of the cost of an evaluation.

Of logits l = W h + b, Σ_d x_d l_d is h · Wᵀx + b · x: a sum over hidden units, not over pixels.
Shapes: S draws, s of them at once, B images, D pixels, H hidden. Units: nats.
"""

import torch
from torch import Tensor

from hvae.model import HierarchicalVAE
from hvae.objectives import LOG_2_PI


def pixel_nlls(
    model: HierarchicalVAE, z: Tensor, x: Tensor, binary: Tensor, at_once: int
) -> tuple[Tensor, Tensor]:
    """-log p of the image under the model's own likelihood and of the binarised image under
    Bernoulli, from z_1 [S, B, L]: [S, B] each. `at_once` draws bound the memory of the logits.

    Both take the same draw of z from q(z | x). For the binarised image that is a proposal like any
    other, hence a valid bound, and the decoder runs once.
    """
    decoder = model.pixel_decoder
    hidden = decoder.hidden(z)  # [S, B, H]
    weight, bias = decoder.linear_2.weight, decoder.linear_2.bias

    def agreement(pixels: Tensor) -> Tensor:
        return (hidden * (pixels @ weight)).sum(-1) + pixels @ bias  # Σ_d x_d l_d: [S, B]

    partitions, errors = [], []
    for part in torch.split(hidden, at_once):
        logits = decoder.output(part)  # [s, B, D]
        if model.loss == "mse":
            errors.append((logits.sigmoid() - x).square_().sum(-1))
        partitions.append(log_partition_(logits))
    partition = torch.cat(partitions)
    binary_nll = partition - agreement(binary)
    if model.loss == "mse":
        return 0.5 * (torch.cat(errors) + x.shape[-1] * LOG_2_PI), binary_nll
    return partition - agreement(x), binary_nll


def log_partition_(logits: Tensor) -> Tensor:
    """Σ softplus(l) over pixels at half the cost, overwriting the logits: [..., D] -> [...].

    softplus(l) = max(l, 0) - log sigmoid(|l|), and sigmoid(|l|) lies in [½, 1): the product of 16
    of them cannot underflow, so one logarithm serves 16 pixels.
    """
    positive = logits.relu().sum(-1)
    product = logits.abs_().sigmoid_()
    for _ in range(4):
        if product.shape[-1] % 2 == 0:
            half = product.shape[-1] // 2
            product = product[..., :half] * product[..., half:]
    return positive - product.log().sum(-1)
