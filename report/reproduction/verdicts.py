"""Whether a documented result was reproduced: plain functions of numbers, each with its rule.

The documented results are pictures and one count, so the thresholds ask what such a picture must
show. Each follows from the reason beside it, none was fitted to a run. A number that is missing or
not finite fulfils nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from report.render.numbers import rounded

REPRODUCED, DIFFERENT, FAILED = "reproduced", "reproduced with a difference", "not reproduced"

PARAMETERS = 174_084
DIGITS = 10
LEAST_FALL = 0.1  # of the first epoch's mean, most of which is training already
LEAST_FALLING = 0.8  # noise around a plateau falls half the time: 24 of 29 has p = 0.0003
LEAST_KL_NATS = math.log(DIGITS)  # to say which of ten digits an image is
FEWEST_DIGITS = 9  # 64 even draws miss two of ten with p = 0.00003
LEAST_CONFIDENCE = 0.5  # the named digit is likelier than the nine others together
LEAST_PROBE_ACCURACY = 0.9  # a witness that knows real test digits
LEAST_TRUST = 0.9  # random places on a map have 0.5, a map without false neighbours 1
LEAST_MAP_ACCURACY = 0.5  # most images lie among their own digit; chance is 0.1
LEAST_SMOOTHNESS = 0.9  # neighbours differ by a tenth of what two test images do, at most
LEAST_VARIETY = 0.25  # two tiles differ by half of what two test images do, as root mean square
NO_VARIETY = 0.01  # by a tenth: one picture, whatever the place


@dataclass(frozen=True)
class Verdict:
    """A grade, what stands in the way of a better one, and what the best one takes."""

    grade: str
    reasons: tuple[str, ...]
    rule: str


@dataclass(frozen=True)
class Demand:
    """Something a result must fulfil, and what is said where it does not."""

    is_met: bool
    otherwise: str


class Plane(NamedTuple):
    """A manifold in numbers: its two dimensions, from 0, and the nats that they hold."""

    dimensions: tuple[int, int]
    smoothness: float
    variety: float
    kl_nats: float


def judge(rule: str, demands: Sequence[Demand], differences: Sequence[str]) -> Verdict:
    """Not reproduced where a demand is not met; differences count where all are."""
    unmet = tuple(demand.otherwise for demand in demands if not demand.is_met)
    if unmet:
        return Verdict(FAILED, unmet, rule)
    return Verdict(DIFFERENT if differences else REPRODUCED, tuple(differences), rule)


def parameters(counted: int, in_closed_form: int, differences: Sequence[str] = ()) -> Verdict:
    """The count of the documented model; of another model, that of its closed form."""
    rule = (
        f"exactly {PARAMETERS:,} parameters, for a count has no noise. A model of other sizes "
        "must have the count of its closed form, and differs."
    )
    expected = in_closed_form if differences else PARAMETERS
    demand = Demand(counted == expected, f"{counted:,} parameters, not {expected:,}")
    return judge(rule, [demand], differences)


def loss_curve(losses: Sequence[float], kl_nats: float, differences: Sequence[str] = ()) -> Verdict:
    """Means of the training loss per epoch, and the KL of all levels at the end."""
    rule = (
        f"the last epoch lies at least {percent(LEAST_FALL)} below the first; the loss falls in at "
        f"least {percent(LEAST_FALLING)} of the steps from epoch to epoch (a curve that has "
        "stalled falls in half of them; 24 of 29 would be an accident of p = 0.0003); and the "
        f"latents hold at least log 10 = {LEAST_KL_NATS:.1f} nats at the end, what it takes to say "
        "which digit an image is: the loss of a decoder that ignores them falls too."
    )
    if len(losses) < 2:
        return judge(rule, [Demand(False, "one epoch is no curve")], differences)
    fall, falling = 1 - losses[-1] / losses[0], falls(losses) / (len(losses) - 1)
    demands = [
        Demand(all(map(math.isfinite, losses)), "the loss became no number"),
        Demand(fall >= LEAST_FALL, f"the loss falls by {percent(fall)} only"),
        Demand(falling >= LEAST_FALLING, f"it falls in {percent(falling)} of the steps only"),
        Demand(kl_nats >= LEAST_KL_NATS, f"the latents hold {kl_nats:.2f} nats only"),
    ]
    return judge(rule, demands, differences)


def falls(losses: Sequence[float]) -> int:
    """The epochs whose loss lies below that of the epoch before."""
    return sum(after < before for before, after in pairwise(losses))


def samples(
    digits_found: int,
    confidence: float,
    probe_accuracy: float,
    differences: Sequence[str] = (),
) -> Verdict:
    """What a probe trained on real digits sees in the samples."""
    rule = (
        f"a probe that is right on at least {percent(LEAST_PROBE_ACCURACY)} of real test images "
        f"finds at least {FEWEST_DIGITS} of the {DIGITS} digits (64 even draws miss two of them "
        f"with p = 0.00003), with a mean confidence of at least {percent(LEAST_CONFIDENCE)}: then "
        "the digit it names is likelier than the nine others together."
    )
    demands = [
        Demand(
            probe_accuracy >= LEAST_PROBE_ACCURACY,
            f"the probe is right on {percent(probe_accuracy, 1)} of test images only: no witness",
        ),
        Demand(digits_found >= FEWEST_DIGITS, f"the probe finds {digits_found} digits only"),
        Demand(
            confidence >= LEAST_CONFIDENCE, f"its mean confidence is {percent(confidence)} only"
        ),
    ]
    return judge(rule, demands, differences)


def latent_map(
    trustworthiness: float,
    map_accuracy: float,
    kl_nats: float,
    differences: Sequence[str] = (),
) -> Verdict:
    """A map of the last latent's means by digit, and the KL of that level."""
    rule = (
        f"trustworthiness of at least {LEAST_TRUST} (random places have 0.5, a map without false "
        f"neighbours 1); the five nearest neighbours on the map name the digit of at least "
        f"{percent(LEAST_MAP_ACCURACY)} of the images (chance: 10 %); and the level holds the nats "
        "that naming digits so well takes (Fano's inequality). The last is needed because a map "
        "shows means without their noise: that of an untrained encoder looks fine."
    )
    needed = needed_nats(map_accuracy)
    demands = [
        Demand(trustworthiness >= LEAST_TRUST, f"trustworthiness is {trustworthiness:.2f} only"),
        Demand(
            map_accuracy >= LEAST_MAP_ACCURACY,
            f"neighbours on the map name {percent(map_accuracy)} of the digits only",
        ),
        Demand(
            kl_nats >= needed,
            f"the level holds {kl_nats:.2f} nats, naming {percent(map_accuracy)} of the digits "
            f"takes {needed:.2f}: the map shows differences that the level's own noise drowns",
        ),
    ]
    return judge(rule, demands, differences)


