"""From axes to runs, from runs to packs: what is trained, and what is trained together."""

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace

from ablations.studies import Study
from hvae.config import RunConfig, TrainConfig, digest, flops_per_image

# Runs of a pack at most. CPU: more gain nothing once the operators outweigh their dispatch, and the
# state of ten (28 MB at 784-100-20) still fits a last-level cache. CUDA: enough to fill the device.
PACK_SIZES = {"cpu": 10, "cuda": 200}
TRAINING_IMAGES = {
    "digits": 1437,
    "mnist": 60_000,
    "fashion-mnist": 60_000,
    "kmnist": 60_000,
    "emnist-digits": 240_000,
}


@dataclass(frozen=True)
class Pack:
    """Runs of one study that are trained as one."""

    study: str
    runs: tuple[RunConfig, ...]

    @property
    def label(self) -> str:
        """For progress lines: what the members have in common, and how many they are."""
        train = self.runs[0].train
        members = f"{len(self.runs)} run" + ("s" if len(self.runs) > 1 else "")
        return f"depth {self.runs[0].model.num_layers}, {train.objective}, {members}"

    @property
    def cost(self) -> int:
        """FLOPs of training all members."""
        return sum(cost(run) for run in self.runs)


def label(run: RunConfig) -> str:
    """A run in words: the axes and the seed."""
    model, train = run.model, run.train
    cell = f"depth {model.num_layers}, {train.loss}, {train.objective}, latent {model.latent_dim}"
    return f"{cell}, seed {train.seed}"


def runs(study: Study) -> list[RunConfig]:
    """Every run of the study, seed-major: all cells of seed 0, then all of seed 1, …"""
    return [
        _run(study.base, depth, loss, latent, objective, seed)
        for seed in range(study.seeds)
        for objective in study.objectives
        for depth in study.depths
        for loss in study.losses
        for latent in study.latents
    ]


def packs(study: str, all_runs: Iterable[RunConfig], missing: set[str], size: int) -> list[Pack]:
    """The packs of at most `size` runs that hold a missing digest, longest first.

    Packs are cut from all runs of the study and only then relieved of what is not missing: they
    depend on the study, never on what happens to be left. So a resumed grid trains the packs
    that an uninterrupted one would have trained, and more seeds fill the last pack of a group
    and add others, but move no run from one pack to another.
    """
    assert size >= 1
    groups: dict[Hashable, list[RunConfig]] = {}
    for run in all_runs:
        groups.setdefault(_shared(run), []).append(run)
    cut = [
        Pack(study, tuple(run for run in chunk if digest(run) in missing))
        for group in groups.values()
        for chunk in _chunks(sorted(group, key=_position), size)
    ]
    return sorted((pack for pack in cut if pack.runs), key=lambda pack: pack.cost, reverse=True)


def pack_size(device: str, all_runs: int, workers: int) -> int:
    """Runs of a pack: no more than the device takes, and few enough that every worker has one.

    It depends on the study and the machine, never on what is left to do: other packs would mean
    other last digits.
    """
    return max(1, min(PACK_SIZES[device], math.ceil(all_runs / workers)))


def cost(run: RunConfig) -> int:
    """FLOPs of the matrix products of one training, evaluation left out."""
    return run.train.epochs * TRAINING_IMAGES[run.data.name] * flops_per_image(run)


def _run(
    base: RunConfig, depth: int, loss: str, latent: int, objective: str, seed: int
) -> RunConfig:
    model = replace(base.model, num_layers=depth, latent_dim=latent)
    train = replace(base.train, loss=loss, objective=objective, seed=seed)
    return replace(base, model=model, train=train)


def _shared(run: RunConfig) -> Hashable:
    """What members of a pack have in common: all but loss, latent size, seed, rate and weights."""
    neutral = TrainConfig()
    return replace(
        run,
        model=replace(run.model, latent_dim=1),
        train=replace(
            run.train,
            loss=neutral.loss,
            seed=neutral.seed,
            learning_rate=neutral.learning_rate,
            kl_weight=neutral.kl_weight,
            free_bits=neutral.free_bits,
        ),
    )


def _position(run: RunConfig) -> tuple[int, str, int]:
    """Order within a group; it decides which runs share a pack, so it must never change."""
    return run.train.seed, run.train.loss, run.model.latent_dim


def _chunks(group: list[RunConfig], size: int) -> list[list[RunConfig]]:
    return [group[start : start + size] for start in range(0, len(group), size)]
