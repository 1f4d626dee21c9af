"""K models as one: parameters stacked on a leading axis, unequal latent sizes padded with zeros.

With weights, biases and noise of the padding at 0 it is an exact fixed point of training: mu,
logvar, z and every gradient of the padding are 0, and so is Adam's update.
Shapes: K members, L the widest latent.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hvae.config import ModelConfig, RunConfig
from hvae.model.hierarchy import HierarchicalVAE, build

Parameters = dict[str, Tensor]


def widest(configs: Sequence[RunConfig]) -> ModelConfig:
    """The sizes that hold every member of a pack."""
    models = [config.model for config in configs]
    latent, levels = max(m.latent_dim for m in models), max(m.num_layers for m in models)
    return replace(models[0], latent_dim=latent, num_layers=levels)


def stack(models: Sequence[HierarchicalVAE], sizes: ModelConfig) -> Parameters:
    """The parameters of K models, each padded to `sizes`: name -> [K, ...]."""
    shapes = {name: p.shape for name, p in build(sizes, models[0].loss).state_dict().items()}
    states = [model.state_dict() for model in models]
    return {
        name: torch.stack([_pad(state[name], shape) for state in states])
        for name, shape in shapes.items()
    }


def unstack(parameters: Parameters, member: int, config: RunConfig) -> HierarchicalVAE:
    """One member as a model of its own size, the padding cut off."""
    dtype = next(iter(parameters.values())).dtype
    model = build(config.model, config.train.loss).to(dtype)
    with torch.no_grad():
        for name, own in model.named_parameters():
            padded = parameters[name][member].cpu()
            own.copy_(padded[tuple(slice(n) for n in own.shape)])
    return model


def live_units(configs: Sequence[RunConfig], latent: int) -> Tensor:
    """1 for each member's own units, 0 for its padding: [K, L]."""
    widths = torch.tensor([config.model.latent_dim for config in configs])
    return (torch.arange(latent) < widths[:, None]).float()


def _pad(tensor: Tensor, shape: torch.Size) -> Tensor:
    padded = tensor.new_zeros(shape)
    padded[tuple(slice(n) for n in tensor.shape)] = tensor
    return padded
