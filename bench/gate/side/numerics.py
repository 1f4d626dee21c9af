"""What short trainings and an evaluation come out as, to the last bit: bundled digits, fixed seeds.

A change of these numbers is no matter of speed, but nobody sees it otherwise.
"""

import copy
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.gate.side.subject import (
    COMPILED,
    PLAIN,
    TRACED,
    Fit,
    HierarchicalVAE,
    Images,
    documented_loss,
    evaluate,
    fit,
    load,
)
from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig

EPOCHS = 9  # of 23 steps each: 207
SAMPLES = 20  # importance samples of the evaluation
TEST_IMAGES = 100


def follow_all() -> dict[str, dict[str, Any]]:
    """Of every task of `harness.TRAININGS` its named numbers, and a digest of the bits of the
    models' parameters."""
    documented = fit(_documented(), _images("none"), **TRACED)
    return {
        "documented": _of_training(documented),
        "elbo": _of_training(fit(_elbo(), _images("dynamic"), **TRACED)),
        "iwae": _of_training(fit(_iwae(), _images("static"), **TRACED)),
        "compiled": _of_training(fit(_documented(), _images("none"), **COMPILED)),
        "compiled_elbo": _of_training(fit(_elbo(), _images("dynamic"), **COMPILED)),
        "plain_evaluation": _of_evaluation(documented.models, **PLAIN),
        "compiled_evaluation": _of_evaluation(documented.models),
    }


def _documented() -> list[RunConfig]:
    """Both losses and two widths in one pack, as the standard study packs them."""
    return [_run(2, latent, loss=loss) for latent in (2, 20) for loss in ("bce", "mse")]


def _elbo() -> list[RunConfig]:
    """Three levels, and every setting of the KL."""
    own = {"objective": "elbo", "kl_weight": 0.5, "kl_warmup_epochs": 3, "free_bits": 0.1}
    return [_run(3, 5, binarize="dynamic", **own)]


def _iwae() -> list[RunConfig]:
    return [_run(1, 5, binarize="static", objective="iwae", importance_samples=5)]


def _run(levels: int, latent: int, binarize: str = "none", **train: Any) -> RunConfig:
    return RunConfig(
        ModelConfig(input_dim=64, latent_dim=latent, num_layers=levels),
        TrainConfig(epochs=EPOCHS, **train),
        DataConfig("digits", binarize),
    )


def _images(binarize: str) -> Images:
    return load(DataConfig("digits", binarize), Path())


def _of_training(trained: Fit) -> dict[str, Any]:
    """The terms of every epoch, and the norm of every final parameter."""
    values: dict[str, float] = {}
    for member, (history, model) in enumerate(zip(trained.histories, trained.models, strict=True)):
        for entry in history:
            terms = {name: value for name, value in entry.items() if name != "seconds"}
            values |= _flat(terms, f"{member}.{entry['epoch']}.")
        for name, parameter in model.state_dict().items():
            values[f"{member}.{name}"] = float(parameter.double().norm())
    values |= _documented_losses(trained.models)
    return {"values": values, "parameters_sha256": _bits(trained.models)}


@torch.no_grad()
def _documented_losses(models: list[HierarchicalVAE]) -> dict[str, float]:
    """R + 2 Σ_t K_t as `get_loss` has it, which the engine does not call, at the mean of q; in
    float64, where a small KL is not lost beside R."""
    images = _images("none")
    x = torch.tensor(images.test[:TEST_IMAGES]).double() / images.test_levels
    losses = {}
    for member, model in enumerate(models):
        noise = x.new_zeros(len(x), model.config.num_layers, model.config.latent_dim)
        loss = documented_loss(copy.deepcopy(model).double()(x, noise), x, model.loss)
        losses[f"{member}.documented_loss"] = float(loss.mean())
    return losses


def _of_evaluation(models: list[HierarchicalVAE], **sums: Any) -> dict[str, Any]:
    """Every metric of every model, by the sums over pixels that its runs take unless given."""
    images = _images("none")
    few = replace(
        images,
        test=images.test[:TEST_IMAGES],
        test_labels=images.test_labels[:TEST_IMAGES],
        test_binary=images.test_binary[:TEST_IMAGES],
    )
    metrics = evaluate(models, few, SAMPLES, **sums).metrics
    values = _flat({str(member): found for member, found in enumerate(metrics)}, "")
    return {"values": values, "parameters_sha256": _bits(models)}


def _bits(models: list[HierarchicalVAE]) -> str:
    sha = hashlib.sha256()
    for model in models:
        for name, parameter in model.state_dict().items():
            bits = parameter.contiguous().view(torch.uint8).numpy().tobytes()
            sha.update(f"{name} {tuple(parameter.shape)}\n".encode() + bits)
    return sha.hexdigest()


def _flat(value: Any, name: str) -> dict[str, float]:
    """The numbers of nested dicts and lists, by dotted names."""
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, item in entries for k, v in _flat(item, f"{name}{key}.").items()}
    return {name.removesuffix("."): float(value)} if isinstance(value, int | float) else {}
