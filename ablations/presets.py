"""The studies that come with hvae."""

from ablations.studies import Study, Variant
from report.data.design import Published

_QUICK = Study(
    name="quick",
    question="What do depth, loss and latent size do, at first sight?",
    settings={
        "data.name": "digits",
        # 1,380 steps on 1,437 images: three times the documented rate learns as much as 100 epochs.
        "train.epochs": 60,
        "train.learning_rate": 3e-3,
        "evaluation.importance_samples": 100,
        "evaluation.nll_images": 100,
    },
    axes={"depth": (1, 2, 3, 4), "loss": ("bce", "mse"), "latent": (2, 20)},
    seeds=3,  # below, nothing may be claimed
    budget="about a minute on two CPU cores",
)
_STANDARD = Study(
    name="standard",
    question="What do depth, reconstruction loss and latent size do to the documented model?",
    axes={"depth": (1, 2, 3, 4), "loss": ("bce", "mse"), "latent": (2, 5, 10, 20, 50)},
    seeds=5,
    budget="about two hours on two CPU cores",
)
_OBJECTIVE = Study(
    name="objective",
    question="What does the documented objective cost against the ELBO?",
    settings={"data.binarize": "dynamic"},
    axes={"depth": (1, 2, 3, 4), "objective": ("documented", "elbo")},
    seeds=5,
    budget="about half an hour on two CPU cores",
)
_LEVELS = Study(
    name="levels",
    question="Why do upper levels die: of the KL's weight, or of its form?",
    settings={"data.binarize": "dynamic"},
    axes={"depth": (1, 2, 3, 4)},
    variants=(
        # The documented loss weighs the KL twice and takes it in closed form at the drawn z, which
        # drops the covariance of neighbouring levels: each can be mended alone.
        Variant("documented"),
        Variant("β = 1", {"train.kl_weight": 0.5}),
        Variant("joint KL", {"objective": "elbo", "train.kl_weight": 2.0}),
        Variant("ELBO", {"objective": "elbo"}),  # both
        Variant("warm-up", {"train.kl_warmup_epochs": 15}),
        Variant("free bits", {"train.free_bits": 0.5}),
    ),
    seeds=10,
    budget="about four hours on two CPU cores",
)
_FAMILY = Study(
    name="family",
    question="Which choice of the model wakes which level, and what is it worth?",
    settings={"data.binarize": "dynamic"},
    axes={"depth": (2, 3, 4)},
    variants=(
        # The first is what the others are compared with: all but the documented change it once.
        Variant("ELBO", {"objective": "elbo"}),
        Variant("documented"),
        Variant("learned variance", {"objective": "elbo", "model.prior_variance": "learned"}),
        Variant("top-down", {"objective": "elbo", "model.inference": "top-down"}),
        Variant(
            "learned variance, top-down",
            {
                "objective": "elbo",
                "model.prior_variance": "learned",
                "model.inference": "top-down",
            },
        ),
        Variant("ELBO, warm-up", {"objective": "elbo", "train.kl_warmup_epochs": 15}),
    ),
    seeds=5,
    budget="about three hours on two CPU cores",
)
# Burda et al. 2016, arXiv:1509.00519, table 1: one and two stochastic levels, by one sample and by
# 50. There training went on for 3,280 epochs, and Adam's ε was 1e-4, here 1e-8.
_BURDA = {
    "data.binarize": "dynamic",
    "model.hidden_layers": 2,
    "model.activation": "tanh",
    "model.output_bias": "data",
    "train.batch_size": 20,
    "train.rate_steps": (1, 4, 13, 40, 121, 364, 1093),
    "train.rate_factor": 10 ** (-1 / 7),
}
_ONE = _BURDA | {"depth": 1, "latent": 50, "model.hidden_dim": 200}
_TWO = _BURDA | {
    "depth": 2,
    "model.latent_dims": (100, 50),
    "model.hidden_dims": (200, 100),
    "model.prior_variance": "learned",
}
_VAE = {"objective": "elbo"}
_IWAE = {"objective": "iwae", "train.importance_samples": 50}
_TABLE_1 = {
    **{"1 level, VAE": 86.76, "1 level, IWAE 50": 84.78},
    **{"2 levels, VAE": 85.33, "2 levels, IWAE 50": 82.90},
}
_LITERATURE = Study(
    name="literature",
    question="How far on the way to published numbers are models of the literature, by epoch?",
    settings={"evaluation.importance_samples": 5000},
    axes={"train.epochs": (1, 2, 3, 10, 20)},
    variants=(
        Variant("1 level, VAE", _ONE | _VAE),
        Variant("1 level, IWAE 50", _ONE | _IWAE),
        Variant("2 levels, VAE", _TWO | _VAE),
        Variant("2 levels, IWAE 50", _TWO | _IWAE),
        Variant(  # pytorch/examples/vae: its test loss is -ELBO of grey levels
            "784-400-20, as PyTorch's example",
            {
                "objective": "elbo",
                "depth": 1,
                "latent": 20,
                "model.hidden_dim": 400,
                "train.batch_size": 128,
            },
        ),
    ),
    seeds=1,
    budget="about two hours on two CPU cores",
    published=tuple(
        Published(variant, "nll_encoder_nats", nats, "Burda et al. 2016, table 1, 3,280 epochs")
        for variant, nats in _TABLE_1.items()
    ),
)
PRESETS = {
    study.name: study for study in (_QUICK, _STANDARD, _OBJECTIVE, _LEVELS, _FAMILY, _LITERATURE)
}
