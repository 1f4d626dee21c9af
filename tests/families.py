"""Members of the model family, small: every part alone, and all at once."""

from typing import Any

import torch

from hvae.config import ModelConfig
from hvae.model.hierarchy import HierarchicalVAE, build

SIZES = {"input_dim": 12, "hidden_dim": 8, "latent_dim": 3}
PARTS: dict[str, dict[str, object]] = {
    "documented": {},
    "learned variance": {"prior_variance": "learned"},
    "top-down": {"inference": "top-down"},
    "both": {"prior_variance": "learned", "inference": "top-down"},
    "two tanh layers": {"hidden_layers": 2, "activation": "tanh"},
    "unequal levels": {"latent_dims": (4, 3, 2), "hidden_dims": (9, 8, 7)},
    "all": {
        **{"prior_variance": "learned", "inference": "top-down", "hidden_layers": 2},
        **{"activation": "tanh", "latent_dims": (2, 4, 3)},
    },
}
FAMILY = list(PARTS)


def member(name: str, depth: int = 3) -> ModelConfig:
    """The config of a member of the family; of unequal levels the lowest."""
    settings = SIZES | {"num_layers": depth} | PARTS[name]
    for by_level, one in (("latent_dims", "latent_dim"), ("hidden_dims", "hidden_dim")):
        if by_level in PARTS[name]:
            sizes: Any = settings[by_level]
            settings |= {by_level: sizes[:depth], one: max(sizes[:depth])}
    return ModelConfig(**settings)  # type: ignore[arg-type]


def random_model(name: str, depth: int = 3, loss: str = "bce") -> HierarchicalVAE:
    """A member with weights drawn by the global generator, in float64, large enough that its
    levels inform each other."""
    model = build(member(name, depth), loss).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.35 * torch.randn_like(parameter))
    return model
