"""hvae/pictures/samples.py: what the pictures must be, on models that nobody needs to train."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from hvae.data.images import Images
from hvae.model.hierarchy import (
    HierarchicalVAE,
    ancestral,
    initial,
    posterior_means,
    state,
    with_weights,
)
from hvae.pictures.samples import (
    as_bytes,
    first_of_each_digit,
    interpolation,
    manifold,
    pictures,
    reconstructions,
    samples,
    traversals,
)
from hvae.records.attachments import arrays_file

RUN = RunConfig(ModelConfig(64, 10, 3, 2), data=DataConfig("digits"))


def model_of(layers: int = 2, latent: int = 3, seed: int = 0) -> HierarchicalVAE:
    """An untrained model, its last decoder enlarged so that its images differ visibly."""
    sizes = ModelConfig(64, 10, latent, layers)
    model = initial(replace(RUN, model=sizes, train=TrainConfig(seed=seed)))
    with torch.no_grad():
        model.pixel_decoder.linear_2.weight *= 20
    return model


def pixels(model: HierarchicalVAE, z: Tensor) -> np.ndarray:
    """The decoder's pixel means as bytes, by the documented forward pass."""
    with torch.no_grad():
        return np.rint(model.decoders[0](z).numpy() * 255).astype(np.uint8)


def test_the_pictures_have_the_agreed_shapes(few_digits: Images) -> None:
    found = pictures(model_of(layers=3), few_digits, [[0.1, 0.3, 0.2]] * 3, (8, 8))
    assert {name: array.shape for name, array in found.items()} == {
        "samples": (16, 64),
        "originals": (10, 64),
        "reconstructions": (10, 64),
        "traversals": (2, 7, 64),
        "traversal_units": (2,),
        "upper_traversals": (2, 7, 64),
        "upper_units": (2,),
        "interpolation": (10, 64),
        "image_shape": (2,),
    }
    drawn = {array.dtype for array in found.values() if array.shape[-1] == 64}
    assert drawn == {np.dtype(np.uint8)}
    assert found["upper_units"].tolist() == [1, 1]
    assert found["traversal_units"].tolist() == [1, 2]  # those of the largest KL


def test_the_originals_are_one_test_digit_of_each_class(few_digits: Images) -> None:
    found = pictures(model_of(), few_digits, [[1.0] * 3], (8, 8))["originals"]
    for digit in range(10):
        rows = few_digits.test[few_digits.test_labels == digit]
        np.testing.assert_array_equal(found[digit], np.rint(rows[0] / 16 * 255))


def test_a_run_has_the_same_pictures_whoever_was_drawn_before(few_digits: Images) -> None:
    """Bit for bit, also after wider and deeper members, and whatever the global generator does."""
    alone = arrays_file(pictures(model_of(), few_digits, [[1.0] * 3], (8, 8)))
    torch.randn(7)
    for other in (model_of(layers=3, latent=20), model_of(layers=1, latent=2)):
        pictures(other, few_digits, [[1.0] * other.config.latent_dim], (8, 8))
    assert arrays_file(pictures(model_of(), few_digits, [[1.0] * 3], (8, 8))) == alone


def test_models_of_one_shape_see_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    real = ancestral

    def listen(model: HierarchicalVAE, noise: Tensor) -> list[Tensor]:
        seen.append(noise)
        return real(model, noise)

    monkeypatch.setattr("hvae.pictures.samples.ancestral", listen)
    first, second = (samples(model_of(seed=seed), 16) for seed in (0, 1))
    assert torch.equal(seen[0], seen[1])
    assert not np.array_equal(first, second)
    assert not np.array_equal(samples(model_of(), 16, seed=1), first)


