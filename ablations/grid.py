"""From axes to runs, from runs to packs: what is trained, and what is trained together."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ablations.studies import Study
from hvae.closed_form import flops_per_image, run_parameters, weight_count
from hvae.config import CERTIFIED_IMAGES, FEW_SAMPLES, RunConfig
from hvae.native.bindings import uncompiled
from hvae.native.build import c_compiler
from hvae.settings import axis_names, describe, digest, override, pack_order, setting, shared, value
from report.data.design import Design
from report.render.numbers import counted

# Runs of a pack at most. CPU: more gain nothing once the operators outweigh their dispatch, and the
# state of ten (28 MB at 784-100-20) still fits a last-level cache. CUDA: enough to fill the device.
PACK_SIZES = {"cpu": 10, "cuda": 200}
# What one worker reaches, for predictions only: a core with AVX-512 and a C compiler as measured,
# training and evaluation together; one H200 as targeted.
FLOPS_PER_SECOND = {"cpu": 80e9, "cuda": 5e12}
BASE_BYTES = 350e6  # of a process that has imported torch
EVALUATION_BYTES = 130e6  # of its temporaries, whatever the model
# What an image of the reported NLL costs beside its draws from the encoders: measured at depth 3.
NLL_DRAWS = 2.6
PACK_SECONDS = 30  # of training a CPU's pack, predicted: none of its runs is recorded before
# Of a longer pack, the fewest runs. A traced one that is alone takes half as long again, a compiled
# one 5 %, and so does a traced one whose steps are large (IWAE with 50 samples: 1.7 GFLOP).
FEWEST_TRACED, LARGE_STEP = 2, 1e9


class Packing(NamedTuple):
    """How a study is cut into packs: runs of one at most, FLOPs of training it at most, in which
    settings its runs are alike beside those that a pack must share, and whether the traced engine
    trains all of them."""

    size: int
    most_cost: float = math.inf
    alike: tuple[str, ...] = ("depth",)
    is_traced: bool = False


@dataclass(frozen=True)
class Pack:
    """Runs of one study that are trained as one, and those that would be, were they not recorded:
    who shares a pack depends on the study, never on what happens to be left. `common` says in
    words which pack it is, where there are others; `is_traced`, that the traced engine trains it.
    """

    study: str
    runs: tuple[RunConfig, ...]
    recorded: tuple[RunConfig, ...] = ()
    common: str = ""
    is_traced: bool = False

    @property
    def members(self) -> tuple[RunConfig, ...]:
        """All runs of the pack, in the order in which they are packed."""
        return tuple(sorted((*self.runs, *self.recorded), key=pack_order))

    @property
    def label(self) -> str:
        """For progress lines: what the members have in common, and how many they are."""
        members = counted(len(self.runs), "run")
        return f"{self.common}, {members}" if self.common else members

    @property
    def trained(self) -> tuple[RunConfig, ...]:
        """The runs that training takes: of the traced engine also those that are recorded."""
        return self.members if self.is_traced else self.runs

    @property
    def cost(self) -> int:
        """FLOPs of the training."""
        return sum(map(cost, self.trained))


def runs(study: Study) -> list[RunConfig]:
    """Every run of the study, seed-major: all combinations with seed 0, then all with seed 1, …"""
    seeds = range(study.seeds)
    return [override(cell.run, {"seed": seed}) for seed in seeds for cell in study.cells]


def design(study: Study) -> Design:
    """What the study asked, as its report needs to know it."""
    return Design(
        study.name,
        study.question,
        tuple(runs(study)),
        axes=tuple(study.axes),
        variant_of=variant_of(study),
        published=study.published,
    )


def variant_of(study: Study) -> tuple[str, ...]:
    """The variant of each of its runs; none where the study has no variants."""
    return tuple(cell.variant for cell in study.cells if cell.variant) * study.seeds


def labels(study: Study) -> dict[str, str]:
    """Every run of the study in words, by digest: its variant, what the axes say, its seed."""
    names = [*study.axes, "seed"]
    variants = [cell.variant for cell in study.cells] * study.seeds
    return {
        digest(run): ", ".join([*filter(None, [variant]), *_words(run, names)])
        for run, variant in zip(runs(study), variants, strict=True)
    }


def packs(
    study: str,
    all_runs: Sequence[RunConfig],
    missing: set[str],
    packing: Packing,
    variant_of: Sequence[str] = (),
) -> list[Pack]:
    """The packs that hold a missing digest, longest first. Training one costs no more than it may,
    unless it is of a single run, or of `FEWEST_TRACED` traced ones. They are named by the variants
    of the runs, where those are given and no pack has several.

    Packs are cut from all runs of the study and only then relieved of what is not missing: they
    depend on the study, never on what happens to be left. So a resumed grid trains the packs
    that an uninterrupted one would have trained. More seeds fill the last pack of a group and add
    others; they move runs between packs only where there were fewer than workers could take.
    """
    groups: dict[RunConfig, list[RunConfig]] = {}
    for run in all_runs:
        alike = {name: value(run, name) for name in packing.alike}
        groups.setdefault(override(shared(run), alike), []).append(run)
    common_names = [n for n in axis_names() if not setting(n).may_differ or n in packing.alike]
    named = _named(groups, dict(zip(all_runs, variant_of, strict=False)), common_names)
    recorded = {digest(run) for group in groups.values() for run in group} - missing
    cut = [
        without(Pack(study, tuple(chunk), (), named[common], traced), recorded)
        for common, group in groups.items()
        for traced, part in _by_engine(group, packing)
        for chunk in _chunks(sorted(part, key=pack_order), _size(part, packing, traced))
    ]
    return sorted((pack for pack in cut if pack.runs), key=lambda pack: pack.cost, reverse=True)


def _by_engine(
    group: Iterable[RunConfig], packing: Packing
) -> Iterable[tuple[bool, list[RunConfig]]]:
    """The runs that the traced engine trains, and the others: none takes another one along."""
    parts: dict[bool, list[RunConfig]] = {}
    for run in group:
        parts.setdefault(packing.is_traced or bool(uncompiled(run)), []).append(run)
    return parts.items()


def _named(
    groups: Mapping[RunConfig, Sequence[RunConfig]],
    variant_of: Mapping[RunConfig, str],
    settings: Sequence[str],
) -> dict[RunConfig, str]:
    """Each group in words: in what it differs from others, of its variant where it has one."""
    variants = {common: {variant_of.get(run, "") for run in groups[common]} for common in groups}
    if any(len(names) > 1 for names in variants.values()):
        variants = {common: {""} for common in groups}
    alike: dict[str, list[RunConfig]] = {}
    for common, (variant,) in variants.items():
        alike.setdefault(variant, []).append(common)
    told = [
        name
        for name in settings
        if any(len({value(run, name) for run in others}) > 1 for others in alike.values())
    ]
    return {
        common: ", ".join([*filter(None, variant), *_words(common, told)])
        for common, variant in variants.items()
    }


def without(pack: Pack, recorded: set[str]) -> Pack:
    """The pack with fewer runs to train: those of these digests are recorded."""
    runs = tuple(run for run in pack.runs if digest(run) not in recorded)
    others = tuple(run for run in pack.runs if digest(run) in recorded)
    return replace(pack, runs=runs, recorded=pack.recorded + others)


def packing(device: str, all_runs: int, workers: int) -> Packing:
    """No more runs in a pack than the device takes, and few enough that every worker has one. A
    CPU's is short, so that its runs are recorded soon, and of one depth, which is traced once; a
    GPU trains models of several depths at the same time.

    It depends on the study and the machine, never on what is left to do: other packs would mean
    other last digits.
    """
    size = max(1, min(PACK_SIZES[device], math.ceil(all_runs / workers)))
    if device == "cuda":
        return Packing(size, alike=(), is_traced=True)
    most_cost = PACK_SECONDS * FLOPS_PER_SECOND[device]
    return Packing(size, most_cost, is_traced=c_compiler() is None)


def _size(group: Sequence[RunConfig], packing: Packing, is_traced: bool) -> int:
    is_large = max(map(_step_cost, group)) >= LARGE_STEP
    fewest = FEWEST_TRACED if is_traced and not is_large else 1
    return int(min(packing.size, max(fewest, packing.most_cost / max(map(cost, group)))))


def cost(run: RunConfig) -> int:
    """FLOPs of the matrix products of one training, evaluation left out."""
    return run.train.epochs * run.data.dataset.training_images * flops_per_image(run)


def _step_cost(run: RunConfig) -> float:
    return run.train.batch_size * flops_per_image(run)


def evaluation_cost(run: RunConfig) -> int:
    """FLOPs of the matrix products of one evaluation: all layers but the first, which does not
    depend on the draw, for a few samples of every test image and, of the images that the NLL is
    sampled of, for every importance sample from the encoders and `NLL_DRAWS` times that for each
    likelihood; as much for the images of the certificate."""
    model, images, settings = run.model, run.data.dataset.test_images, run.evaluation
    samples, chosen = settings.importance_samples, min(settings.nll_images, images)
    likelihoods = 1 if run.data.binarize != "none" and run.train.loss == "bce" else 2
    of_encoders = images * min(FEW_SAMPLES, samples) + chosen * samples
    of_nll = NLL_DRAWS * (likelihoods * chosen + CERTIFIED_IMAGES) * samples
    per_sample = 2 * (weight_count(model) - model.input_dim * model.hidden_dim)
    return round((of_encoders + of_nll) * per_sample)


def memory(pack: Pack) -> float:
    """Predicted peak of the worker in bytes.

    In training a member holds its parameters, gradients and Adam's two moments, and about ten
    activations a pixel and image of a batch; a seed its noise of one epoch, twice while it is
    drawn, and the images in its order, as bytes. An evaluation holds the noise of a block of test
    images and of the certificate, and the posteriors of all training images.
    """
    run, members = pack.runs[0], pack.trained
    images, pixels = run.data.dataset.training_images, run.model.input_dim
    seeds = len({member.train.seed for member in members})
    latents = max(member.model.latent_dim * member.model.num_layers for member in members)
    state = 16 * sum(map(run_parameters, members))
    samples = run.train.importance_samples
    activations = len(members) * 4 * 10 * run.train.batch_size * samples * pixels
    noise = seeds * 8 * images * samples * latents
    training = state + activations + noise + (1 + seeds) * images * pixels
    draws = run.evaluation.importance_samples * CERTIFIED_IMAGES
    evaluation = EVALUATION_BYTES + latents * (8 * draws + 12 * images)
    return BASE_BYTES + max(training, evaluation)


def halves(pack: Pack) -> list[Pack]:
    """The pack in two, for a second try."""
    middle = (len(pack.runs) + 1) // 2
    parts = (pack.runs[:middle], pack.runs[middle:])
    return [replace(pack, runs=runs, recorded=()) for runs in parts]


def _words(run: RunConfig, names: Iterable[str]) -> list[str]:
    return [describe(name, value(run, name)) for name in names]


def _chunks(ordered: list[RunConfig], size: int) -> list[list[RunConfig]]:
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]
