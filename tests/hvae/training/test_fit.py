"""hvae/training/fit.py: packed = alone, against a plain autograd loop over one model, in float64.

Shapes: K members, U seeds, B batch, D pixels, S samples, T levels, L latent.
"""

import hashlib
import inspect
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import families
import pytest
import torch
import torch.nn.functional as F
from packs import Pack, batch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import parameters_to_vector

from hvae import streams
from hvae.config import DataConfig, ModelConfig, RunConfig, TrainConfig, as_dict
from hvae.data.images import Images, load
from hvae.evaluation.evaluate import evaluate
from hvae.model.hierarchy import HierarchicalVAE, initial
from hvae.native.build import c_compiler
from hvae.settings import override
from hvae.training import traced
from hvae.training.draws import Draws, kl_ramp
from hvae.training.fit import fit, require_packable
from hvae.training.stacking import Parameters
from hvae.training.traced import Group, transposed

DEPTHS = [1, 2, 3, 4]
OBJECTIVES = ["documented", "elbo", "iwae"]
BATCH = 16  # the few digits are four batches and a short one of 6


@pytest.fixture
def with_tracing() -> None:
    """Asked for by the tests that run the traced step, as `fit` does."""


@pytest.fixture(autouse=True)
def _untraced(request: pytest.FixtureRequest) -> None:
    if "with_tracing" not in request.fixturenames:
        request.getfixturevalue("untraced")


def run(
    latent: int = 5, depth: int = 2, hidden: int = 12, binarize: str = "none", **train: Any
) -> RunConfig:
    """A run on the few digits; `iwae` takes three samples."""
    samples = 3 if train.get("objective") == "iwae" else 1
    options = TrainConfig(
        **{"batch_size": BATCH, "epochs": 2, "importance_samples": samples} | train
    )
    return RunConfig(
        ModelConfig(64, hidden, latent, depth), options, DataConfig("digits", binarize)
    )


def mixed(depth: int, objective: str, **train: Any) -> list[RunConfig]:
    """A pack that differs in all that members may differ in: loss, latents, seed, rate, KL."""
    members: list[dict[str, Any]] = [
        {"loss": "bce", "latent": 5, "seed": 1},
        {"loss": "mse", "latent": 20, "seed": 0},
        {"loss": "mse", "latent": 2, "seed": 1, "learning_rate": 3e-3},
        {"loss": "bce", "latent": 2, "seed": 0},
    ]
    if objective != "iwae":
        members[0] |= {"kl_weight": 0.5, "free_bits": 0.3}
        members[2] |= {"kl_weight": 3.0}
    return [run(depth=depth, objective=objective, **member, **train) for member in members]


def trained(runs: Sequence[RunConfig], images: Images, epochs: int) -> Pack:
    pack = Pack(runs, images, "traced")
    for epoch in range(1, epochs + 1):
        pack.epoch(epoch)
    return pack


def own_part(pack: Pack, member: int, of: Parameters | None = None) -> Parameters:
    """A member's parameters, or its part of other tensors so stacked, at its own size."""
    group = group_of(pack, member)
    stacked, row = transposed(of or group.parameters), group.members.index(member)
    shapes = {name: p.shape for name, p in initial(pack.runs[member]).named_parameters()}
    return {
        name: stacked[name][row][tuple(slice(n) for n in shape)].clone()
        for name, shape in shapes.items()
    }


def group_of(pack: Pack, member: int) -> Group:
    return next(group for group in pack.engine.groups if member in group.members)


def gradients_of(group: Group, x: Tensor, noise: Tensor) -> Parameters:
    """What a step hands to the optimiser, which takes no step."""
    found: list[Parameters] = []
    with pytest.MonkeyPatch.context() as patch:
        keep = partial(zip, group.parameters)
        patch.setattr(
            group.optimizer, "step", lambda gradients: found.append(dict(keep(gradients)))
        )
        group.step(x, group.own_noise(noise))
    return found[0]