def needed_nats(accuracy: float, classes: int = DIGITS) -> float:
    """Least information by which even classes can be named this well: Fano's inequality,
    log C − h(a) − (1 − a) log(C − 1) (Cover and Thomas 2006, eq. 2.140); 0 at chance or below."""
    if not accuracy > 1 / classes:
        return 0.0
    error = 1 - accuracy
    doubt = -accuracy * math.log(accuracy) - (error * math.log(error) if error > 0 else 0.0)
    return math.log(classes) - doubt - error * math.log(classes - 1)


def manifold(documented: Plane, used: Plane, differences: Sequence[str] = ()) -> Verdict:
    """Neighbouring tiles must be alike, and tiles apart must not be, on the documented plane; where
    it shows nothing but the plane of the dimensions in use does, that is the difference."""
    verdict = plane(documented, differences)
    if verdict.grade == FAILED and plane(used).grade == REPRODUCED:
        names = " and ".join(str(dimension + 1) for dimension in used.dimensions)
        other = f"it is dimensions {names} that the model uses, and their plane shows digits"
        return Verdict(DIFFERENT, (*verdict.reasons, other, *differences), verdict.rule)
    return verdict


def plane(measured: Plane, differences: Sequence[str] = ()) -> Verdict:
    """The verdict on one plane; the KL of its dimensions says why it is as it is."""
    smoothness, variety = measured.smoothness, measured.variety
    rule = (
        f"smoothness of at least {LEAST_SMOOTHNESS} (neighbouring tiles differ by at most a tenth "
        "of what two random test images do), and variety of at least "
        f"{LEAST_VARIETY}: two random tiles differ, as root mean square, by at least half of what "
        f"two test images do. Variety from {NO_VARIETY} (a tenth) on is a difference; below, it is "
        "one picture, which is smooth and shows nothing. Where the first two dimensions show "
        "nothing and the two that hold most fulfil all of this, that is a difference."
    )
    first, second = (dimension + 1 for dimension in measured.dimensions)
    held = (
        f"variety {variety:.3f}; the model holds {measured.kl_nats:.2f} nats in dimensions {first} "
        f"and {second}"
    )
    demands = [
        Demand(smoothness >= LEAST_SMOOTHNESS, f"smoothness is {smoothness:.2f} only"),
        Demand(variety >= NO_VARIETY, f"the picture is the same everywhere ({held})"),
    ]
    if not variety >= LEAST_VARIETY:
        differences = [f"the picture changes little ({held})", *differences]
    return judge(rule, demands, differences)


def percent(share: float, digits: int = 0) -> str:
    """`97.3 %`."""
    return f"{rounded(100 * share, digits)} %"
