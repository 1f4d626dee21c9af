"""What a run is: frozen, validated settings.

The defaults are the documented setting: 784-100-20, two levels, BCE, 30 epochs of MNIST. They are a
contract: a digest is made of what differs from them, so that a new field with a neutral default
orphans no record. What else is known of a field stands where it is declared: `Setting`.
"""

import dataclasses
import re
from dataclasses import dataclass, field, fields
from typing import Any

from hvae.datasets import DATASETS, Dataset
from hvae.fields import setting_field
from hvae.validation import (
    require_choice,
    require_integer,
    require_integers,
    require_known,
    require_neutral,
    require_number,
)

VERSION = 1  # of the defaults: part of every digest, raised where one of them changes
LOSSES = ("bce", "mse", "continuous-bernoulli", "gaussian")
OBJECTIVES = ("documented", "elbo", "iwae")
BINARIZATIONS = ("none", "static", "dynamic")
SHA256 = re.compile(r"[0-9a-f]{64}")
ACTIVATIONS = ("relu", "tanh")
PRIOR_VARIANCES = ("unit", "learned")  # of all levels but the topmost, whose prior is N(0, I)
INFERENCES = ("bottom-up", "top-down")
OUTPUT_BIASES = ("drawn", "data")  # of the pixels, at first: as any other, or the logit of the mean


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and parts of one hierarchy. Raises `ValueError` naming field, value, what is allowed.

    `latent_dims` and `hidden_dims` are sizes by level, from the bottom up, where levels differ:
    then `latent_dim` and `hidden_dim` are the largest of them. Models that are equal have equal
    configs.
    """

    input_dim: int = setting_field(784, "pixels", is_axis=False)  # the data's
    hidden_dim: int = setting_field(100, "hidden units", is_log=True)
    latent_dim: int = setting_field(
        20, "latent size", unit="dimensions", name="latent", is_log=True, may_differ=True
    )
    num_layers: int = setting_field(2, "depth", unit="levels", name="depth", may_differ=True)
    latent_dims: tuple[int, ...] = setting_field((), "latent sizes", is_ordered=False)
    hidden_dims: tuple[int, ...] = setting_field((), "hidden units by level", is_ordered=False)
    hidden_layers: int = setting_field(1, "hidden layers")
    activation: str = setting_field(
        "relu", "activation", is_ordered=False, values={"relu": "ReLU", "tanh": "tanh"}
    )
    prior_variance: str = setting_field(
        "unit",
        "prior variance",
        is_ordered=False,
        values={"unit": "unit prior variance", "learned": "learned prior variance"},
    )
    inference: str = setting_field("bottom-up", "inference", is_ordered=False)
    output_bias: str = setting_field(
        "drawn",
        "output bias",
        is_ordered=False,
        values={"drawn": "output bias drawn", "data": "output bias from the data"},
    )

    def __post_init__(self) -> None:
        for name in ("input_dim", "hidden_dim", "latent_dim", "num_layers", "hidden_layers"):
            require_integer(name, getattr(self, name), minimum=1)
        require_choice("activation", self.activation, ACTIVATIONS)
        require_choice("prior_variance", self.prior_variance, PRIOR_VARIANCES)
        require_choice("inference", self.inference, INFERENCES)
        require_choice("output_bias", self.output_bias, OUTPUT_BIASES)
        for one in ("latent_dim", "hidden_dim"):
            self._settle(one, f"{one}s")

    @property
    def latents(self) -> tuple[int, ...]:
        """Latents of each level, from the bottom up."""
        return self.latent_dims or (self.latent_dim,) * self.num_layers

    @property
    def hiddens(self) -> tuple[int, ...]:
        """Hidden units of each level's encoder and decoder, from the bottom up."""
        return self.hidden_dims or (self.hidden_dim,) * self.num_layers

    def _settle(self, one: str, by_level: str) -> None:
        """The sizes by level as a tuple, none where they are equal; the largest as the one size."""
        sizes = require_integers(by_level, getattr(self, by_level), minimum=1)
        object.__setattr__(self, by_level, sizes if len(set(sizes)) > 1 else ())
        if not sizes:
            return
        if len(sizes) != self.num_layers:
            raise ValueError(
                f"{by_level}: {list(sizes)} is not allowed; allowed: as many sizes as there are "
                f"levels, {self.num_layers}"
            )
        given = getattr(self, one)
        if given not in (max(sizes), getattr(ModelConfig, one)):
            raise ValueError(
                f"{one}: {given} has no meaning beside {by_level} {list(sizes)}; allowed: "
                f"{max(sizes)}, or to leave it out"
            )
        object.__setattr__(self, one, max(sizes))


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. Raises `ValueError` naming the field, the value, what is allowed."""

    loss: str = setting_field(
        "bce",
        "loss",
        name="loss",
        is_ordered=False,
        may_differ=True,
        values={
            "bce": "BCE",
            "mse": "MSE",
            "continuous-bernoulli": "continuous Bernoulli",
            "gaussian": "Gaussian, learned variance",
        },
    )
    objective: str = setting_field(
        "documented",
        "objective",
        name="objective",
        is_ordered=False,
        values={"documented": "documented", "elbo": "ELBO", "iwae": "IWAE"},
    )
    epochs: int = setting_field(30, "epochs", is_log=True)
    batch_size: int = setting_field(64, "batch size", unit="images", is_log=True)
    learning_rate: float = setting_field(1e-3, "learning rate", is_log=True, may_differ=True)
    seed: int = setting_field(0, "seed", name="seed", may_differ=True, is_axis=False)  # paired
    kl_weight: float = setting_field(1.0, "KL weight", may_differ=True)
    kl_warmup_epochs: int = setting_field(0, "KL warm-up", unit="epochs")
    free_bits: float = setting_field(0.0, "free bits", unit="nats per level", may_differ=True)
    importance_samples: int = setting_field(1, "samples of the objective", is_log=True)
    rate_steps: tuple[int, ...] = setting_field(
        (), "falls of the learning rate", unit="epochs", is_ordered=False
    )
    rate_factor: float = setting_field(0.1, "learning rate after a fall", unit="of it before")

    def __post_init__(self) -> None:
        require_choice("loss", self.loss, LOSSES)
        require_choice("objective", self.objective, OBJECTIVES)
        for name in ("epochs", "batch_size", "importance_samples"):
            require_integer(name, getattr(self, name), minimum=1)
        for name in ("seed", "kl_warmup_epochs"):
            require_integer(name, getattr(self, name), minimum=0)
        for name in ("kl_weight", "free_bits", "learning_rate", "rate_factor"):
            positive = name in ("learning_rate", "rate_factor")
            object.__setattr__(self, name, require_number(name, getattr(self, name), positive))
        self._require_steps()
        self._require_combination()

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1: it falls after each of `rate_steps`."""
        falls = sum(epoch > step for step in self.rate_steps)
        return self.learning_rate * self.rate_factor**falls

    def _require_steps(self) -> None:
        steps = require_integers("rate_steps", self.rate_steps, minimum=1)
        if sorted(set(steps)) != list(steps):
            raise ValueError(
                f"rate_steps: {list(steps)} is not allowed; allowed: epochs in ascending order"
            )
        object.__setattr__(self, "rate_steps", steps)
        if not steps:
            factor = TrainConfig.rate_factor
            require_neutral("rate_factor", self.rate_factor, factor, "without rate_steps")

    def _require_combination(self) -> None:
        if self.objective == "iwae":
            for name, neutral in (("kl_weight", 1.0), ("kl_warmup_epochs", 0), ("free_bits", 0.0)):
                where = "for objective 'iwae', whose bound has no separate KL"
                require_neutral(name, getattr(self, name), neutral, where)
        else:
            where = f"for objective {self.objective!r}, only for 'iwae'"
            require_neutral("importance_samples", self.importance_samples, 1, where)


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how their grey levels become inputs.

    Of one's own, at `path`: `sha256` names them wherever they lie, and `sizes` are the images to
    train on, to test, height and width; `hvae.data.own.described` finds both.
    """

    name: str = setting_field(
        "mnist",
        "data",
        is_ordered=False,
        values={
            "mnist": "MNIST",
            "fashion-mnist": "Fashion-MNIST",
            "kmnist": "KMNIST",
            "emnist-digits": "EMNIST digits",
        },
    )
    binarize: str = setting_field(
        "none",
        "binarisation",
        is_ordered=False,
        values={"none": "grey levels", "static": "binarised once", "dynamic": "binarised anew"},
    )
    path: str = setting_field("", "data file", is_ordered=False, is_named=False)
    sha256: str = setting_field("", "content of the data file", is_axis=False)
    sizes: tuple[int, ...] = setting_field((), "sizes of the data file", is_axis=False)

    def __post_init__(self) -> None:
        require_choice("binarize", self.binarize, BINARIZATIONS)
        object.__setattr__(self, "sizes", require_integers("sizes", self.sizes, minimum=1))
        for name in ("path", "name") if self.path else ("path",):
            if not isinstance(given := getattr(self, name), str):
                raise ValueError(f"{name}: {given!r} is not allowed; allowed: text")
        if not self.path:
            require_choice("name", self.name, tuple(DATASETS))
        if not SHA256.fullmatch(str(self.sha256)) and (self.path or self.sha256 != ""):
            raise ValueError(f"sha256: {self.sha256!r} is not allowed; allowed: 64 hex digits")
        if len(self.sizes) != (4 if self.path else 0):
            allowed = "four beside a path" if self.path else "none without a path"
            raise ValueError(f"sizes: {list(self.sizes)!r} is not allowed; allowed: {allowed}")

    @property
    def dataset(self) -> Dataset:
        """How many images of what size."""
        if not self.path:
            return DATASETS[self.name]
        training, test, height, width = self.sizes
        return Dataset(training, test, height, width)


# An evaluation's draws from the encoders of every test image, and images of its certificate.
FEW_SAMPLES, CERTIFIED_IMAGES = 25, 100


@dataclass(frozen=True)
class EvaluationConfig:
    """How the trained model is judged: importance samples per image of a subset of the test images,
    and how many these are; the others take over what that corrects of their bound by few."""

    importance_samples: int = setting_field(1000, "importance samples S", is_log=True)
    nll_images: int = setting_field(400, "images sampled for the NLL", is_log=True)

    def __post_init__(self) -> None:
        require_integer("importance_samples", self.importance_samples, minimum=1)
        require_integer("nll_images", self.nll_images, minimum=2)  # one image has no error


@dataclass(frozen=True)
class RunConfig:
    """One training, whole: the same `RunConfig` on the same machine, by the same engine (of the
    traced one in the same pack), gives the same record."""

    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    data: DataConfig = field(default_factory=DataConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        pixels = self.data.dataset.pixels
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
    """The config as plain nested dicts, ready for JSON: as it comes back from there."""
    return {
        name: {key: list(own) if isinstance(own, tuple) else own for key, own in section.items()}
        for name, section in dataclasses.asdict(config).items()
    }


def from_dict(values: dict[str, Any]) -> RunConfig:
    """The inverse of `as_dict`; missing keys take the defaults, unknown ones are a `ValueError`."""
    require_known("section", values, SECTIONS)
    sections = {}
    for name, section in SECTIONS.items():
        given = values.get(name, {})
        if not isinstance(given, dict):
            raise ValueError(f"{name}: {given!r} is no table of settings")
        require_known(f"key of {name}", given, {f.name for f in fields(section)})
        sections[name] = section(**given)
    return RunConfig(**sections)