def distance(found: Parameters, expected: Parameters) -> float:
    """The largest ‖found - expected‖ / ‖expected‖ over the tensors; 0 where both are 0."""
    assert found.keys() == expected.keys()
    tiny = 1e-300
    return max(float((found[n] - e).norm() / (e.norm() + tiny)) for n, e in expected.items())


# The slow reference: one model, its own module, distributions of PyTorch, `backward`, plain Adam.


class Plain(nn.Module):
    """The documented hierarchy, written anew; its state is that of `HierarchicalVAE`."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        sizes, hidden, latent = config.model, config.model.hidden_dim, config.model.latent_dim
        widths = [sizes.input_dim, *[latent] * (sizes.num_layers - 1)]
        layers = {"linear_mu": (hidden, latent), "linear_logvar": (hidden, latent)}
        self.encoders = nn.ModuleList(linears(linear=(width, hidden), **layers) for width in widths)
        self.decoders = nn.ModuleList(
            linears(linear_1=(latent, hidden), linear_2=(hidden, width)) for width in widths
        )
        self.load_state_dict(initial(config).state_dict())

    def sample(self, x: Tensor, noise: Tensor) -> tuple[list[Normal], list[Tensor], list[Tensor]]:
        """q of each level, its draw, and what the decoders say: x [B, D], noise [B, T, L]."""
        posteriors, draws, below = [], [], x
        for t, layers in enumerate(self.encoders):
            hidden = F.relu(layers["linear"](below))  # type: ignore[index]
            sigma = torch.exp(0.5 * layers["linear_logvar"](hidden))  # type: ignore[index]
            q = Normal(layers["linear_mu"](hidden), sigma, validate_args=False)  # type: ignore[index]
            below = q.loc + noise[:, t] * q.scale
            posteriors.append(q)
            draws.append(below)
        means = [
            layers["linear_2"](F.relu(layers["linear_1"](z)))  # type: ignore[index]
            for layers, z in zip(self.decoders, draws, strict=True)
        ]
        return posteriors, draws, means


def linears(**sizes: tuple[int, int]) -> nn.ModuleDict:
    return nn.ModuleDict({name: nn.Linear(*size) for name, size in sizes.items()})


def plain_terms(model: Plain, x: Tensor, noise: Tensor, config: RunConfig) -> tuple[Tensor, ...]:
    """Per image: reconstruction [B], KL by level [B, T], log-weight of the joint sample [B]."""
    posteriors, draws, means = model.sample(x, noise)
    is_bce, is_documented = config.train.loss == "bce", config.train.objective == "documented"
    pixels: Any = Bernoulli(logits=means[0], validate_args=False)
    if not is_bce:
        pixels = Normal(torch.sigmoid(means[0]), torch.ones(()).double(), validate_args=False)
    log_likelihood = pixels.log_prob(x).sum(-1)
    reconstruction = -log_likelihood
    if is_documented and not is_bce:
        reconstruction = ((x - torch.sigmoid(means[0])) ** 2).sum(-1)
    kl, log_weight = [], log_likelihood
    for t, (q, z) in enumerate(zip(posteriors, draws, strict=True)):
        is_top = t == len(draws) - 1
        mean = torch.zeros_like(z) if is_top else means[t + 1]
        prior = Normal(mean, torch.ones_like(mean), validate_args=False)
        log_weight = log_weight + (prior.log_prob(z) - q.log_prob(z)).sum(-1)
        is_closed = is_documented or is_top
        per_unit = kl_divergence(q, prior) if is_closed else -q.entropy() - prior.log_prob(z)
        kl.append(per_unit.sum(-1))
    return reconstruction, torch.stack(kl, -1), log_weight


def plain_loss(
    model: Plain, x: Tensor, noise: Tensor, config: RunConfig, ramp: float
) -> tuple[Tensor, list[float]]:
    """The objective of a batch, and what the history holds of it: noise [B, S, T, L]."""
    train = config.train
    passes = [plain_terms(model, x, draw, config) for draw in noise.unbind(1)]
    reconstruction, kl, log_weight = (torch.stack(parts) for parts in zip(*passes, strict=True))
    reconstruction, kl_mean = reconstruction.mean(), kl.mean((0, 1))
    if train.objective == "iwae":
        loss = -(torch.logsumexp(log_weight, 0) - math.log(len(passes))).mean()
    else:
        factor = 2.0 if train.objective == "documented" else 1.0
        charged = kl_mean.clamp_min(train.free_bits) if train.free_bits else kl_mean
        loss = reconstruction + factor * train.kl_weight * ramp * charged.sum()
    return loss, [loss.item(), reconstruction.item(), *kl_mean.tolist()]


def plain_inputs(config: RunConfig, images: Images, epoch: int) -> tuple[Tensor, Tensor]:
    """One epoch in its order, in [0, 1]: x [N, D], noise [N, S, T, L], from the streams."""
    n, sizes, train = len(images.train), config.model, config.train
    order = streams.order(train.seed, epoch, n)
    shape = (n * train.importance_samples, sizes.num_layers, sizes.latent_dim)
    noise = streams.noise("noise", train.seed, epoch, *shape)
    x = torch.from_numpy(images.train)[order].float() / images.train_levels
    return x.double(), noise.reshape(n, train.importance_samples, *shape[1:]).double()


def plain_gradients(config: RunConfig, x: Tensor, noise: Tensor) -> Parameters:
    model = Plain(config).double()
    plain_loss(model, x, noise, config, ramp=1.0)[0].backward()  # type: ignore[no-untyped-call]
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in model.named_parameters()
    }


@dataclass
class Alone:
    parameters: Parameters
    history: list[list[float]]  # of an epoch: loss, reconstruction, KL by level, per image


def plain_training(config: RunConfig, images: Images, epochs: int) -> Alone:
    """One model in a loop as anyone would write it."""
    model, history = Plain(config).double(), []
    adam = torch.optim.Adam(model.parameters(), lr=config.train.learning_rate, foreach=False)
    for epoch in range(1, epochs + 1):
        warmup = config.train.kl_warmup_epochs
        ramp = min(1.0, (epoch - 1) / warmup) if warmup else 1.0
        sums = torch.zeros(2 + config.model.num_layers, dtype=torch.float64)
        x, noise = plain_inputs(config, images, epoch)
        for rows, draws in zip(x.split(BATCH), noise.split(BATCH), strict=True):
            adam.zero_grad()
            loss, entries = plain_loss(model, rows, draws, config, ramp)
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            sums += len(rows) * torch.tensor(entries, dtype=torch.float64)
        history.append((sums / len(x)).tolist())
    return Alone({name: p.detach() for name, p in model.named_parameters()}, history)


# Packed = alone.


@pytest.mark.parametrize(
    ("depth", "objective", "images"),  # every pair of values of the three at least once
    [
        (d, o, (BATCH, 6)[(i + j) % 2])
        for i, d in enumerate(DEPTHS)
        for j, o in enumerate(OBJECTIVES)
    ],
)
def test_the_gradients_of_a_pack_are_those_of_each_member_alone(
    depth: int, objective: str, images: int, few_digits: Images
) -> None:
    runs = mixed(depth, objective)
    pack = Pack(runs, few_digits, "traced")
    draws = [pack.draws.draw(seed, epoch=1) for seed in pack.engine.seeds]
    x = torch.stack([batch(draw, slice(images)) for draw in draws])
    noise = torch.stack([draw.noise[:images] for draw in draws])
    for member, config in enumerate(runs):
        found = gradients_of(group_of(pack, member), x.double(), noise.double())
        own_x, own_noise = (t[:images] for t in plain_inputs(config, few_digits, epoch=1))
        expected = plain_gradients(config, own_x, own_noise)
        # 1e-12: float64 rounds at 1e-16, and sums over 1,024 terms lose three digits at most.
        assert distance(own_part(pack, member, found), expected) <= 1e-12, config


LONG = [
    (2, "documented", {}, 3),  # of two learning rates
    (4, "elbo", {"kl_warmup_epochs": 4}, 2),
    (1, "iwae", {}, 2),
]


@pytest.mark.parametrize(("depth", "objective", "options", "members"), LONG)
def test_after_30_steps_a_pack_holds_what_each_member_reaches_alone(
    depth: int, objective: str, options: dict[str, Any], members: int, few_digits: Images
) -> None:
    epochs = 6  # of 5 steps, the last of them short
    runs = mixed(depth, objective, **options)[:members]
    pack, sums = Pack(runs, few_digits, "traced"), []
    for epoch in range(1, epochs + 1):
        sums.append(pack.epoch(epoch) / len(few_digits.train))
    for member, config in enumerate(runs):
        alone = plain_training(config, few_digits, epochs)
        # Rounding of 1e-16 a step, which Adam's division by √v of small gradients spreads.
        assert distance(own_part(pack, member), alone.parameters) <= 1e-9, config
        rows = [row[member].tolist() for row in sums]
        assert rows == [pytest.approx(row, rel=1e-9) for row in alone.history]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_fit_packed_is_fit_alone(objective: str, few_digits: Images) -> None:
    runs = [*mixed(2, objective), run(7, depth=3, objective=objective)]
    packed = fit(runs, few_digits, dtype=torch.float64, engine="traced")
    for member, config in enumerate(runs):
        alone = fit([config], few_digits, dtype=torch.float64, engine="traced")
        weights = [
            parameters_to_vector(f.parameters()) for f in (packed.models[member], *alone.models)
        ]
        # Models leave in float32, where a difference of 1e-16 can at most turn the last bit.
        torch.testing.assert_close(*weights, rtol=2e-7, atol=1e-9)
        assert without_seconds(packed.histories[member]) == [
            {name: pytest.approx(value, rel=1e-9) for name, value in entry.items()}
            for entry in without_seconds(alone.histories[0])
        ]


@pytest.mark.usefixtures("with_tracing")
@pytest.mark.parametrize(
    ("objective", "is_documented"), [*((name, True) for name in OBJECTIVES), ("elbo", False)]
)
def test_tracing_the_step_changes_no_bit(
    objective: str, is_documented: bool, few_digits: Images, request: pytest.FixtureRequest
) -> None:
    """Of the documented model, and of one that has all parts of the family."""
    common: dict[str, Any] = {"objective": objective, "batch_size": 35}  # traced once
    runs, found = [run(**common), run(2, loss="mse", **common)], []
    if not is_documented:
        model = replace(families.member("all", 2), input_dim=64)
        runs = [replace(one, model=model) for one in runs]
    for _ in range(2):
        pack = Pack(runs, few_digits, "traced", torch.float32)
        sums = pack.epoch(1)
        found.append(
            [sums, *(p for group in pack.engine.groups for p in group.parameters.values())]
        )
        request.getfixturevalue("untraced")
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def without_seconds(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in history]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_paddings_are_bitwise_zero_at_the_end(
    depth: int, objective: str, few_digits: Images
) -> None:
    runs = mixed(depth, objective)
    pack = trained(runs, few_digits, epochs=1)
    for member in range(len(runs)):
        group = group_of(pack, member)
        stacked, row = transposed(group.parameters), group.members.index(member)
        for name, own in own_part(pack, member).items():
            padded = stacked[name][row].clone()
            padded[tuple(slice(n) for n in own.shape)] = 0
            assert not padded.contiguous().view(torch.int64).any(), name


@pytest.mark.parametrize(("objective", "sick"), [(OBJECTIVES[sick % 3], sick) for sick in range(4)])
def test_nan_in_one_member_leaves_the_others_bitwise_as_they_are(
    objective: str, sick: int, few_digits: Images
) -> None:
    runs = mixed(2, objective)
    healthy, injected = (Pack(runs, few_digits, "traced", torch.float32) for _ in range(2))
    group = group_of(injected, sick)
    for parameter in group.parameters.values():
        parameter[group.members.index(sick)] = torch.nan
    sums = [pack.epoch(1) for pack in (healthy, injected)]
    for member in range(len(runs)):
        pair = [own_part(pack, member) for pack in (healthy, injected)]
        is_equal = all(torch.equal(pair[0][name], pair[1][name]) for name in pair[0])
        assert is_equal == (member != sick)
        assert torch.equal(sums[0][member], sums[1][member]) == (member != sick)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_permuting_the_members_changes_nothing_beyond_rounding(
    objective: str, few_digits: Images
) -> None:
    runs, order = mixed(3, objective), [2, 0, 3, 1]
    straight = trained(runs, few_digits, epochs=1)
    permuted = trained([runs[member] for member in order], few_digits, epochs=1)
    for place, member in enumerate(order):
        # 5 steps of rounding.
        assert distance(own_part(permuted, place), own_part(straight, member)) <= 1e-10


@pytest.fixture
def consumed(monkeypatch: pytest.MonkeyPatch) -> dict[RunConfig, str]:
    """By run: a running hash of the images and the noise that its gradients were computed from."""
    hashes: dict[RunConfig, str] = {}
    make, begin = Group._gradients, Group.__init__

    def remember(self: Group, runs: Sequence[RunConfig], members: list[int], *rest: Any) -> None:
        begin(self, runs, members, *rest)
        self.own = [runs[member] for member in members]  # type: ignore[attr-defined]

    def watch(self: Group, x: Tensor, noise: Tensor) -> Callable[..., Any]:
        gradients = make(self, x, noise)

        def watched(parameters: Any, settings: Any, x: Tensor, noise: Tensor) -> Any:
            for row, config in enumerate(self.own):  # type: ignore[attr-defined]
                own_x, own_noise = (x, noise) if self.is_shared else (x[row], noise[row])
                own_noise = own_noise[..., : config.model.latent_dim]
                seen = own_x.numpy().tobytes() + own_noise.contiguous().numpy().tobytes()
                before = hashes.get(config, "").encode()
                hashes[config] = hashlib.sha256(before + seen).hexdigest()
            return gradients(parameters, settings, x, noise)

        return watched

    monkeypatch.setattr(Group, "__init__", remember)
    monkeypatch.setattr(Group, "_gradients", watch)
    return hashes


@pytest.mark.parametrize(("objective", "binarize"), [("documented", "none"), ("iwae", "dynamic")])
def test_a_member_consumes_the_same_images_and_noise_alone_packed_and_in_any_group(
    objective: str, binarize: str, few_digits: Images, consumed: dict[RunConfig, str]
) -> None:
    data = DataConfig("digits", binarize)
    runs = [replace(config, data=data) for config in mixed(2, objective, epochs=1)]
    seen = []
    for grouping in ([[0], [1], [2], [3]], [[0, 1, 2, 3]], [[3, 0], [1, 2]], [[2], [3, 1, 0]]):
        for members in grouping:
            fit([runs[member] for member in members], few_digits, engine="traced")
        seen.append([consumed[config] for config in runs])
        consumed.clear()
    assert all(hashes == seen[0] for hashes in seen)
    assert len(set(seen[0])) == len(runs)  # they differ in seed or latent size


def test_members_of_a_seed_share_batches_and_those_of_another_do_not(few_digits: Images) -> None:
    runs = [run(seed=0), run(seed=0, latent=2, loss="mse"), run(seed=1)]
    pack = Pack(runs, few_digits, "traced")
    (group,) = pack.engine.groups
    assert group.seed_rows.tolist() == [0, 1, 0]  # BCE members first: seeds 0, 1, then MSE
    first, second = (batch(pack.draws.draw(seed, 1), slice(None)) for seed in pack.engine.seeds)
    assert not torch.equal(first, second)
    assert sorted(first.tolist()) == sorted(second.tolist())


# Same in, same out.


def hashed(runs: list[RunConfig], engine: str) -> str:
    """The weights and the losses of a fit to the digits."""
    fitted = fit(runs, load(runs[0].data, Path()), engine=engine)
    weights = [p.detach().numpy().tobytes() for m in fitted.models for p in m.parameters()]
    losses = [entry["loss"] for history in fitted.histories for entry in history]
    return f"{hashlib.sha256(b''.join(weights)).hexdigest()} {losses}"


FRESH = f"""
import hashlib, json, sys
from pathlib import Path
from hvae.config import RunConfig, from_dict
from hvae.data.images import load
from hvae.processes import one_thread
from hvae.training.fit import fit
{inspect.getsource(hashed)}
one_thread()
runs = [from_dict(values) for values in json.loads(sys.argv[1])]
for engine in sys.argv[2:]:
    print(hashed(runs, engine))