def test_samples_are_ancestral_with_unit_noise_at_every_level() -> None:
    """A model whose pixel is a steep step at 0 of a z_1 with mean 0 and, of two levels, variance
    1 + 2² turns the share of lit pixels beyond one deviation into P(|N(0, 1)| > 1)."""
    model = model_of(layers=2, latent=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        upper, lower = model.decoders[1], model.decoders[0]
        upper.linear_1.weight[:2, 0] = torch.tensor([1.0, -1.0])  # relu(z) and relu(-z)
        upper.linear_2.weight[0, :2] = torch.tensor([2.0, -2.0])  # hence 2 z
        lower.linear_1.weight[:2, 0] = torch.tensor([1.0, -1.0])
        lower.linear_2.weight[:, :2] = 1e4  # |z_1| …
        lower.linear_2.bias[:] = -1e4 * 5**0.5  # … beyond the square root of 5
    lit = samples(model, 4000)[:, 0] == 255
    expected, error = 0.3173, (0.3173 * 0.6827 / 4000) ** 0.5
    assert abs(lit.mean() - expected) < 4 * error


def test_a_reconstruction_decodes_the_posterior_mean(few_digits: Images) -> None:
    model, x = model_of(), torch.tensor(few_digits.test[:5]).float() / 16
    mean, _ = model.encoders[0](x)
    np.testing.assert_allclose(reconstructions(model, x), pixels(model, mean), atol=1)


def test_a_traversal_moves_one_unit_about_the_reconstruction(few_digits: Images) -> None:
    model, x = model_of(), torch.tensor(few_digits.test[0]).float() / 16
    found = traversals(model, x, [2, 0])
    mean, _ = model.encoders[0](x[None])
    for row, unit in zip(found, (2, 0), strict=True):
        for step, tile in zip(range(-3, 4), row, strict=True):
            moved = mean.detach().clone()
            moved[0, unit] += step
            np.testing.assert_allclose(tile, pixels(model, moved)[0], atol=1)
    np.testing.assert_allclose(found[:, 3], [reconstructions(model, x[None])[0]] * 2, atol=1)


def test_a_traversal_of_an_upper_level_is_decoded_by_the_means_below(few_digits: Images) -> None:
    model, x = model_of(layers=2), torch.tensor(few_digits.test[:1]).float() / 16
    top = posterior_means(model, x)[1].detach()
    found = traversals(model, x[0], [1], level=1)
    for step, tile in zip(range(-3, 4), found[0], strict=True):
        moved = top.clone()
        moved[0, 1] += step
        np.testing.assert_allclose(tile, pixels(model, model.decode(1, moved))[0], atol=1)


def test_an_interpolation_goes_from_one_reconstruction_to_another(few_digits: Images) -> None:
    model, x = model_of(), torch.tensor(few_digits.test[:2]).float() / 16
    found = interpolation(model, x[0], x[1])
    np.testing.assert_array_equal(found[[0, -1]], reconstructions(model, x))
    mean, _ = model.encoders[0](x)
    middle = (4 * mean[:1] + 5 * mean[1:]) / 9
    np.testing.assert_allclose(found[5], pixels(model, middle)[0], atol=1)


def test_without_labels_the_first_ten_images_are_shown(few_digits: Images) -> None:
    images = replace(few_digits, test_labels=np.zeros_like(few_digits.test_labels))
    found = pictures(model_of(), images, [[0.0, 2.0, 1.0]], (8, 8))
    np.testing.assert_array_equal(found["originals"], np.rint(few_digits.test[:10] / 16 * 255))


def test_the_digit_whose_traversals_are_shown_is_among_the_originals(few_digits: Images) -> None:
    found = pictures(model_of(), few_digits, [[1.0] * 3], (8, 8))
    middle = found["traversals"][:, 3]
    np.testing.assert_allclose(middle, [found["reconstructions"][7]] * 2, atol=1)


def test_a_model_of_one_unit_has_one_traversal(few_digits: Images) -> None:
    found = pictures(model_of(latent=1), few_digits, [[1.0]], (8, 8))
    assert found["traversals"].shape == (1, 7, 64)
    assert found["traversal_units"].tolist() == [0]


def test_the_manifold_is_the_plane_of_the_top_level_without_noise() -> None:
    model, found = model_of(layers=2), manifold(model_of(layers=2), 5)
    assert found.shape == (5, 5, 64)
    for row, column in ((0, 0), (0, 4), (2, 2), (3, 1)):
        z = torch.tensor([[-3 + 1.5 * column, 3 - 1.5 * row, 0.0]])
        expected = pixels(model, model.decoders[1](z))[0]
        np.testing.assert_allclose(found[row, column], expected, atol=1)


def test_the_manifold_of_other_dimensions_moves_these() -> None:
    model, found = model_of(layers=1), manifold(model_of(layers=1), 3, (2, 0))
    z = torch.tensor([[3.0, 0.0, -3.0]])  # the upper left corner
    np.testing.assert_allclose(found[0, 0], pixels(model, z)[0], atol=1)


def test_pixels_are_rounded_and_what_is_no_number_is_black() -> None:
    values = torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 1.0, torch.nan])
    assert as_bytes(values).tolist() == [0, 0, 1, 255, 0]


def test_a_diverged_model_has_pictures_all_black(few_digits: Images) -> None:
    model = model_of()
    with torch.no_grad():
        model.pixel_decoder.linear_2.bias.fill_(torch.nan)
    found = pictures(model, few_digits, [[float("nan")] * 3], (8, 8))
    assert not found["samples"].any()
    assert not found["traversals"].any()
    assert found["originals"].any()


@pytest.mark.parametrize("each", [1, 2])
def test_the_first_of_each_digit_come_in_the_order_of_the_digits(each: int) -> None:
    labels = np.array([9, 8, 7, 6, 5, 4, 3, 2, 1, 0] * 2, np.uint8)
    found = first_of_each_digit(labels, each)
    assert labels[found].tolist() == [digit for digit in range(10) for _ in range(each)]
    assert min(found) == 0


def test_of_labels_that_are_no_ten_digits_there_are_as_many_as_can_be_shown() -> None:
    assert first_of_each_digit(np.array([3, 3, 1], np.uint8), each=2) == [2, 0, 1]
    letters = np.arange(40, 10, -1, dtype=np.uint8)
    assert letters[first_of_each_digit(letters)].tolist() == list(range(11, 21))


@pytest.mark.parametrize("digits", [[0, 1, 2], [0, 7, 9]], ids=str)
def test_a_test_set_without_some_digits_leaves_pictures_of_those_there_are(
    digits: list[int], few_digits: Images
) -> None:
    is_left = np.isin(few_digits.test_labels, digits)
    images = replace(
        few_digits, test=few_digits.test[is_left], test_labels=few_digits.test_labels[is_left]
    )
    model, rest = model_of(), ([[0.0, 2.0, 1.0]], (8, 8))
    found, whole = pictures(model, images, *rest), pictures(model, few_digits, *rest)
    np.testing.assert_array_equal(found["originals"], whole["originals"][digits])
    np.testing.assert_array_equal(found["reconstructions"], whole["reconstructions"][digits])
    if 7 in digits:
        np.testing.assert_array_equal(found["traversals"], whole["traversals"])


@pytest.mark.parametrize(
    "change",
    [lambda s: s.pop("encoders.0.linear.bias"), lambda s: s.update(other=np.zeros(1, np.float32))],
    ids=["too few", "too many"],
)
def test_weights_of_another_model_are_refused(change: Callable[[Any], Any]) -> None:
    weights = state(model_of())
    change(weights)
    with pytest.raises(ValueError, match="weights: they do not fit"):
        with_weights(RUN, weights)
