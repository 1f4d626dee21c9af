"""Whether a documented result was reproduced: plain functions of numbers, and their thresholds.

The documented results are pictures and one count, so the thresholds ask what such a picture must
show. Each follows from the reason beside it, none was fitted to a run. A number that is missing or
not finite fulfils nothing. The templates of the results say these rules to the reader.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

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


class Verdict(NamedTuple):
    """A grade, and what stands in the way of a better one."""

    grade: str
    reasons: tuple[str, ...]


class Plane(NamedTuple):
    """A manifold in numbers: its two dimensions, from 0, and the nats that they hold."""

    dimensions: tuple[int, int]
    smoothness: float
    variety: float
    kl_nats: float

    @property
    def names(self) -> str:
        """The dimensions as a reader counts them: `1 and 2`."""
        return " and ".join(str(dimension + 1) for dimension in self.dimensions)


def judge(demands: Mapping[str, bool], differences: Sequence[str] = ()) -> Verdict:
    """Not reproduced where a demand is not met; differences count where all are. A demand is named
    by what is said where it is not met."""
    unmet = tuple(shortfall for shortfall, is_met in demands.items() if not is_met)
    return with_differences(Verdict(FAILED if unmet else REPRODUCED, unmet), differences)


def with_differences(verdict: Verdict, differences: Sequence[str]) -> Verdict:
    """The verdict where the run, too, differs from the documented one: no failure is hidden."""
    if verdict.grade == FAILED or not differences:
        return verdict
    return Verdict(DIFFERENT, (*verdict.reasons, *differences))


def judge_count(counted: int, in_closed_form: int) -> Verdict:
    """The count of parameters beside that of the model's closed form."""
    return judge({f"{counted:,} parameters, not {in_closed_form:,}": counted == in_closed_form})


def judge_curve(losses: Sequence[float], kl_nats: float) -> Verdict:
    """Means of the training loss per epoch, and the KL of all levels at the end."""
    if len(losses) < 2:
        return judge({"one epoch is no curve": False})
    fall, falling = 1 - losses[-1] / losses[0], falls(losses) / (len(losses) - 1)
    demands = {
        "the loss became no number": all(map(math.isfinite, losses)),
        f"the loss falls by {percent(fall)} only": fall >= LEAST_FALL,
        f"it falls in {percent(falling)} of the steps only": falling >= LEAST_FALLING,
        f"the latents hold {kl_nats:.2f} nats only": kl_nats >= LEAST_KL_NATS,
    }
    return judge(demands)


def falls(losses: Sequence[float]) -> int:
    """The epochs whose loss lies below that of the epoch before."""
    return sum(after < before for before, after in pairwise(losses))


def judge_samples(facts: Mapping[str, Any]) -> Verdict:
    """What a probe trained on real digits sees in the samples, as `hvae.pictures` measures it."""
    accuracy, confidence = facts["probe_test_accuracy"], facts["confidence"]
    right, found = percent(accuracy, 1), facts["digits_found"]
    demands = {
        f"the probe is right on {right} of test images only: no witness": (
            accuracy >= LEAST_PROBE_ACCURACY
        ),
        f"the probe finds {found} digits only": found >= FEWEST_DIGITS,
        f"its mean confidence is {percent(confidence)} only": confidence >= LEAST_CONFIDENCE,
    }
    return judge(demands)


def judge_map(facts: Mapping[str, Any], kl_nats: float) -> Verdict:
    """A map of the last latent's means by digit, and the KL of that level."""
    trust, accuracy = facts["trustworthiness"], facts["neighbour_accuracy"]
    needed, named = needed_nats(accuracy), percent(accuracy)
    demands = {
        f"trustworthiness is {short(trust)} only": trust >= LEAST_TRUST,
        f"neighbours on the map name {named} of the digits only": accuracy >= LEAST_MAP_ACCURACY,
        f"the level holds {kl_nats:.2f} nats, naming {named} of the digits takes {needed:.2f}: the "
        "map shows differences that the level's own noise drowns": kl_nats >= needed,
    }
    return judge(demands)


def needed_nats(accuracy: float, classes: int = DIGITS) -> float:
    """Least information by which even classes can be named this well: Fano's inequality,
    log C − h(a) − (1 − a) log(C − 1) (Cover and Thomas 2006, eq. 2.140); 0 at chance or below."""
    if not accuracy > 1 / classes:
        return 0.0
    error = 1 - accuracy
    doubt = -accuracy * math.log(accuracy) - (error * math.log(error) if error > 0 else 0.0)
    return math.log(classes) - doubt - error * math.log(classes - 1)


def judge_manifold(documented: Plane, used: Plane) -> Verdict:
    """Neighbouring tiles must be alike, and tiles apart must not be, on the documented plane; where
    it shows nothing but the plane of the dimensions in use does, that is the difference."""
    verdict = judge_plane(documented)
    if verdict.grade == FAILED and judge_plane(used).grade == REPRODUCED:
        other = f"it is dimensions {used.names} that the model uses, and their plane shows digits"
        return Verdict(DIFFERENT, (*verdict.reasons, other))
    return verdict


def judge_plane(plane: Plane) -> Verdict:
    """The verdict on one plane; the KL of its dimensions says why it is as it is."""
    held = (
        f"variety {plane.variety:.3f}; the model holds {plane.kl_nats:.2f} nats in dimensions "
        f"{plane.names}"
    )
    demands = {
        f"smoothness is {short(plane.smoothness)} only": plane.smoothness >= LEAST_SMOOTHNESS,
        f"the picture is the same everywhere ({held})": plane.variety >= NO_VARIETY,
    }
    is_varied = plane.variety >= LEAST_VARIETY
    return judge(demands, () if is_varied else [f"the picture changes little ({held})"])


def percent(share: float, digits: int = 0) -> str:
    """`97.3 %`."""
    return f"{short(100 * share, digits)} %"


def short(value: float, digits: int = 2) -> str:
    """A number rounded down: what falls short of a demand does not read as if it met it."""
    scale = 10**digits
    is_number = math.isfinite(value)
    return rounded(math.floor(value * scale + 1e-9) / scale if is_number else value, digits)