"""


def test_the_same_fit_is_bitwise_equal_again_and_in_a_fresh_process(
    run_python: Callable[..., str],
) -> None:
    runs = mixed(2, "documented", epochs=2, batch_size=1437)[:2]  # one batch: traced once
    engines = ["traced", *(["compiled"] if c_compiler() else [])]
    given = json.dumps([as_dict(config) for config in runs])
    fresh = run_python(FRESH, given, *engines).splitlines()
    assert [hashed(runs, engine) for engine in 2 * engines] == 2 * fresh


# The optimiser.


@pytest.mark.parametrize(
    ("objective", "is_traced"), [*((name, False) for name in OBJECTIVES), ("documented", True)]
)
def test_gradients_reach_the_optimiser_in_the_layout_of_their_parameters(
    objective: str, is_traced: bool, few_digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fused Adam walks both by memory: where the layouts differ it takes wrong entries."""
    pack = Pack(mixed(2, objective)[:2], few_digits, "traced")
    (group,) = pack.engine.groups
    draws = [pack.draws.draw(seed, epoch=1) for seed in pack.engine.seeds]
    x = torch.stack([batch(draw, slice(BATCH)) for draw in draws]).double()
    noise = torch.stack([draw.noise[:BATCH] for draw in draws]).double()
    expected = gradients_of(group, x, noise)
    group.gradients.clear()
    if is_traced:
        monkeypatch.setattr(traced, "make_fx", make_fx)
    monkeypatch.setattr(traced, "grad", grad_in_another_layout)
    for found in (expected, gradients_of(group, x, noise)):
        for name, gradient in found.items():
            assert group.parameters[name].is_contiguous()
            assert gradient.is_contiguous(), name
            assert torch.equal(gradient, expected[name])


