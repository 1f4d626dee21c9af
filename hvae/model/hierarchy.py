"""The hierarchical VAE. Shapes: B batch, D pixels, H hidden, L latent, T levels.

As documented: z_0 = x; q(z_t | z_{t-1}) = N(mu_t, diag sigma_t²) from the bottom up; p(z_T) =
N(0, I); p(z_t | z_{t+1}) = N(decoder_{t+1}(z_{t+1}), I) from the top down; pixels =
sigmoid(decoder_1(z_1)). Its family differs in its parts: the maps of networks.py, of which an upper
decoder may also say a variance, and the inference of inference.py.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hvae.closed_form import level_sizes
from hvae.config import ModelConfig, RunConfig
from hvae.model.gaussians import Gaussian, Prior, leading
from hvae.model.inference import INFERENCES, Evidence
from hvae.model.likelihoods import Likelihood, likelihood
from hvae.model.networks import Decoder, Encoder, GaussianDecoder, Kind
from hvae.model.objectives import AnyPass, Latents, Pass, PassWithVariance, documented_loss
from hvae.streams import stream

DARKEST = 1e-3  # a mean pixel, as in the code of Burda et al. 2016, arXiv:1509.00519
UPPER_DECODERS = {"unit": Decoder, "learned": GaussianDecoder}  # by the variance of the prior


def reparameterize(mu: Tensor, sigma: Tensor) -> Tensor:
    """A draw from N(mu, diag sigma²) with noise of the global generator, as documented."""
    return mu + torch.randn_like(sigma) * sigma


class HierarchicalVAE(nn.Module):
    """T encoders, T decoders, and how the latents are inferred; `config` instead of the sizes for a
    model that is not the documented one. Raises `ValueError` where a size is not ≥ 1."""

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        latent_dim: int,
        num_layers: int = 2,
        use_bce: bool = True,
        config: ModelConfig | None = None,
        loss: str | None = None,
    ) -> None:
        super().__init__()
        self.loss = loss or ("bce" if use_bce else "mse")
        self.config = config or ModelConfig(input_dim, hidden_dim, latent_dim, num_layers)
        self.depth, self.use_bce = self.config.num_layers, self.loss == "bce"
        self.inference = INFERENCES[self.config.inference]
        kind = Kind(self.config.hidden_layers, self.config.activation)
        upper = UPPER_DECODERS[self.config.prior_variance]
        levels = level_sizes(self.config)
        self.encoders = nn.ModuleList(Encoder(*level, kind) for level in levels)
        self.decoders = nn.ModuleList(
            upper(latent, hidden, below, kind=kind)
            if level
            else Decoder(latent, hidden, below, use_sigmoid=True, kind=kind)
            for level, (below, hidden, latent) in enumerate(levels)
        )

        if self.loss == "gaussian":
            self.pixel_logvar = nn.Parameter(torch.zeros(()))

    @property
    def likelihood(self) -> Likelihood:
        """What an image is, given pixel logits."""
        return likelihood(self.loss, self.logvar)

    @property
    def logvar(self) -> Tensor | None:
        """Of the pixels, where that is learned: scalar."""
        return self.pixel_logvar if self.loss == "gaussian" else None

    def forward(self, x: Tensor, noise: Tensor) -> AnyPass:
        """A joint sample through the hierarchy: x [B, D] in [0, 1], noise [B, T, L], or S of them
        with noise [S, B, T, L], of more units the leading ones; everything returned has the leading
        dimensions of the noise. Raises `ValueError` on noise of other levels than the model has, or
        of fewer units."""
        levels, units = self.config.num_layers, max(self.config.latents)
        if noise.shape[-2] != levels:
            raise ValueError(f"noise: {noise.shape[-2]} levels are not allowed; allowed: {levels}")
        if noise.shape[-1] < units:
            raise ValueError(
                f"noise: {noise.shape[-1]} units are not allowed; allowed: {units} or more"
            )
        latents = self.infer(self.evidence(x), noise)
        logits = self.decode(0, latents.levels[0].z)
        if self.loss == "gaussian":
            return PassWithVariance(*latents, logits, self.pixel_logvar)
        return Pass(*latents, logits)

    def evidence(self, x: Tensor) -> Evidence:
        """What of the posterior does not depend on the noise: [B, D] -> Gaussians of [B, L]."""
        return self.inference.evidence(self, x)

    def infer(self, evidence: Evidence, noise: Tensor) -> Latents:
        """The posterior of every level, a draw from it, and its prior: noise [..., B, T, L]."""
        return self.inference.infer(self, evidence, noise)

    def posterior(self, level: int, below: Tensor) -> Gaussian:
        """What the encoder of a level, counted from 0, says of what lies below it: z_0 = x."""
        encoder = self.encoders[level]
        assert isinstance(encoder, Encoder)
        return encoder.posterior(below)

    def decoder(self, level: int) -> Decoder:
        """The decoder down from a level, counted from 0: the first leads to pixels."""
        decoder = self.decoders[level]
        assert isinstance(decoder, Decoder)
        return decoder

    def prior(self, level: int, z: Tensor) -> Prior:
        """p of the level below a level, counted from 0, given its z."""
        return self.decoder(level).prior(z)

    def decode(self, level: int, z: Tensor) -> Tensor:
        """Down from a level, counted from 0: pixel logits, or the mean of the level below."""
        return self.decoder(level).logits(z)

    @property
    def pixel_decoder(self) -> Decoder:
        """The decoder from z_1 to pixels."""
        return self.decoder(0)

    def get_loss(self, x: Tensor) -> Tensor:
        """The documented loss R + 2 Σ_t K_t, averaged over the batch: [B, D] -> scalar, in nats.

        Noise comes from the global generator, one draw a level, first level first. The Bernoulli
        term is computed from logits: equal to `F.binary_cross_entropy` of the sigmoid, except where
        float32 rounds a dark pixel's sigmoid to 1 (logit above 16.6; from 10 on it loses digits) or
        a lit one's to 0 (below -103): the latter clamps log(0) at -100 and gives 100 whatever the
        logit; here the value stays |logit| and keeps its gradient.

        Raises `ValueError` where x has the wrong width or values outside [0, 1] or NaN.
        """
        self._require_images(x)
        sizes = (len(x), self.config.latent_dim)
        drawn = [
            torch.randn(sizes, dtype=x.dtype, device=x.device)
            for _ in range(self.config.num_layers)
        ]
        result = self(x, torch.stack(drawn, dim=1))
        return documented_loss(result, x, self.loss).mean()

    def _require_images(self, x: Tensor) -> None:
        width = self.config.input_dim
        if x.ndim != 2 or x.shape[1] != width or len(x) == 0:
            raise ValueError(
                f"x: shape {tuple(x.shape)} is not allowed; allowed: [B, {width}] with B ≥ 1"
            )
        low, high = x.aminmax()
        if not (low >= 0 and high <= 1):  # also catches NaN
            raise ValueError(
                f"x: values from {low.item()} to {high.item()} are not allowed; allowed: [0, 1]"
            )


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draw every `nn.Linear` as PyTorch does, U(±1/√fan_in), from a generator of its own."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            for parameter in (module.weight, module.bias):
                with torch.no_grad():
                    parameter.uniform_(-bound, bound, generator=generator)


def build(config: ModelConfig, loss: str) -> HierarchicalVAE:
    """An uninitialised model of a config on the CPU; never touches the global generator."""
    sizes = (config.input_dim, config.hidden_dim, config.latent_dim, config.num_layers)
    with torch.device("meta"):
        model = HierarchicalVAE(*sizes, config=config, loss=loss)
    empty = {name: torch.empty(p.shape) for name, p in model.state_dict().items()}
    model.load_state_dict(empty, assign=True)  # `to_empty` imports sympy: a second or so
    return model


def initial(config: RunConfig, pixel_means: Tensor | None = None) -> HierarchicalVAE:
    """The model as `init(seed, config)` draws it: its sizes and the seed decide, nothing else, but
    where the output bias is to be the data's the means of its pixels [D]."""
    sizes, model = config.model, build(config.model, config.train.loss)
    name = (sizes.input_dim, sizes.hidden_dim, sizes.latent_dim, sizes.num_layers)
    initialise(model, stream("init", config.train.seed, *name))
    if config.train.loss == "gaussian":
        nn.init.zeros_(model.pixel_logvar)
    if sizes.output_bias == "data":
        assert pixel_means is not None
        with torch.no_grad():
            means = pixel_means.clamp(DARKEST, 1 - DARKEST)
            model.pixel_decoder.linear_2.bias.copy_(means.logit())
    return model


def ancestral(model: HierarchicalVAE, noise: Tensor) -> list[Tensor]:
    """z_1…z_T drawn from the prior with noise [..., T, L]: T times [..., L]."""
    *lower, top = map(leading, noise.unbind(-2), model.config.latents)
    levels = [top]
    for t in range(len(lower), 0, -1):
        levels.insert(0, model.prior(t, levels[0]).draw(lower[t - 1]))
    return levels


def posterior_means(model: HierarchicalVAE, x: Tensor) -> list[Tensor]:
    """Mean of each level given the means of those it is inferred from: T times [B, L]."""
    return model.inference.means(model, x)


def with_weights(run: RunConfig, weights: Mapping[str, npt.NDArray[np.generic]]) -> HierarchicalVAE:
    """The trained model of a run. Raises `ValueError` where the weights are not of its sizes."""
    model = build(run.model, run.train.loss)
    try:
        model.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    except RuntimeError as error:
        raise ValueError(f"weights: they do not fit the run's model: {error}") from error
    return model


def state(model: HierarchicalVAE) -> dict[str, npt.NDArray[np.float32]]:
    """The model's state_dict as float32 arrays, under the documented names."""
    return {name: p.detach().float().cpu().numpy() for name, p in model.state_dict().items()}
