"""A Gaussian close to p(z_1…z_T | x) of each image, all levels jointly: what the reported NLL is
sampled from. The encoders' own posterior leaves it ten effective samples of a thousand.

The maps are piecewise linear, so the Gauss–Newton matrix is the Hessian of -log p(x, z) wherever it
has one (under a Gaussian likelihood up to the curvature of the sigmoid; for a proposal that will
do). Damped Newton steps lead from the encoders' means to the mode, the Laplace approximation. The
Gaussian is then moved to where it is closest in KL, its precision the mean Hessian under itself and
the mean gradient zero (Opper and Archambeau 2009, Neural Computation 21(3)): that triples the
effective samples, because it sees the kinks around the mode.
Shapes: S samples, B images, T levels, L latent, D pixels. Units: nats.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from hvae import streams
from hvae.evaluation.densities import levels_at
from hvae.evaluation.likelihood import Target
from hvae.model import Decoder, HierarchicalVAE, posterior_means
from hvae.objectives import LOG_2_PI, reconstruction_nll

# On MNIST at depth 1 to 4 more steps, rounds or pairs buy fewer effective samples than draws of
# the same cost do.
NEWTON_STEPS = 3
ROUNDS = 3  # towards the closest Gaussian
PAIRS = 2  # of draws ±ε a round
SCALE = 1.1  # of its standard deviations: a proposal is better too wide than too narrow


class Precision(NamedTuple):
    """A precision of the joint latents, or a Hessian: no level knows any but its neighbours."""

    own: Tensor  # [B, T, L, L]
    above: Tensor  # of each level with the one above it: [B, T - 1, L, L]


class JointGaussian(NamedTuple):
    """A Gaussian of the joint latents, a chain from the bottom up as the encoders' is:
    z_t - mean_t = root_t ε_t - gain_t (z_{t-1} - mean_{t-1}); `is_found` where the search ended in
    numbers."""

    mean: Tensor  # [B, T, L]
    root: Tensor  # [B, T, L, L], upper
    gain: Tensor  # [B, T, L, L], 0 at the lowest level
    is_found: Tensor  # [B]

    def at(self, noise: Tensor) -> Tensor:
        """Standard normal noise as draws: [S, B, T, L] -> [S, B, T, L]."""
        shifts: list[Tensor] = []
        for t, eps in enumerate(noise.transpose(0, 1).unbind(-2)):  # [B, S, L]
            shift = eps @ self.root[:, t].mT
            shifts.append(shift - shifts[-1] @ self.gain[:, t].mT if t else shift)
        return torch.stack([shift.transpose(0, 1) for shift in shifts], dim=-2) + self.mean

    def noise_of(self, z: Tensor) -> Tensor:
        """The noise that gives the draws: [S, B, T, L] -> [S, B, T, L]."""
        shifts = (z - self.mean).permute(1, 2, 3, 0)  # [B, T, L, S]
        alone = shifts.clone()
        alone[:, 1:] += self.gain[:, 1:] @ shifts[:, :-1]
        noise: Tensor = torch.linalg.solve_triangular(self.root, alone, upper=True)
        return noise.permute(3, 0, 1, 2)

    def log_density(self, noise: Tensor) -> Tensor:
        """Log density of z_1, of z_1 and z_2, and so on to all levels, at the draws that noise
        gives: [S, B, T, L] -> [S, B, T]."""
        sizes = self.root.diagonal(dim1=-2, dim2=-1).double().log().sum(-1)  # [B, T]
        squares = (noise.square() + LOG_2_PI).sum(-1).double()
        return -(0.5 * squares + sizes).cumsum(-1)

    def times_covariance(self, vector: Tensor) -> Tensor:
        """[B, T, L] -> [B, T, L]."""
        rest = list(vector.unsqueeze(-1).unbind(1))
        for t in range(len(rest) - 1, 0, -1):
            rest[t - 1] = rest[t - 1] - self.gain[:, t].mT @ rest[t]
        moved: list[Tensor] = []
        for t, part in enumerate(rest):
            move = self.root[:, t] @ (self.root[:, t].mT @ part)
            moved.append(move - self.gain[:, t] @ moved[-1] if t else move)
        return torch.stack(moved, dim=1).squeeze(-1)


def gaussian_with(mean: Tensor, precision: Precision) -> JointGaussian:
    """The Gaussian of a mean [B, T, L] and a precision; no numbers where that is not positive."""
    roots: list[Tensor] = []
    gains: list[Tensor] = []
    given = precision.own[:, -1]
    eye = torch.eye(given.shape[-1], dtype=given.dtype, device=given.device)
    is_found = mean.flatten(1).isfinite().all(-1)
    for t in range(mean.shape[1] - 1, -1, -1):  # of z_t given those below, those above summed out
        factor, failed = torch.linalg.cholesky_ex(given)
        is_found = is_found & (failed == 0) & factor.flatten(1).isfinite().all(-1)
        root = torch.linalg.solve_triangular(factor, eye, upper=False).mT
        above = precision.above[:, t - 1] if t else torch.zeros_like(given)
        gain = root @ (root.mT @ above.mT)
        roots.insert(0, root)
        gains.insert(0, gain)
        given = precision.own[:, t - 1] - above @ gain
    root = torch.stack(roots, dim=1).where(is_found[:, None, None, None], torch.nan)
    return JointGaussian(mean, root, torch.stack(gains, dim=1), is_found)


def closest_gaussian(
    model: HierarchicalVAE,
    target: Target,
    rounds: int = ROUNDS,
    scale: float = SCALE,
) -> JointGaussian:
    """The proposal for each image; without rounds and at scale 1 the Laplace approximation."""
    mean = newton(model, target)
    _, precision = curvature(model, mean, target)
    gaussian = gaussian_with(mean, precision)
    for done in range(rounds):
        gradient, local = _mean_curvature(model, gaussian, target, done)
        precision = Precision(
            *(old + (new - old) / (done + 1) for old, new in zip(precision, local, strict=True))
        )
        gaussian = gaussian_with(mean, precision)
        # A whole step, by so few draws, overshoots.
        mean = mean - 0.6 * gaussian.times_covariance(gradient)
        gaussian = gaussian._replace(mean=mean)
    is_found = gaussian.is_found & mean.flatten(1).isfinite().all(-1)
    numbers, one = is_found[:, None, None], torch.eye(mean.shape[-1]).to(mean)
    return JointGaussian(
        mean.where(numbers, 0.0),
        (scale * gaussian.root).where(numbers.unsqueeze(-1), one),
        gaussian.gain.where(numbers.unsqueeze(-1), 0.0),
        is_found,
    )


def newton(model: HierarchicalVAE, target: Target, steps: int = NEWTON_STEPS) -> Tensor:
    """Towards the mode of p(z | x) from the encoders' means, damped where a step leads uphill:
    [B, T, L]."""
    z = torch.stack(posterior_means(model, target.x), dim=-2)
    energy = -log_joint(model, z, target)
    damping = z.new_full((len(z), 1, 1), 0.01)
    for _ in range(steps):
        gradient, precision = curvature(model, z, target)
        precision.own.diagonal(dim1=-2, dim2=-1).add_(damping)
        moved = z - gaussian_with(z, precision).times_covariance(gradient)
        moved_energy = -log_joint(model, moved, target)
        is_lower = moved_energy < energy  # False for NaN
        z = torch.where(is_lower[:, None, None], moved, z)
        energy = torch.where(is_lower, moved_energy, energy)
        damping = damping * torch.where(is_lower, 0.2, 5.0)[:, None, None]
    return z


def curvature(model: HierarchicalVAE, z: Tensor, target: Target) -> tuple[Tensor, Precision]:
    """Gradient [B, T, L] and Gauss–Newton matrix of -log p(x, z) at z [B, T, L]."""
    eye = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    gradients: list[Tensor] = []
    own: list[Tensor] = []
    above: list[Tensor] = []
    for t, level in enumerate(z.unbind(1)):
        decoder = model.decoders[t]
        assert isinstance(decoder, Decoder)
        output, slopes = decoder.linearised(level)  # [B, L, out]
        if t == 0:
            residual, weight = _pixel_terms(output, target)
            weighted = slopes * weight.unsqueeze(1)
        else:
            residual, weighted = output - z[:, t - 1], slopes
            gradients[-1] = gradients[-1] - residual
            own[-1] = own[-1] + eye
            above.append(-slopes.mT)
        both = torch.cat([weighted, residual.unsqueeze(1)], dim=1) @ slopes.mT
        own.append(both[:, :-1])
        gradients.append(both[:, -1])
    gradients[-1] = gradients[-1] + z[:, -1]
    own[-1] = own[-1] + eye
    ties = torch.stack(above, dim=1) if above else z.new_zeros(len(z), 0, *eye.shape)
    return torch.stack(gradients, dim=1), Precision(torch.stack(own, dim=1), ties)


def log_joint(model: HierarchicalVAE, z: Tensor, target: Target) -> Tensor:
    """log p(x, z) of one z an image: [B, T, L] -> [B], float64."""
    prior = levels_at(model, z).down.sum(-1)
    return prior - reconstruction_nll(model.decode(0, z[..., 0, :]), target.x, target.loss)


def _pixel_terms(logits: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """Derivative of -log p(x | z_1) by the logits, and the weight of each pixel in the Gauss–Newton
    matrix: [B, D] each."""
    p = logits.sigmoid()
    slope = p * (1 - p)
    if target.loss == "bce":
        return p - target.x, slope
    return (p - target.x) * slope, slope.square()


def _mean_curvature(
    model: HierarchicalVAE, gaussian: JointGaussian, target: Target, done: int
) -> tuple[Tensor, Precision]:
    """Gradient and matrix averaged over a few draws of the Gaussian, in pairs ±ε."""
    images, depth, latent = gaussian.mean.shape
    drawn = streams.noise("closest Gaussian", 0, done, PAIRS * images, depth, latent)
    noise = drawn.reshape(PAIRS, *gaussian.mean.shape).to(gaussian.mean)
    found = [curvature(model, z, target) for z in gaussian.at(torch.cat([noise, -noise]))]
    gradient = torch.stack([gradient for gradient, _ in found]).mean(0)
    blocks = zip(*(precision for _, precision in found), strict=True)
    return gradient, Precision(*(torch.stack(parts).mean(0) for parts in blocks))
