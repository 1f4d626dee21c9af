"""What a run is: frozen, validated settings. A run is a pure function of its `RunConfig`.

The defaults are the documented setting: 784-100-20, two levels, BCE, 30 epochs of MNIST. They are a
contract: a digest is made of what differs from them, so that a new field with a neutral default
orphans no record. What else is known of a field stands where it is declared: `Setting`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from hvae.validation import require_choice, require_integer, require_known, require_number

VERSION = 1  # of the defaults: part of every digest, raised where one of them changes
LOSSES = ("bce", "mse")
OBJECTIVES = ("documented", "elbo", "iwae")
BINARIZATIONS = ("none", "static", "dynamic")


class Dataset(NamedTuple):
    """Sizes of a dataset, and where torchvision keeps it: its class and folder (none: it comes with
    scikit-learn), the names of its files, and what it downloads for a file {}."""

    pixels: int
    training_images: int
    test_images: int
    folder: str = ""
    train: str = "train"
    test: str = "t10k"
    archive: str = "{}.gz"

    @property
    def is_bundled(self) -> bool:
        return not self.folder


DATASETS = {
    "digits": Dataset(64, 1437, 360),
    "mnist": Dataset(784, 60_000, 10_000, "MNIST"),
    "fashion-mnist": Dataset(784, 60_000, 10_000, "FashionMNIST"),
    "kmnist": Dataset(784, 60_000, 10_000, "KMNIST"),
    "emnist-digits": Dataset(
        *(784, 240_000, 40_000, "EMNIST", "emnist-digits-train", "emnist-digits-test", "gzip.zip")
    ),
}


@dataclass(frozen=True)
class Setting:
    """What is known of a field beside its type and default.

    `label` and `unit` name it to a reader, `values` what is shown of a categorical value. `name` is
    what studies and the command line call it: short, or `section.key`. `may_differ`: between the
    members of a pack. `is_axis`: a study may sweep it.
    """

    label: str
    unit: str = ""
    name: str = ""
    is_ordered: bool = True
    is_log: bool = False
    may_differ: bool = False
    is_axis: bool = True
    values: Mapping[str, str] = field(default_factory=dict)
    section: str = ""
    key: str = ""

    @property
    def heading(self) -> str:
        """`latent size (dimensions)`: for the axis of a figure."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


def _setting(default: Any, label: str, **known: Any) -> Any:
    return field(default=default, metadata={"setting": Setting(label, **known)})


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of one hierarchy. Raises `ValueError` where a size is no positive integer."""

    input_dim: int = _setting(784, "pixels", is_axis=False)  # the data's
    hidden_dim: int = _setting(100, "hidden units", is_log=True)
    latent_dim: int = _setting(
        20, "latent size", unit="dimensions", name="latent", is_log=True, may_differ=True
    )
    num_layers: int = _setting(2, "depth", unit="levels", name="depth")

    def __post_init__(self) -> None:
        for name in ("input_dim", "hidden_dim", "latent_dim", "num_layers"):
            require_integer(name, getattr(self, name), minimum=1)


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. Raises `ValueError` naming the field, the value, what is allowed."""

    loss: str = _setting(
        "bce",
        "loss",
        name="loss",
        is_ordered=False,
        may_differ=True,
        values={"bce": "BCE", "mse": "MSE"},
    )
    objective: str = _setting(
        "documented",
        "objective",
        name="objective",
        is_ordered=False,
        values={"documented": "documented", "elbo": "ELBO", "iwae": "IWAE"},
    )
    epochs: int = _setting(30, "epochs", is_log=True)
    batch_size: int = _setting(64, "batch size", unit="images", is_log=True)
    learning_rate: float = _setting(1e-3, "learning rate", is_log=True, may_differ=True)
    seed: int = _setting(0, "seed", name="seed", may_differ=True, is_axis=False)  # paired
    kl_weight: float = _setting(1.0, "KL weight", may_differ=True)
    kl_warmup_epochs: int = _setting(0, "KL warm-up", unit="epochs")
    free_bits: float = _setting(0.0, "free bits", unit="nats per level", may_differ=True)
    importance_samples: int = _setting(1, "samples of the objective", is_log=True)

    def __post_init__(self) -> None:
        require_choice("loss", self.loss, LOSSES)
        require_choice("objective", self.objective, OBJECTIVES)
        for name in ("epochs", "batch_size", "importance_samples"):
            require_integer(name, getattr(self, name), minimum=1)
        for name in ("seed", "kl_warmup_epochs"):
            require_integer(name, getattr(self, name), minimum=0)
        for name in ("kl_weight", "free_bits", "learning_rate"):
            require_number(name, getattr(self, name), positive=name == "learning_rate")
            # 1 and 1.0, 0.0 and -0.0: one digest
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

    name: str = _setting("mnist", "data", is_ordered=False)
    binarize: str = _setting(
        "none",
        "binarisation",
        is_ordered=False,
        values={"none": "grey levels", "static": "binarised once", "dynamic": "binarised anew"},
    )

    def __post_init__(self) -> None:
        require_choice("name", self.name, tuple(DATASETS))
        require_choice("binarize", self.binarize, BINARIZATIONS)


