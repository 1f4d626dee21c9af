"""A Gaussian close to p(z_1…z_T | x) of each image, all levels jointly: what the reported NLL is
sampled from. The encoders' own posterior leaves it ten effective samples of a thousand.

The maps are piecewise linear, so the Gauss–Newton matrix is the Hessian of -log p(x, z) wherever it
has one (under a Gaussian likelihood up to the curvature of the sigmoid; for a proposal that will
do). Damped Newton steps lead from the encoders' means to the mode, the Laplace approximation. The
Gaussian is then moved to where it is closest in KL, its precision the mean Hessian under itself and
the mean gradient zero (Opper and Archambeau 2009, Neural Computation 21(3)): that triples the
effective samples, because it sees the kinks around the mode.
Shapes: S samples, B images, T levels, L latent, D pixels; in a vector of T·L the top level comes
first. Units: nats.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from hvae import streams
from hvae.evaluation.likelihood import Target
from hvae.model import Decoder, HierarchicalVAE, posterior_means
from hvae.objectives import LOG_2_PI, reconstruction_nll

# On MNIST at depth 1 to 4 more steps, rounds or pairs buy fewer effective samples than draws of
# the same cost do.
NEWTON_STEPS = 5
ROUNDS = 3  # towards the closest Gaussian
PAIRS = 2  # of draws ±ε a round
SCALE = 1.1  # of its standard deviations: a proposal is better too wide than too narrow


class JointGaussian(NamedTuple):
    """N(mean, (factor factorᵀ)⁻¹) of the joint latents of each image, in float64; `is_found` where
    the search ended in numbers."""

    mean: Tensor  # [B, T·L]
    factor: Tensor  # [B, T·L, T·L], lower
    is_found: Tensor  # [B]

    def at(self, noise: Tensor) -> Tensor:
        """Standard normal noise as draws: [S, B, T, L] -> [S, B, T, L]."""
        factor, vectors = self.factor.to(noise), joint(noise).permute(1, 2, 0)  # [B, T·L, S]
        shift = torch.linalg.solve_triangular(factor.mT, vectors, upper=True)
        return by_level(self.mean.to(noise) + shift.permute(2, 0, 1), noise.shape[-1])

    def log_density(self, z: Tensor) -> Tensor:
        """Log density of z_1, of z_1 and z_2, and so on to all levels: [S, B, T, L] -> [S, B, T].

        The factor is lower and the top level comes first, so that the last rows of factorᵀ (z -
        mean) are standard normal under the marginal of the lower levels alone.
        """
        latent, vectors = z.shape[-1], joint(z) - self.mean.to(z)
        noise = by_level((vectors.transpose(0, 1) @ self.factor.to(z)).transpose(0, 1), latent)
        scale = by_level(self.factor.diagonal(dim1=-2, dim2=-1).log(), latent).sum(-1)  # [B, T]
        squares = noise.square().sum(-1, dtype=torch.float64)
        return (scale - 0.5 * (squares + latent * LOG_2_PI)).cumsum(-1)


def joint(z: Tensor) -> Tensor:
    """Levels as one vector, the top level first: [..., T, L] -> [..., T·L]."""
    return z.flip(-2).flatten(-2)


def by_level(vectors: Tensor, latent: int) -> Tensor:
    """One vector as levels: [..., T·L] -> [..., T, L]."""
    return vectors.reshape(*vectors.shape[:-1], -1, latent).flip(-2)


def closest_gaussian(
    model: HierarchicalVAE,
    target: Target,
    rounds: int = ROUNDS,
    scale: float = SCALE,
) -> JointGaussian:
    """The proposal for each image; without rounds and at scale 1 the Laplace approximation."""
    z = newton(model, target)
    mean, latent = joint(z).double(), z.shape[-1]
    _, precision = curvature(model, z, target)
    for done in range(rounds):
        factor = torch.linalg.cholesky_ex(precision).L
        gaussian = JointGaussian(mean, factor, torch.ones(len(z), dtype=torch.bool))
        gradient, local = _mean_curvature(model, gaussian, target, done, latent)
        precision = precision + (local - precision) / (done + 1)
        mean = mean - 0.6 * _solve(precision, gradient)  # a whole step of so few draws overshoots
    factor, failed = torch.linalg.cholesky_ex(precision)
    is_found = (failed == 0) & mean.isfinite().all(-1) & factor.isfinite().flatten(1).all(-1)
    none = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
    return JointGaussian(
        mean.where(is_found[:, None], 0.0),
        (factor / scale).where(is_found[:, None, None], none),
        is_found,
    )


def newton(model: HierarchicalVAE, target: Target, steps: int = NEWTON_STEPS) -> Tensor:
    """Towards the mode of p(z | x) from the encoders' means, damped where a step leads uphill:
    [B, T, L]."""
    z = torch.stack(posterior_means(model, target.x), dim=-2)
    latent, energy = z.shape[-1], -log_joint(model, z, target)
    damping = energy.new_full((len(z), 1), 0.01)
    for _ in range(steps):
        gradient, precision = curvature(model, z, target)
        precision.diagonal(dim1=-2, dim2=-1).add_(damping)
        moved = z - by_level(_solve(precision, gradient), latent).to(z.dtype)
        moved_energy = -log_joint(model, moved, target)
        is_lower = moved_energy < energy  # False for NaN
        z = torch.where(is_lower[:, None, None], moved, z)
        energy = torch.where(is_lower, moved_energy, energy)
        damping = damping * torch.where(is_lower, 0.2, 5.0).unsqueeze(-1)
    return z


def curvature(model: HierarchicalVAE, z: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """Gradient and Gauss–Newton matrix of -log p(x, z) at z [B, T, L], in float64: [B, T·L] and
    [B, T·L, T·L]. The matrix ties each level to its neighbours only."""
    images, depth, latent = z.shape
    gradient = z.new_zeros(images, depth, latent, dtype=torch.float64)
    matrix = z.new_zeros(images, depth, latent, depth, latent, dtype=torch.float64)
    eye = torch.eye(latent, dtype=torch.float64, device=z.device)
    for t in range(depth):
        decoder = model.decoders[t]
        assert isinstance(decoder, Decoder)
        output, slopes = decoder.linearised(z[:, t])  # [B, L, out]
        if t == 0:
            residual, weight = _pixel_terms(output, target)
            gradient[:, 0] += (slopes @ residual.unsqueeze(-1)).squeeze(-1)
            matrix[:, 0, :, 0] += (slopes * weight.unsqueeze(1)) @ slopes.mT
        else:
            residual, slopes = (z[:, t - 1] - output).double(), slopes.double()
            gradient[:, t - 1] += residual
            gradient[:, t] -= (slopes @ residual.unsqueeze(-1)).squeeze(-1)
            matrix[:, t - 1, :, t - 1] += eye
            matrix[:, t, :, t] += slopes @ slopes.mT
            matrix[:, t, :, t - 1] -= slopes
            matrix[:, t - 1, :, t] -= slopes.mT
    gradient[:, -1] += z[:, -1]
    matrix[:, -1, :, -1] += eye
    return joint(gradient), matrix.flip(1, 3).flatten(3).flatten(1, 2)


def log_joint(model: HierarchicalVAE, z: Tensor, target: Target) -> Tensor:
    """log p(x, z) of one z an image: [B, T, L] -> [B], float64."""
    prior = prior_log_densities(model, z).sum(-1)
    return prior - reconstruction_nll(model.decode(0, z[..., 0, :]), target.x, target.loss)


def prior_log_densities(model: HierarchicalVAE, z: Tensor) -> Tensor:
    """log p(z_t | z_{t+1}) of each level: [..., T, L] -> [..., T], float64."""
    above = [model.decode(t, z[..., t, :]) for t in range(1, z.shape[-2])]
    mean = torch.stack([*above, torch.zeros_like(z[..., 0, :])], dim=-2)
    return -0.5 * ((z - mean).square() + LOG_2_PI).sum(-1, dtype=torch.float64)


def _pixel_terms(logits: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """Derivative of -log p(x | z_1) by the logits, and the weight of each pixel in the Gauss–Newton
    matrix: [B, D] each."""
    p = logits.sigmoid()
    slope = p * (1 - p)
    if target.loss == "bce":
        return p - target.x, slope
    return (p - target.x) * slope, slope.square()


def _mean_curvature(
    model: HierarchicalVAE, gaussian: JointGaussian, target: Target, done: int, latent: int
) -> tuple[Tensor, Tensor]:
    """Gradient and matrix averaged over a few draws of the Gaussian, in pairs ±ε."""
    images, width = gaussian.mean.shape
    drawn = streams.noise("closest Gaussian", 0, done, PAIRS * images, width // latent, latent)
    noise = drawn.reshape(PAIRS, images, -1, latent).to(target.x)
    gradients, matrices = torch.zeros_like(gaussian.mean), torch.zeros_like(gaussian.factor)
    for z in gaussian.at(torch.cat([noise, -noise])):
        gradient, matrix = curvature(model, z, target)
        gradients += gradient / (2 * PAIRS)
        matrices += matrix / (2 * PAIRS)
    return gradients, matrices


def _solve(precision: Tensor, gradient: Tensor) -> Tensor:
    """precision⁻¹ gradient; no number where the precision is not positive."""
    factor, failed = torch.linalg.cholesky_ex(precision)
    step = torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1)
    return step.where(failed[:, None] == 0, torch.nan)
