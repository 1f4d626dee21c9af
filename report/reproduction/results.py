"""The documented results, each beside what was obtained, the numbers to check it by, a verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hvae.closed_form import parameter_count
from report.render.numbers import rounded
from report.reproduction import verdicts
from report.reproduction.folder import Reproduction
from report.reproduction.verdicts import Verdict, percent


@dataclass(frozen=True)
class Number:
    """A number as shown, and what it is."""

    value: str
    label: str


@dataclass(frozen=True)
class Result:
    """One documented result. `name` is that of its drawing, where it has one."""

    name: str
    title: str
    headline: str
    documented: str
    obtained: str
    numbers: tuple[Number, ...]
    verdict: Verdict


def documented_results(made: Reproduction) -> list[Result]:
    """The five, in the order of the documentation."""
    return [parameters(made), loss_curve(made), samples(made), latent_map(made), manifold(made)]


def parameters(made: Reproduction) -> Result:
    """The count; a model of other images has another."""
    model, counted = made.record.run.model, made.record.parameters
    sizes = f"{model.input_dim}-{model.hidden_dim}-{model.latent_dim}, {_levels(model.num_layers)}"
    expected = parameter_count(model)
    differences = [f"the model is {sizes}"] if expected != verdicts.PARAMETERS else []
    return Result(
        "parameters",
        "Parameters",
        f"{counted:,}",
        f"The model, 784-100-20 with two levels, has {verdicts.PARAMETERS:,} parameters.",
        f"The trained model, {sizes}, has {counted:,}.",
        (Number(f"{counted:,}", "parameters"), Number(f"{expected:,}", "in closed form")),
        verdicts.parameters(counted, expected, differences),
    )


def loss_curve(made: Reproduction) -> Result:
    """Start, end, and how steadily it falls."""
    losses, steps = made.losses, len(made.losses) - 1
    falling, test = verdicts.falls(losses), nats(made.metric("loss_documented"))
    return Result(
        "loss-curve",
        "Training loss curve",
        f"{nats(losses[0])} → {nats(losses[-1])} nats",
        "A curve of the training loss over 30 epochs of Adam, learning rate 1e-3, batches of 64.",
        f"The loss falls from {nats(losses[0])} nats, the mean of the first epoch, to "
        f"{nats(losses[-1])}, the mean of epoch {len(losses)}. It lies below the epoch before in "
        f"{falling} of {steps} epochs. The test set's loss at the end is {test} nats.",
        (
            Number(f"{nats(losses[0])} → {nats(losses[-1])}", "nats, first → last epoch"),
            Number(f"{falling} of {steps}", "epochs below the one before"),
            Number(test, "nats, test set"),
            Number(nats(made.trained_kl_nats), "nats of KL in the last epoch"),
        ),
        verdicts.loss_curve(losses, made.trained_kl_nats, made.differences),
    )


def samples(made: Reproduction) -> Result:
    """How many digits a probe finds, and how sure it is."""
    facts, named = made.numbers["samples"], sum(made.counts)
    found, total = int(facts["digits_found"]), len(made.samples)
    sure, able = percent(facts["confidence"], 1), percent(facts["probe_test_accuracy"], 1)
    tally = ", ".join(map(str, made.counts))
    return Result(
        "samples",
        "64 samples",
        f"{found} of {verdicts.DIGITS} digits found",
        "64 images, decoded from standard-normal samples through the trained hierarchy.",
        f"A probe, trained on real digits and right on {able} of test images, names {named} of "
        f"the {total} with a probability of at least {facts['threshold']:g} (of the digits 0 to "
        f"9: {tally}). Its mean confidence over all is {sure}.",
        (
            Number(f"{found} of {verdicts.DIGITS}", "digits found"),
            Number(sure, "mean confidence"),
            Number(able, "probe's own test accuracy"),
        ),
        verdicts.samples(
            found, facts["confidence"], facts["probe_test_accuracy"], made.differences
        ),
    )


def latent_map(made: Reproduction) -> Result:
    """Whether the map keeps neighbours together, and whether these share a digit."""
    facts, level = made.numbers["map"], made.record.run.model.num_layers
    trust, own = facts["trustworthiness"], facts["neighbour_accuracy"]
    latent, near = facts["latent_neighbour_accuracy"], f"{facts['neighbours']:g}"
    return Result(
        "latent-map",
        "t-SNE of the last latent",
        f"trustworthiness {rounded(trust, 3)}, accuracy {percent(own, 1)}",
        "A t-SNE map of the last latent, q(z_2 | z_1), in two dimensions, coloured by digit.",
        f"On the map of {facts['images']:,.0f} test images, the {near} nearest neighbours name the "
        f"digit of {percent(own, 1)}; in z_{level} itself, of {percent(latent, 1)}. The level "
        f"holds {nats(made.last_kl_nats, 2)} nats.",
        (
            Number(rounded(trust, 3), "trustworthiness"),
            Number(percent(own, 1), f"{near}-nearest-neighbour accuracy on the map"),
            Number(percent(latent, 1), "in the latent"),
            Number(nats(made.last_kl_nats, 2), f"nats in z_{level}"),
        ),
        verdicts.latent_map(trust, own, made.last_kl_nats, made.differences),
    )


def manifold(made: Reproduction) -> Result:
    """How smoothly the plane changes, and whether it changes at all."""
    facts, level = made.numbers["manifold"], made.record.run.model.num_layers
    kl = made.unit_kl_nats[-1]
    plane, used = made.plane("manifold"), made.plane("used_manifold")
    most = " and ".join(str(dimension + 1) for dimension in used.dimensions)
    near, far, test = (_grey_levels(facts[n]) for n in ("step_mse", "tile_mse", "digit_mse"))
    return Result(
        "manifold",
        "Manifold over two dimensions",
        f"smoothness {rounded(plane.smoothness, 3)}, variety {rounded(plane.variety, 3)}",
        "The manifold over the first two dimensions of the latent space in [−3, 3].",
        f"As root mean square over pixels, neighbouring tiles differ by {near} of 255 grey levels, "
        f"two random tiles by {far}, two random test images by {test}. The first two dimensions of "
        f"z_{level} hold {nats(kl[0], 2)} and {nats(kl[1], 2)} nats. The two that hold most, "
        f"{most}, hold {nats(used.kl_nats, 2)} together: over them smoothness is "
        f"{rounded(used.smoothness, 3)} and variety {rounded(used.variety, 3)}.",
        (
            Number(rounded(plane.smoothness, 3), "smoothness"),
            Number(rounded(plane.variety, 3), "variety"),
            Number(nats(plane.kl_nats, 2), "nats in the two dimensions"),
            Number(rounded(used.variety, 3), f"variety over dimensions {most}"),
        ),
        verdicts.manifold(plane, used, made.differences),
    )


def consequences(made: Reproduction, closed_form_nats: float) -> Sequence[str]:
    """What follows from the documented loss, with the numbers of this run's test set."""
    loss, reconstruction, rate, elbo, nll = (
        made.metric(name)
        for name in ("loss_documented", "reconstruction_nats", "rate_nats", "elbo_nats", "nll_nats")
    )
    levels = made.record.run.model.num_layers
    gap = closed_form_nats - rate
    apart = f"{nats(abs(gap), 2)} {'more' if gap > 0 else 'less'}"
    joint = (
        f"With {_levels(levels)}, Σ K_t is not the KL of the joint posterior, because the closed "
        f"form drops a covariance: it is {nats(closed_form_nats, 2)} nats here, "
        f"(loss − reconstruction) / 2, and the joint KL is {nats(rate, 2)}; {apart} is charged "
        "than there is, and R + Σ K_t is no bound."
    )
    alone = (
        f"With one level, Σ K_t is the KL of the posterior: {nats(closed_form_nats, 2)} nats in "
        f"closed form, {nats(rate, 2)} by sampling; from two levels on it is not."
    )
    return (
        "The KL has no ½: with BCE this is a β-VAE with β = 2. Of this run's test loss of "
        f"{nats(loss)} nats, {nats(reconstruction)} are reconstruction and 2 × "
        f"{nats(closed_form_nats)} are KL, where an ELBO counts the KL once.",
        joint if levels > 1 else alone,
        "Grey levels under a Bernoulli are no likelihood of the data: this run's ELBO of "
        f"{nats(elbo)} and NLL of {nats(nll)} nats compare with those of other models of the same "
        "grey images, and with no published likelihood.",
    )


def nats(value: float, digits: int = 1) -> str:
    """`126.6`; what is no number is said to be none."""
    return rounded(value, digits) if math.isfinite(value) else "no number of"


def _grey_levels(mse: float) -> str:
    """Of a mean squared difference of pixels in [0, 1], its root in bytes."""
    return f"{255 * math.sqrt(mse):.2g}"


def _levels(count: int) -> str:
    return f"{count} level{'' if count == 1 else 's'}"