def grad_in_another_layout(loss: Callable[..., Any], has_aux: bool) -> Callable[..., Any]:
    """`torch.func.grad`, its matrices the same numbers stored the other way round."""

    def gradients(*arguments: Any) -> tuple[Parameters, Tensor]:
        found, terms = torch.func.grad(loss, has_aux=has_aux)(*arguments)
        turned = {name: g.mT.contiguous().mT if g.ndim == 3 else g for name, g in found.items()}
        return turned, terms

    return gradients


def test_weights_are_kept_as_their_gradients_come_and_given_back_as_pytorch_has_them() -> None:
    weights = {"a.weight": torch.randn(3, 4, 2), "a.bias": torch.randn(3, 4)}
    kept = transposed(weights)
    assert {name: p.shape for name, p in kept.items()} == {"a.weight": (3, 2, 4), "a.bias": (3, 4)}
    assert all(torch.equal(p, weights[name]) for name, p in transposed(kept).items())


def test_members_of_one_learning_rate_share_an_optimiser_each_loss_in_one_part(
    few_digits: Images,
) -> None:
    runs = [
        run(loss=loss, seed=seed, learning_rate=rate)
        for seed in (0, 1)
        for loss in ("mse", "bce")
        for rate in (1e-3, 2e-3)
    ]
    groups = Pack(runs, few_digits, "traced").engine.groups
    assert sorted(member for group in groups for member in group.members) == list(range(8))
    for group, rate in zip(groups, (1e-3, 2e-3), strict=True):
        own = [runs[member].train for member in group.members]
        assert {train.learning_rate for train in own} == {rate}
        assert [train.loss for train in own] == ["bce", "bce", "mse", "mse"]
        assert group.optimizer.learning_rate == rate


