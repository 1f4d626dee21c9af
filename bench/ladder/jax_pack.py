"""A pack as users of JAX write it: `jit(scan(vmap(grad)))` over the batches of an epoch. It sees
the batches and the noise of the engines it is compared with. Shapes: K members, U seeds, B batch,
D pixels, T levels, L latent, C batches in a row.

Needs `jax` (the extra of that name), and is imported where that is asked for only.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

from hvae.config import RunConfig
from hvae.model.hierarchy import initial
from hvae.training.adam import BETAS, EPSILON
from hvae.training.draws import Draw, Draws
from hvae.training.stacking import stack

jax.config.update("jax_default_matmul_precision", "highest")  # float32, as the other rungs

Parameters = dict[str, jax.Array]


class State(NamedTuple):
    """What a step changes: parameters and Adam's moments, [K, ...] each, and the steps taken."""

    parameters: Parameters
    means: Parameters
    squares: Parameters
    steps: jax.Array


class JaxPack:
    """K trainings of one size with the documented objective and BCE, an engine like those of
    `hvae.training`, in whole float32 where JAX would take TF32."""

    name = "jax"

    def __init__(self, runs: Sequence[RunConfig]) -> None:
        self.size, self.depth = runs[0].train.batch_size, runs[0].model.num_layers
        self.seeds = sorted({run.train.seed for run in runs})
        self.seed_rows = jnp.array([self.seeds.index(run.train.seed) for run in runs])
        self.kl_weights = jnp.array([run.train.kl_weight for run in runs], jnp.float32)
        rate = runs[0].train.learning_rate
        stacked = stack([initial(run) for run in runs], runs[0].model)
        parameters = {name: jnp.asarray(p.numpy()) for name, p in stacked.items()}
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        self.state = State(parameters, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros(()))
        epoch = partial(_epoch, learning_rate=rate, depth=self.depth)
        self.epoch_of = jax.jit(epoch, donate_argnums=0)
        self.images: dict[Draws, jax.Array] = {}  # on the device, as those of the other engines

    def epoch(self, draws: Draws, epoch: int, ramp: float) -> Tensor:
        """One pass over the images: the sum over images of each member's loss, [K, 1]."""
        if draws not in self.images:
            self.images[draws] = jnp.asarray(draws.images.train)
        drawn = [_in_order(self.images[draws], draw) for draw in draws.all(self.seeds, epoch)]
        pixels, noise = (jnp.stack(part) for part in zip(*drawn, strict=True))
        images = pixels.shape[1]
        whole = images // self.size * self.size
        total = jnp.zeros(len(self.kl_weights))
        for rows in (slice(whole), slice(whole, images)):  # the last batch may be short
            if rows.start != images:
                size = min(self.size, images - (rows.start or 0))
                batches = (_batches(part[:, rows], size) for part in (pixels, noise))
                weights = self.kl_weights * ramp
                self.state, loss = self.epoch_of(self.state, *batches, self.seed_rows, weights)
                total += loss * size
        return torch.from_numpy(np.array(total))[:, None]


def _in_order(images: jax.Array, draw: Draw) -> tuple[jax.Array, jax.Array]:
    """Images [N, D], as bytes, and noise [N, T, L] of an epoch."""
    return images[jnp.asarray(draw.order.numpy())], jnp.asarray(draw.noise[:, 0].numpy())


def _batches(values: jax.Array, size: int) -> jax.Array:
    """[U, C · B, ...] -> [C, U, B, ...]"""
    shape = (values.shape[0], -1, size, *values.shape[2:])
    return values.reshape(shape).swapaxes(0, 1)


def _epoch(
    state: State,
    pixels: jax.Array,
    noise: jax.Array,
    seed_rows: jax.Array,
    kl_weights: jax.Array,
    learning_rate: float,
    depth: int,
) -> tuple[State, jax.Array]:
    """Steps over batches in a row: pixels [C, U, B, D], noise [C, U, B, T, L]; the sum over them of
    each member's mean loss."""

    def step(state: State, batch: tuple[jax.Array, jax.Array]) -> tuple[State, jax.Array]:
        x, eps = batch[0].astype(jnp.float32) / 255, batch[1]
        if len(x) == 1:  # all members of one seed: nothing is copied
            axes, x, eps = None, x[0], eps[0]
        else:
            axes, x, eps = 0, x[seed_rows], eps[seed_rows]
        value_and_grad = jax.value_and_grad(partial(_loss, depth=depth))
        mapped = jax.vmap(value_and_grad, in_axes=(0, 0, axes, axes))
        loss, gradients = mapped(state.parameters, kl_weights, x, eps)
        return _adam(state, gradients, learning_rate), loss

    state, losses = jax.lax.scan(step, state, (pixels, noise))
    return state, losses.sum(0)


def _loss(p: Parameters, kl_weight: jax.Array, x: jax.Array, noise: jax.Array, depth: int) -> Any:
    """R + 2 w Σ_t K_t of one model, averaged over the batch: x [B, D], noise [B, T, L]."""

    def linear(name: str, values: jax.Array) -> jax.Array:
        return values @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    levels, z = [], x
    for t in range(depth):
        h = jax.nn.relu(linear(f"encoders.{t}.linear", z))
        mu, logvar = (linear(f"encoders.{t}.linear_{part}", h) for part in ("mu", "logvar"))
        z = mu + noise[:, t] * jnp.exp(logvar / 2)
        levels.append((mu, logvar, z))
    logits, *means = [
        linear(f"decoders.{t}.linear_2", jax.nn.relu(linear(f"decoders.{t}.linear_1", level[2])))
        for t, level in enumerate(levels)
    ]
    kl = jnp.zeros(len(x))
    for (mu, logvar, _), mean in zip(levels, [*means, jnp.zeros_like(z)], strict=True):
        kl += 0.5 * (jnp.exp(logvar) + (mu - mean) ** 2 - 1 - logvar).sum(-1)
    reconstruction = (jax.nn.softplus(logits) - x * logits).sum(-1)
    return (reconstruction + 2 * kl_weight * kl).mean()


def _adam(state: State, gradients: Parameters, learning_rate: float) -> State:
    steps, (beta1, beta2) = state.steps + 1, BETAS
    means = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state.means, gradients)
    squares = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g**2, state.squares, gradients)
    rate, root = learning_rate / (1 - beta1**steps), jnp.sqrt(1 - beta2**steps)

    def moved(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        return p - rate * m / (jnp.sqrt(v) / root + EPSILON)

    return State(jax.tree.map(moved, state.parameters, means, squares), means, squares, steps)
