"""What a run is: frozen, validated settings. A run is a pure function of its `RunConfig`.

The defaults are the documented setting: 784-100-20, two levels, BCE, 30 epochs of MNIST.
"""

import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass, field
from typing import Any

LOSSES = ("bce", "mse")
OBJECTIVES = ("documented", "elbo", "iwae")
BINARIZATIONS = ("none", "static", "dynamic")
DATASETS = {  # name -> pixels of one image
    "digits": 64,
    "mnist": 784,
    "fashion-mnist": 784,
    "kmnist": 784,
    "emnist-digits": 784,
}


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of one hierarchy. Raises `ValueError` where a size is no positive integer."""

    input_dim: int = 784
    hidden_dim: int = 100
    latent_dim: int = 20
    num_layers: int = 2

    def __post_init__(self) -> None:
        for name in ("input_dim", "hidden_dim", "latent_dim", "num_layers"):
            require_integer(name, getattr(self, name), minimum=1)


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. Raises `ValueError` naming the field, the value, what is allowed."""

    loss: str = "bce"
    objective: str = "documented"
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    kl_weight: float = 1.0
    kl_warmup_epochs: int = 0
    free_bits: float = 0.0
    importance_samples: int = 1

    def __post_init__(self) -> None:
        require_choice("loss", self.loss, LOSSES)
        require_choice("objective", self.objective, OBJECTIVES)
        for name in ("epochs", "batch_size", "importance_samples"):
            require_integer(name, getattr(self, name), minimum=1)
        for name in ("seed", "kl_warmup_epochs"):
            require_integer(name, getattr(self, name), minimum=0)
        for name in ("kl_weight", "free_bits"):
            require_number(name, getattr(self, name), positive=False)
        require_number("learning_rate", self.learning_rate, positive=True)
        for name in (
            "kl_weight",
            "free_bits",
            "learning_rate",
        ):  # 1 and 1.0, 0.0 and -0.0: one digest
            object.__setattr__(self, name, float(getattr(self, name)) + 0.0)
        self._require_combination()

    def _require_combination(self) -> None:
        if self.objective == "iwae":
            for name, neutral in (("kl_weight", 1.0), ("kl_warmup_epochs", 0), ("free_bits", 0.0)):
                value = getattr(self, name)
                if value != neutral:
                    raise ValueError(
                        f"{name}: {value!r} has no meaning for objective 'iwae', "
                        f"whose bound has no separate KL; allowed: {neutral!r}"
                    )
        elif self.importance_samples != 1:
            raise ValueError(
                f"importance_samples: {self.importance_samples!r} is used by objective 'iwae' "
                f"only; allowed with {self.objective!r}: 1"
            )


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how their grey levels become inputs."""

    name: str = "mnist"
    binarize: str = "none"

    def __post_init__(self) -> None:
        require_choice("name", self.name, tuple(DATASETS))
        require_choice("binarize", self.binarize, BINARIZATIONS)


@dataclass(frozen=True)
class EvaluationConfig:
    """How the trained model is judged: importance samples per test image for the NLL."""

    importance_samples: int = 1000

    def __post_init__(self) -> None:
        require_integer("importance_samples", self.importance_samples, minimum=1)


@dataclass(frozen=True)
class RunConfig:
    """One training, whole: the same `RunConfig` on the same machine gives the same record."""

    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    data: DataConfig = field(default_factory=DataConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        pixels = DATASETS[self.data.name]
        if self.model.input_dim != pixels:
            raise ValueError(
                f"input_dim: {self.model.input_dim!r} does not fit data {self.data.name!r}; "
                f"allowed: {pixels}"
            )


SECTIONS: dict[str, type] = {
    "model": ModelConfig,
    "train": TrainConfig,
    "data": DataConfig,
    "evaluation": EvaluationConfig,
}


def as_dict(config: RunConfig) -> dict[str, dict[str, Any]]:
    """The config as plain nested dicts, ready for JSON."""
    return dataclasses.asdict(config)


def from_dict(values: dict[str, Any]) -> RunConfig:
    """The inverse of `as_dict`; missing keys take the defaults, unknown ones are a `ValueError`."""
    require_known("section", values, SECTIONS)
    sections = {}
    for name, section in SECTIONS.items():
        given = values.get(name, {})
        if not isinstance(given, dict):
            raise ValueError(f"{name}: {given!r} is no table of settings")
        require_known(f"key of {name}", given, {f.name for f in dataclasses.fields(section)})
        sections[name] = section(**given)
    return RunConfig(**sections)


def digest(config: RunConfig) -> str:
    """First 16 hex digits of the SHA-256 of the config's canonical JSON: the record's name."""
    canonical = json.dumps(as_dict(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def parameter_count(model: ModelConfig) -> int:
    """Trainable scalars in closed form: 174,084 at 784-100-20 with two levels.

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
    widths = [model.input_dim] + [model.latent_dim] * (model.num_layers - 1)
    return sum(2 * d * model.hidden_dim + 3 * model.hidden_dim * model.latent_dim for d in widths)


def require_known(what: str, given: Any, allowed: Any) -> None:
    """Raise `ValueError` naming the first of `given` that is not among `allowed`."""
    for name in given:
        if name not in allowed:
            raise ValueError(f"unknown {what} {name!r}; allowed: {', '.join(sorted(allowed))}")


def require_integer(name: str, value: Any, minimum: int) -> None:
    """Raise `ValueError` unless `value` is an integer (no bool) of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name}: {value!r} is not allowed; allowed: integers ≥ {minimum}")


def require_number(name: str, value: Any, positive: bool) -> None:
    """Raise `ValueError` unless `value` is finite and > 0 (`positive`) or ≥ 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_finite = is_number and abs(value) <= sys.float_info.max  # also of integers beyond floats
    if not is_finite or value < 0 or (positive and value == 0):
        bound = "> 0" if positive else "≥ 0"
        raise ValueError(f"{name}: {value!r} is not allowed; allowed: finite numbers {bound}")


def require_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raise `ValueError` unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name}: {value!r} is not allowed; allowed: {', '.join(allowed)}")
