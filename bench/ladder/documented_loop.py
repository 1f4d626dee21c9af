"""The documented training loop, and the same training with its data in memory. Shapes: B batch,
D pixels, L latent.

The documented loop is the real one: torchvision's dataset, `ToTensor`, a shuffling DataLoader, the
eager model, `F.binary_cross_entropy` of the sigmoid, the documented KL, the default Adam. The other
two take one step each away from it. All draw from the global generator, as documented.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from bench.ladder.rungs import BATCH
from hvae.config import RunConfig
from hvae.data.download import import_torchvision
from hvae.data.images import load_grey
from hvae.datasets import DATASETS
from hvae.model.hierarchy import HierarchicalVAE, initial, reparameterize

REFERENCE = RunConfig()  # 784-100-20, two levels, BCE, batch 64

Loop = Callable[[int], float]  # trains on the first n images once: mean loss per image, in nats
Loss = Callable[[HierarchicalVAE, Tensor], Tensor]


def documented_loss(model: HierarchicalVAE, x: Tensor) -> Tensor:
    """R + 2 Σ_t K_t averaged over the batch, as documented: [B, D] -> scalar."""
    posteriors, latents, below = [], [], x
    for encoder in model.encoders:
        mu, sigma = encoder(below)
        below = reparameterize(mu, sigma)  # [B, L]
        posteriors.append((mu, sigma))
        latents.append(below)
    x_hat, *prior_means = [
        decoder(z) for decoder, z in zip(model.decoders, latents, strict=True)
    ]  # [B, D], then T - 1 of [B, L]
    loss = F.binary_cross_entropy(x_hat, x, reduction="sum")
    means = [*prior_means, torch.zeros_like(below)]
    for (mu, sigma), mean in zip(posteriors, means, strict=True):
        loss = loss + documented_kl(mu, sigma, mean)
    return loss / len(x)


def documented_kl(mu: Tensor, sigma: Tensor, mean: Tensor) -> Tensor:
    """2 KL(N(mu, sigma²) ‖ N(mean, 1)), summed over the batch: the documented KL has no ½."""
    variance = sigma.square()
    return (variance + (mu - mean).square() - 1 - variance.log()).sum()


def documented_loop(name: str, folder: Path, device: str) -> Loop:
    """The documented loop over a dataset in torchvision's layout."""
    torchvision = import_torchvision()
    dataset = getattr(torchvision.datasets, DATASETS[name].folder)(
        folder, train=True, transform=torchvision.transforms.ToTensor()
    )
    step = _stepper(documented_loss, device, is_fused=False)

    def run(images: int) -> float:
        subset = Subset(dataset, range(images))
        loader: DataLoader[Any] = DataLoader(subset, batch_size=BATCH, shuffle=True)
        return _epoch(step, (x.flatten(1).to(device) for x, _ in loader), images)

    return run


def in_memory_loop(name: str, folder: Path, device: str) -> Loop:
    """The documented loop without torchvision and DataLoader: uint8 images on the device."""
    return _from_memory(name, folder, device, _stepper(documented_loss, device, is_fused=False))


def fused_loop(name: str, folder: Path, device: str) -> Loop:
    """In memory, with the loss computed from logits and the fused Adam: one eager model."""
    step = _stepper(HierarchicalVAE.get_loss, device, is_fused=True)
    return _from_memory(name, folder, device, step)


def _stepper(loss: Loss, device: str, is_fused: bool) -> Callable[[Tensor], float]:
    """A training step on a batch of a new model; it returns the loss of before."""
    model = initial(REFERENCE).to(device)
    rate = REFERENCE.train.learning_rate
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=is_fused or None)

    def step(x: Tensor) -> float:
        optimizer.zero_grad()
        found = loss(model, x)
        found.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return found.item()

    return step


def _from_memory(name: str, folder: Path, device: str, step: Callable[[Tensor], float]) -> Loop:
    grey = load_grey(name, folder)
    pixels = torch.from_numpy(grey.train).to(device)  # [N, D] uint8

    def batches(images: int) -> Iterator[Tensor]:
        for rows in torch.split(torch.randperm(images, device=device), BATCH):
            yield pixels[rows].float() / grey.levels

    return lambda images: _epoch(step, batches(images), images)


def _epoch(step: Callable[[Tensor], float], batches: Iterable[Tensor], images: int) -> float:
    return sum(step(x) * len(x) for x in batches) / images
