"""Probabilistic PCA as a model of the suite: its evidence, posterior and levels are known."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from hvae.data.images import Images
from hvae.model.gaussians import LOG_2_PI
from hvae.model.hierarchy import HierarchicalVAE
from hvae.model.networks import Decoder, Encoder


class LinearPixels(Decoder):
    """Pixel means that are linear in z; its logits undo the sigmoid of the head."""

    def __init__(self, loadings: Tensor) -> None:
        super().__init__(loadings.shape[1], 1, len(loadings), use_sigmoid=True)
        self.linear_2 = nn.Linear(loadings.shape[1], len(loadings))
        self.linear_2.weight.data = loadings
        nn.init.constant_(self.linear_2.bias, 0.5)

    def hidden(self, z: Tensor) -> Tensor:
        return z

    def output(self, h: Tensor) -> Tensor:
        return torch.logit(self.linear_2(h), eps=1e-6)

    def linearised(self, z: Tensor) -> tuple[Tensor, Tensor]:
        p = self.linear_2(z)
        slope = 1 / (p * (1 - p))  # of the logit
        return self.output(z), slope.unsqueeze(1) * self.linear_2.weight.mT


def make_affine(inner: nn.Linear, outer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    """outer(relu(inner(x))) = weight x + bias, by relu(y) - relu(-y) = y."""
    eye = torch.eye(len(weight), dtype=weight.dtype)
    inner.weight.data, inner.bias.data = torch.cat([weight, -weight]), torch.cat([bias, -bias])
    outer.weight.data, outer.bias.data = torch.cat([eye, -eye], 1), torch.zeros_like(bias)


class LinearGaussian:
    """Probabilistic PCA as a hierarchy: z_2 ~ N(0, I), z_1 ~ N(a z_2, I), x ~ N(½ + Q z_1, I).

    The two columns of Q are orthonormal, so its exact posterior is a diagonal Gaussian a level.
    One level: z_1 ~ N(0, I). `spread` multiplies the posterior's variances: 1 is exact.
    """

    D, L = 256, 2  # entries of Q are ±1/16: pixel means leave (0, 1) in no draw

    def __init__(self, depth: int, spread: float = 1.0) -> None:
        self.depth, self.a = depth, 0.8 if depth == 2 else 0.0
        ones = torch.ones(self.D)
        self.q = torch.stack([ones, ones.cumsum(0) % 2 * 2 - 1], 1) / 16
        self.prior_variance = 1 + self.a**2
        self.gain = self.prior_variance / (1 + self.prior_variance)  # of z_1 given x
        self.variances = [self.gain * spread, spread / (1 + self.a**2)][:depth]
        self.model = HierarchicalVAE(self.D, 2 * self.L, self.L, depth, use_bce=False)
        self.model.decoders[0] = LinearPixels(self.q)
        shift = -0.5 * self.gain * self.q.sum(0)
        self._set_encoder(0, self.gain * self.q.T, shift)
        if depth == 2:
            eye, none = torch.eye(self.L), torch.zeros(self.L)
            self._set_encoder(1, self.a / (1 + self.a**2) * eye, none)
            upper = self.model.decoders[1]
            assert isinstance(upper, Decoder)
            make_affine(upper.linear_1, upper.linear_2, self.a * eye, none)

    def _set_encoder(self, level: int, weight: Tensor, bias: Tensor) -> None:
        encoder = self.model.encoders[level]
        assert isinstance(encoder, Encoder)
        make_affine(encoder.linear, encoder.linear_mu, weight, bias)
        nn.init.zeros_(encoder.linear_logvar.weight)
        nn.init.constant_(encoder.linear_logvar.bias, math.log(self.variances[level]))

    def images(self, count: int) -> Images:
        """Grey images that vary along both components."""
        random = np.random.default_rng(0)
        means = 0.5 + 2 * random.normal(size=(count, self.L)) @ self.q.numpy().T
        test = (255 * (means + 0.2 * random.normal(size=means.shape)).clip(0, 1)).astype(np.uint8)
        labels = (np.arange(count) % 2).astype(np.uint8)
        return Images(test, labels, 255, test, labels, 255, (test > 127).view(np.uint8), "")

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [N, T·L] and covariance [T·L, T·L] of the levels given x, the top level first."""
        eye, a = torch.eye(self.L).double(), self.a
        precision = 2 * eye
        if self.depth == 2:
            precision = torch.cat(
                [torch.cat([(1 + a**2) * eye, -a * eye], 1), torch.cat([-a * eye, 2 * eye], 1)]
            )
        covariance = precision.inverse()
        shift = (x.double() - 0.5) @ self.q.double()  # of z_1, which the pixels depend on
        return shift @ covariance[-self.L :], covariance

    def mean(self, x: Tensor) -> Tensor:
        """Of z_1 given x: [N, L]."""
        return self.gain * (x.double() - 0.5) @ self.q.double()

    def log_evidence(self, x: Tensor) -> Tensor:
        """log N(x; ½, I + v Q Qᵀ), v the variance of z_1: [N]."""
        x, v = x.double() - 0.5, self.prior_variance
        squares = x.square().sum(-1) - self.gain * (x @ self.q.double()).square().sum(-1)
        return -0.5 * (squares + self.L * math.log(1 + v) + self.D * LOG_2_PI)
