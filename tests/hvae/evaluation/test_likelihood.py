"""Pixel likelihoods of many draws at once against the plain formulas."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hvae.evaluation import likelihood
from hvae.evaluation.likelihood import Target, fastest_sums, pixel_nlls, pixel_sums, plain_sums
from hvae.model.hierarchy import HierarchicalVAE
from hvae.model.likelihoods import FIXED, bernoulli_nll
from hvae.native.build import c_compiler

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
        targets = [Target(x, loss), Target(binary, "bce")]
        sums = partial(plain_sums, at_once=at_once)
        own, scoreboard = pixel_nlls(model.pixel_decoder, z, targets, sums)
        torch.testing.assert_close(own, FIXED[loss].nll(logits, x))
        torch.testing.assert_close(scoreboard, bernoulli_nll(logits, binary))


@pytest.mark.parametrize("is_grey", [False, True])
@pytest.mark.parametrize("pixels", [1, 7, 12, 512, 784])
def test_pixel_sums_are_those_of_softplus_and_of_squared_errors(pixels: int, is_grey: bool) -> None:
    logits = torch.randn(S, B, pixels, dtype=torch.float64) * 10
    x = torch.rand(B, pixels, dtype=torch.float64) if is_grey else None
    partition, error = pixel_sums(logits, x)
    expected = F.softplus(logits, threshold=1000.0).sum(-1)
    torch.testing.assert_close(partition, expected)
    if x is None:
        assert error is None
    else:
        torch.testing.assert_close(error, (logits.sigmoid() - x).square().sum(-1))
    # float32: 6e-8 of rounding a product, 49 products of 16 pixels.
    single, _ = pixel_sums(logits.float(), None if x is None else x.float())
    torch.testing.assert_close(single.double(), expected, rtol=1e-6, atol=3e-6)
    for logit in (0.0, -200.0, 200.0):  # the smallest product; saturated pixels
        value, _ = pixel_sums(
            torch.full((1, 1, pixels), logit), None if x is None else torch.zeros(1, 1)
        )
        assert value.item() == pytest.approx(pixels * (max(logit, 0) or (logit == 0) * math.log(2)))


needs_compiler = pytest.mark.skipif(c_compiler() is None, reason="needs a C compiler, such as cc")


@needs_compiler
@pytest.mark.parametrize("is_grey", [False, True])
@pytest.mark.parametrize(("images", "pixels", "hidden"), [(1, 1, 1), (6, 57, 20), (100, 784, 100)])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_sums_of_the_library_are_the_plain_ones(
    images: int,
    pixels: int,
    hidden: int,
    scale: float,
    is_grey: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(likelihood, "plain_sums", lambda *given: pytest.fail("no library"))
    generator = torch.Generator().manual_seed(0)
    decoder = HierarchicalVAE(pixels, hidden, 2, 1).pixel_decoder
    units = scale * torch.rand(3, images, hidden, generator=generator)
    x = torch.rand(images, pixels, generator=generator) if is_grey else None
    for dtype, tolerance in ((torch.float32, 3e-6), (torch.float64, 1e-12)):
        own, given = decoder.to(dtype), (units.to(dtype), None if x is None else x.to(dtype))
        with torch.no_grad():
            pair = [sums(own, *given) for sums in (fastest_sums, plain_sums)]
        for one, other in zip(*pair, strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@needs_compiler
@pytest.mark.parametrize(("images", "pixels", "hidden"), [(1, 1, 1), (6, 57, 20), (100, 784, 100)])
def test_the_library_writes_nothing_outside_of_the_room_that_it_asks_for(
    images: int, pixels: int, hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked, room = [], torch.Tensor.new_empty

    def new_empty(like: Tensor, *sizes: int) -> Tensor:
        """With a thousand sevens behind."""
        size = math.prod(sizes)
        whole = room(like, size + 1000).fill_(7.0)
        checked.append(whole[size:])
        return whole[:size].reshape(sizes)

    monkeypatch.setattr(torch.Tensor, "new_empty", new_empty)
    decoder = HierarchicalVAE(pixels, hidden, 2, 1).pixel_decoder
    with torch.no_grad():
        fastest_sums(decoder, torch.rand(3, images, hidden), torch.rand(images, pixels))
    assert [len(behind) for behind in checked] == [1000, 1000]
    assert all((behind == 7.0).all() for behind in checked)