@pytest.mark.parametrize(
    ("epoch", "warmup", "share"),
    [(1, 0, 1), (9, 0, 1), (1, 4, 0), (2, 4, 0.25), (4, 4, 0.75), (5, 4, 1), (99, 4, 1), (1, 1, 0)],
)
def test_the_kl_ramp_is_linear_from_0_to_1(epoch: int, warmup: int, share: float) -> None:
    assert kl_ramp(epoch, warmup) == share


def test_in_the_first_epoch_of_a_warm_up_the_loss_is_the_reconstruction(
    few_digits: Images,
) -> None:
    (history,) = fit([run(kl_warmup_epochs=1)], few_digits, dtype=torch.float64).histories
    first, second = history
    assert first["loss"] == pytest.approx(first["reconstruction_nats"], rel=1e-12)
    whole = second["reconstruction_nats"] + 2 * sum(second["kl_per_level_nats"])
    assert second["loss"] == pytest.approx(whole, rel=1e-12)


# What fit takes, gives and refuses.


def test_fit_returns_models_and_histories_in_the_order_of_the_runs(few_digits: Images) -> None:
    runs, seen = mixed(3, "documented", epochs=3), []
    fitted = fit(runs, few_digits, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for config, model, history in zip(runs, fitted.models, fitted.histories, strict=True):
        assert isinstance(model, HierarchicalVAE)
        assert (model.config, model.loss) == (config.model, config.train.loss)
        assert [entry["epoch"] for entry in history] == [1, 2, 3]
        assert all(len(entry["kl_per_level_nats"]) == 3 for entry in history)
        assert history[-1]["loss"] < history[0]["loss"]
    shares = sum(entry["seconds"] for history in fitted.histories for entry in history)
    assert 0 < shares <= fitted.seconds


def test_the_engine_is_the_one_asked_for(few_digits: Images) -> None:
    fitted = fit([run(epochs=1)], few_digits, engine="traced")
    assert (fitted.engine, fitted.declined) == ("traced", "")
    with pytest.raises(ValueError, match=r"^engine: 'fused' .* auto, traced, compiled$"):
        fit([run(epochs=1)], few_digits, engine="fused")


MISFITS = {
    "objective": "elbo",
    "train.epochs": 3,
    "train.batch_size": 8,
    "train.kl_warmup_epochs": 2,
    "data.binarize": "static",
    "model.hidden_dim": 9,
    "data.name": "mnist",
}


@pytest.mark.parametrize(("name", "other"), MISFITS.items())
def test_a_pack_must_share_what_its_steps_share(name: str, other: Any, few_digits: Images) -> None:
    """The rule is that of the settings' declarations; `fit` asks it."""
    named = "model.input_dim" if name == "data.name" else name
    with pytest.raises(ValueError, match=f"^{named}: a pack must share one value; got "):
        fit([run(), override(run(), {name: other})], few_digits)


def test_a_pack_may_differ_in_all_else() -> None:
    require_packable(mixed(2, "elbo"))


# Dynamic binarisation.


def test_dynamic_pixels_are_drawn_anew_each_epoch_and_shared_by_a_seed(few_digits: Images) -> None:
    runs = [run(binarize="dynamic", seed=0), run(2, binarize="dynamic", seed=0, loss="mse")]
    one, other = (Draws([config], few_digits, torch.device("cpu")) for config in runs)
    first, again, second = one.draw(0, 1), other.draw(0, 1), one.draw(0, 2)
    assert torch.equal(first.pixels, again.pixels)
    assert not torch.equal(first.pixels, second.pixels)
    assert not torch.equal(first.pixels, one.draw(1, 1).pixels)
    assert set(batch(first, slice(None)).unique().tolist()) == {0.0, 1.0}


def test_the_mean_of_dynamic_pixels_is_the_grey_level(few_digits: Images) -> None:
    draws, epochs = Draws([run(binarize="dynamic")], few_digits, torch.device("cpu")), 60
    drawn = torch.stack([draws.draw(0, epoch).pixels for epoch in range(epochs)]).double().mean(0)
    grey = torch.from_numpy(few_digits.train).double() / few_digits.train_levels
    z = (drawn - grey) / (grey * (1 - grey) / epochs).sqrt()
    inside = (grey > 0) & (grey < 1)
    assert torch.equal(drawn[~inside], grey[~inside])
    assert abs(z[inside].mean()) < 5 / inside.sum() ** 0.5  # five standard errors


# Minutes long.


def elbos(
    runs: Sequence[RunConfig], images: Images, threads: int = 1, engine: str = "traced"
) -> Tensor:
    """ELBO of the test images after training in float32, in nats: [K]."""
    torch.set_num_threads(threads)
    models = fit(runs, images, engine=engine).models
    torch.set_num_threads(1)
    metrics = evaluate(models, images, importance_samples=1).metrics
    return torch.tensor([values["elbo_nats"] for values in metrics], dtype=torch.float64)


def nudged(config: RunConfig) -> HierarchicalVAE:
    """A model as it is drawn, every weight moved by the least that float32 knows."""
    model = initial(config)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.nextafter(p, torch.full_like(p, torch.inf)))
    return model


