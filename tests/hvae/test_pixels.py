"""Pixel likelihoods of many draws at once against the plain formulas."""

import math

import pytest
import torch
from torch import Tensor

from hvae.model import HierarchicalVAE
from hvae.objectives import bernoulli_nll, reconstruction_nll
from hvae.pixels import log_partition_, pixel_nlls

S, B, D, L = 9, 6, 64, 5


@pytest.fixture
def z() -> Tensor:
    torch.manual_seed(0)
    return 3.0 * torch.randn(S, B, L, dtype=torch.float64)


@pytest.mark.parametrize("loss", ["bce", "mse"])
@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_pixel_nlls_are_those_of_the_decoded_logits(z: Tensor, loss: str, at_once: int) -> None:
    model = HierarchicalVAE(D, 20, L, 2, use_bce=loss == "bce").double()
    x = torch.rand(B, D, dtype=torch.float64)
    binary = x.bernoulli()
    with torch.no_grad():
        logits = model.decode(0, z)
        own, scoreboard = pixel_nlls(model, z, x, binary, at_once)
        torch.testing.assert_close(own, reconstruction_nll(logits, x, loss))
        torch.testing.assert_close(scoreboard, bernoulli_nll(logits, binary))


@pytest.mark.parametrize("pixels", [1, 7, 12, 512, 784])
def test_log_partition_is_the_sum_of_softplus(pixels: int) -> None:
    logits = torch.randn(B, pixels, dtype=torch.float64) * 10
    expected = torch.nn.functional.softplus(logits, threshold=1000.0).sum(-1)
    torch.testing.assert_close(log_partition_(logits.clone()), expected)
    # float32: 6e-8 of rounding a product, 49 products of 16 pixels.
    torch.testing.assert_close(
        log_partition_(logits.float()).double(), expected, rtol=1e-6, atol=3e-6
    )
    for logit in (0.0, -200.0, 200.0):  # the smallest product; saturated pixels
        value = log_partition_(torch.full((pixels,), logit)).item()
        assert value == pytest.approx(pixels * (max(logit, 0) or (logit == 0) * math.log(2)))
