"""A Gaussian close to p(z_1…z_T | x) of each image, all levels jointly: what the reported NLL is
sampled from. The encoders' own posterior leaves it ten effective samples of a thousand.

With ReLU and unit variances the maps are piecewise linear, so the Gauss–Newton matrix is the
Hessian of -log p(x, z) wherever it has one (under a Gaussian likelihood up to the curvature of the
sigmoid); with tanh it leaves out the curvature of the maps, and a learned variance enters by its
Fisher information: for a proposal that will do. Damped Newton steps lead from the encoders' means
to the mode, the Laplace approximation. The Gaussian is then moved to where it is closest in KL, its
precision the mean Hessian under itself and the mean gradient zero (Opper and Archambeau 2009,
Neural Computation 21(3)): that triples the effective samples, because it sees the kinks around the
mode.
Shapes: S samples, B images, T levels, L latent of the widest, D pixels. Units: nats.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hvae import streams
from hvae.evaluation.densities import log_prior, own_units
from hvae.evaluation.likelihood import Target
from hvae.model.gaussians import LOG_2_PI
from hvae.model.hierarchy import HierarchicalVAE, posterior_means
from hvae.model.networks import Decoder, GaussianDecoder
from hvae.model.objectives import stacked

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
    numbers; `live` is 1 for a level's own units and 0 for what fills it to L, None where all are
    equally wide."""

    mean: Tensor  # [B, T, L]
    root: Tensor  # [B, T, L, L], upper
    gain: Tensor  # [B, T, L, L], 0 at the lowest level
    is_found: Tensor  # [B]
    live: Tensor | None = None  # [T, L]

    def at(self, noise: Tensor) -> Tensor:
        """Standard normal noise as draws: [S, B, T, L] -> [S, B, T, L]."""
        shifts: list[Tensor] = []
        noise = noise if self.live is None else noise * self.live
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
        squares = noise.square() + LOG_2_PI
        if self.live is not None:
            squares = squares * self.live
        return -(0.5 * squares.sum(-1).double() + sizes).cumsum(-1)

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
    live = units_mask(model, mean)
    wider = scale if live is None else (1 + (scale - 1) * live).unsqueeze(-1)
    return JointGaussian(
        mean.where(numbers, 0.0),
        (wider * gaussian.root).where(numbers.unsqueeze(-1), one),
        gaussian.gain.where(numbers.unsqueeze(-1), 0.0),
        is_found,
        live,
    )


def units_mask(model: HierarchicalVAE, z: Tensor) -> Tensor | None:
    """1 for the own units of each level of latents [..., T, L]; None where all are equally wide."""
    if not model.config.latent_dims:
        return None
    widths = torch.tensor(model.config.latents, device=z.device)
    return (torch.arange(z.shape[-1], device=z.device) < widths[:, None]).to(z)


def newton(model: HierarchicalVAE, target: Target, steps: int = NEWTON_STEPS) -> Tensor:
    """Towards the mode of p(z | x) from the encoders' means, damped where a step leads uphill:
    [B, T, L]."""
    z = stacked(posterior_means(model, target.x))
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
    levels = own_units(model, z)
    of_pixels = _pixel_level(model.decoder(0), levels[0], target)
    gradients, own, above = [of_pixels.gradient], [of_pixels.own], list[Tensor]()
    for t, level in enumerate(levels[1:], start=1):
        terms = _level(model.decoder(t), level, levels[t - 1])
        gradients[-1] = gradients[-1] + terms.gradient_below
        own[-1] = own[-1] + terms.own_below
        gradients.append(terms.gradient)
        own.append(terms.own)
        above.append(terms.tie)
    gradients[-1] = gradients[-1] + levels[-1]
    own[-1] = own[-1] + _eye(levels[-1])
    width = z.shape[-1]
    ties = [_filled(tie, width) for tie in above]
    no_ties = z.new_zeros(len(z), 0, width, width)
    matrix = torch.stack([_filled(part, width) for part in own], dim=1)
    if (live := units_mask(model, z)) is not None:  # what fills a level is a standard normal
        matrix = matrix + (1 - live).diag_embed()
    return stacked(gradients), Precision(matrix, torch.stack(ties, dim=1) if ties else no_ties)


class Terms(NamedTuple):
    """What one decoder adds to the gradient and the matrix: of its own latents and, above the
    pixels, of those below."""

    gradient: Tensor  # [B, L]
    own: Tensor  # [B, L, L]
    gradient_below: Tensor  # [B, L']
    own_below: Tensor  # [B, L', L'], or what is the same for all images
    tie: Tensor  # [B, L', L]


def _pixel_level(decoder: Decoder, z: Tensor, target: Target) -> Terms:
    logits, slopes = decoder.linearised(z)  # [B, L, D]
    residual, weight = target.likelihood.slopes(logits, target.x)
    both = torch.cat([slopes * weight.unsqueeze(1), residual.unsqueeze(1)], dim=1) @ slopes.mT
    nothing = z.new_zeros(())
    return Terms(both[:, -1], both[:, :-1], nothing, nothing, nothing)


def _level(decoder: Decoder, z: Tensor, below: Tensor) -> Terms:
    """Of a decoder to latents: N(mean, 1), or with a variance of its own."""
    if isinstance(decoder, GaussianDecoder):
        return _level_with_variance(decoder, z, below)
    mean, slopes = decoder.linearised(z)  # [B, L, L']
    residual = mean - below
    both = torch.cat([slopes, residual.unsqueeze(1)], dim=1) @ slopes.mT
    return Terms(both[:, -1], both[:, :-1], -residual, _eye(below), -slopes.mT)


def _level_with_variance(decoder: GaussianDecoder, z: Tensor, below: Tensor) -> Terms:
    """The log-variance by its Fisher information, ½ of the square of its slopes."""
    h, hidden_slopes = decoder.linearised_hidden(z)
    mean_slopes = hidden_slopes @ decoder.linear_2.weight.mT  # [B, L, L']
    slopes = hidden_slopes @ decoder.linear_logvar.weight.mT
    precision = (-decoder.linear_logvar(h)).exp()
    residual = decoder.output(h) - below
    pull = precision * residual
    weighted = mean_slopes * precision.unsqueeze(1)
    of_mean = torch.cat([weighted, pull.unsqueeze(1)], dim=1) @ mean_slopes.mT
    excess = 0.5 * (1 - pull * residual)
    of_variance = torch.cat([0.5 * slopes, excess.unsqueeze(1)], dim=1) @ slopes.mT
    both = of_mean + of_variance
    return Terms(both[:, -1], both[:, :-1], -pull, precision.diag_embed(), -weighted.mT)


def _eye(z: Tensor) -> Tensor:
    return torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)


def _filled(matrix: Tensor, size: int) -> Tensor:
    """[B, m, n] with zeros to [B, L, L]."""
    rows, columns = matrix.shape[-2:]
    if rows == columns == size:
        return matrix
    return F.pad(matrix, (0, size - columns, 0, size - rows))


def log_joint(model: HierarchicalVAE, z: Tensor, target: Target) -> Tensor:
    """log p(x, z) of one z an image: [B, T, L] -> [B], float64."""
    logits = model.decode(0, own_units(model, z)[0])
    return log_prior(model, z).sum(-1) - target.likelihood.nll(logits, target.x)


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