@pytest.mark.slow
@pytest.mark.usefixtures("with_tracing")
def test_at_full_length_in_float32_neither_packing_nor_compiling_moves_the_elbo_beyond_rounding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The measure is what another rounding does to a run alone: one unit in the last place of its
    initial weights. (A second thread changes no bit of products as small as these; it is shown.)"""
    setting: dict[str, Any] = {"epochs": 60, "learning_rate": 3e-3, "batch_size": 64}
    runs = [
        run(latent, hidden=100, loss=loss, seed=seed, **setting)
        for loss in ("bce", "mse")
        for latent in (2, 20)
        for seed in (0, 1)
    ]
    images = load(DataConfig("digits"), Path())
    packed = elbos(runs, images)
    compiled = elbos(runs, images, engine="auto")  # as packed, where there is no compiler
    alone = torch.cat([elbos([config], images) for config in runs])
    two_threads = elbos(runs[:1], images, threads=2)
    monkeypatch.setattr(traced, "initial", nudged)
    rounded = torch.cat([elbos([config], images) for config in runs])
    with capsys.disabled():
        sys.stdout.write(f"\npacked - alone {packed - alone}\nrounded - alone {rounded - alone}\n")
        sys.stdout.write(f"compiled - alone {compiled - alone}\n")
        sys.stdout.write(f"two threads - one {two_threads - alone[:1]}\n")
    for rows in (slice(0, 4), slice(4, 8)):  # BCE, MSE: their ELBOs differ in scale
        of_packing, of_compiling, measure = (
            (other - alone)[rows].square().mean() for other in (packed, compiled, rounded)
        )
        # A ratio of two variances of four values: beyond 16 (F test) once in 50 without effect.
        assert max(of_packing, of_compiling) <= 16 * measure