# An evaluation's draws from the encoders of every test image, and images of its certificate.
FEW_SAMPLES, CERTIFIED_IMAGES = 25, 100


@dataclass(frozen=True)
class EvaluationConfig:
    """How the trained model is judged: importance samples per image of a subset of the test images,
    and how many these are; the others take over what that corrects of their bound by few."""

    importance_samples: int = _setting(1000, "importance samples S", is_log=True)
    nll_images: int = _setting(400, "images of the unbiased NLL", is_log=True)

    def __post_init__(self) -> None:
        require_integer("importance_samples", self.importance_samples, minimum=1)
        require_integer("nll_images", self.nll_images, minimum=2)  # one image has no error


@dataclass(frozen=True)
class RunConfig:
    """One training, whole: the same `RunConfig` on the same machine gives the same record."""

    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    data: DataConfig = field(default_factory=DataConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        pixels = DATASETS[self.data.name].pixels
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


def _declared() -> Iterable[Setting]:
    for section, config in SECTIONS.items():
        for declared in fields(config):
            known: Setting = declared.metadata["setting"]
            name = known.name or f"{section}.{declared.name}"
            yield dataclasses.replace(known, name=name, section=section, key=declared.name)


SETTINGS = {setting.name: setting for setting in _declared()}  # in the order of declaration
_BY_PATH = {f"{setting.section}.{setting.key}": setting for setting in SETTINGS.values()}


def setting(name: str) -> Setting:
    """The setting of that name, short (`depth`) or whole (`model.num_layers`). Raises `ValueError`
    where there is none."""
    if name not in SETTINGS and name not in _BY_PATH:
        raise ValueError(f"unknown setting {name!r}; allowed: {', '.join(axis_names())}")
    return SETTINGS.get(name) or _BY_PATH[name]


def axis_names() -> list[str]:
    """The settings that a study may sweep or set."""
    return [known.name for known in SETTINGS.values() if known.is_axis]


def value(run: RunConfig, name: str) -> Any:
    """What a run has for a setting."""
    known = setting(name)
    return getattr(getattr(run, known.section), known.key)


def describe(name: str, value: Any) -> str:
    """How a reader names one value of a setting: `depth 2`, `BCE`, `KL weight 0.5`."""
    known = setting(name)
    if known.is_ordered:
        return f"{known.label} {value:g}" if isinstance(value, float) else f"{known.label} {value}"
    return known.values.get(value, str(value))


def override(run: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """The run with settings replaced, by their names; data bring their own `input_dim`.

    Raises `ValueError` naming the setting, the value and what is allowed.
    """
    sections = {name: dict(vars(getattr(run, name))) for name in SECTIONS}
    for name, new in values.items():
        known = setting(name)
        sections[known.section][known.key] = new
    dataset = sections["data"]["name"]
    if isinstance(dataset, str) and dataset in DATASETS:
        sections["model"]["input_dim"] = DATASETS[dataset].pixels
    return RunConfig(**{name: _section(name, given) for name, given in sections.items()})


def _section(name: str, values: Mapping[str, Any]) -> Any:
    """A section of a run; what it refuses is named as studies name it."""
    try:
        return SECTIONS[name](**values)
    except ValueError as error:
        key, _, rest = str(error).partition(": ")
        raise ValueError(f"{setting(f'{name}.{key}').name}: {rest}") from error


def shared(run: RunConfig) -> RunConfig:
    """What the members of a pack have in common: the run, every setting that may differ between
    them at its default."""
    differing = [known for known in SETTINGS.values() if known.may_differ]
    sections = {name: getattr(run, name) for name in SECTIONS}
    for known in differing:
        neutral = getattr(SECTIONS[known.section](), known.key)
        section = sections[known.section]
        sections[known.section] = dataclasses.replace(section, **{known.key: neutral})
    return RunConfig(**sections)


def require_packable(runs: Sequence[RunConfig]) -> None:
    """Raise `ValueError` naming the first setting that differs and that one pack must share."""
    common = {shared(run) for run in runs}
    for name in SETTINGS if len(common) > 1 else ():
        values = {value(run, name) for run in common}
        if len(values) > 1:
            raise ValueError(f"{name}: a pack must share one value; got {sorted(values)}")


def pack_order(run: RunConfig) -> tuple[Hashable, ...]:
    """Where a run stands among those it may share a pack with: seed, loss, latent size, then the
    other settings that may differ. It decides which runs are packed, so it must never change."""
    first = ("seed", "loss", "latent")
    rest = [n for n, known in SETTINGS.items() if known.may_differ and n not in first]
    return tuple(value(run, name) for name in (*first, *rest))


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
        require_known(f"key of {name}", given, {f.name for f in fields(section)})
        sections[name] = section(**given)
    return RunConfig(**sections)


def digest(config: RunConfig) -> str:
    """First 16 hex digits of the SHA-256 of the canonical JSON of what differs from the defaults:
    the record's name."""
    differing: dict[str, Any] = {"version": VERSION}
    for known in SETTINGS.values():
        own = getattr(getattr(config, known.section), known.key)
        if own != getattr(SECTIONS[known.section](), known.key):
            differing.setdefault(known.section, {})[known.key] = own
    canonical = json.dumps(differing, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
