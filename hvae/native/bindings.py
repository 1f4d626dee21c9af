"""`step.c` as Python calls it: its structures, its functions, its limits. Imports no torch."""

import ctypes

from hvae.config import ModelConfig, RunConfig
from hvae.settings import describe

# What it knows; of a model all parts but these at their defaults.
OBJECTIVES, LOSSES = ("documented", "elbo"), ("bce", "mse")
PARTS = (
    *("hidden_layers", "activation", "prior_variance", "inference"),
    *("latent_dims", "hidden_dims"),
)
LONG, DOUBLE, POINTER = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


class Model(ctypes.Structure):
    """`Model` of step.c."""

    _fields_ = (
        *((name, LONG) for name in ("pixels", "hidden", "latent", "levels", "is_bce", "is_joint")),
        *((name, DOUBLE) for name in ("learning_rate", "beta1", "beta2", "epsilon")),
        *((name, DOUBLE) for name in ("kl_weight", "kl_floor")),
        *((name, POINTER) for name in ("parameters", "mean", "square")),
    )


class Batch(ctypes.Structure):
    """`Batch` of step.c."""

    _fields_ = (
        ("images", LONG),
        *((name, POINTER) for name in ("x", "start", "lit", "noise")),
        *((name, LONG) for name in ("noise_image", "noise_level")),
    )


SIGNATURES = {
    "padded_images": [LONG],
    "work_size": [POINTER, LONG],
    "prepare_all": [
        *[POINTER, LONG, LONG, POINTER, POINTER, LONG, LONG, DOUBLE],
        *[POINTER, LONG, LONG, POINTER, POINTER, POINTER, POINTER],
    ],
    "steps": [POINTER, POINTER, LONG, LONG, POINTER, POINTER],
    "level_sums": [POINTER, *[LONG] * 4, POINTER, LONG, *[POINTER] * 3],
    "pixel_sums": [POINTER, LONG, LONG, *[POINTER] * 2, LONG, POINTER, LONG, *[POINTER] * 3],
}


def declare(library: ctypes.CDLL) -> None:
    """Give the functions of a compiled `step.c` their types. Raises `RuntimeError` where its
    structures have another size than those here."""
    for structure in (Model, Batch):
        in_c = constant(library, f"{structure.__name__.lower()}_bytes")
        if in_c != (here := ctypes.sizeof(structure)):
            raise RuntimeError(f"{structure.__name__} has {in_c} bytes in C and {here} in Python")
    for name, types in SIGNATURES.items():
        getattr(library, name).argtypes = types
    for name in ("padded_images", "work_size"):
        getattr(library, name).restype = LONG


def uncompiled(run: RunConfig) -> str:
    """The first setting of a run that `step.c` cannot train; empty where it can train all."""
    if run.train.objective not in OBJECTIVES:
        return f"objective {run.train.objective}"
    if run.train.loss not in LOSSES:
        return f"loss {run.train.loss}"
    return unknown_part(run.model)


def unknown_part(model: ModelConfig) -> str:
    """The first part of a model that `step.c` does not know; empty where it knows all of it."""
    sizes = (model.input_dim, model.hidden_dim, model.latent_dim, model.num_layers)
    plain = ModelConfig(*sizes)
    for name in PARTS:
        if (value := getattr(model, name)) != getattr(plain, name):
            return describe(f"model.{name}", value)
    return ""


def constant(library: ctypes.CDLL, name: str) -> int:
    """A number that `step.c` exports."""
    return LONG.in_dll(library, name).value
