"""The words of a study's page, for a reader who meets one of them first there."""

from report.data.metrics import ALIVE_NATS

GLOSSARY = {
    "ELBO": "The evidence lower bound: reconstruction minus rate, in nats per image. Its negative "
    "is what training would minimise without the documented weight of the KL.",
    "NLL": "Negative log-likelihood of a test image under the model, −log p(x): an estimate whose "
    "error is printed, not a bound. Lower is better.",
    "scoreboard NLL": "The Bernoulli NLL of one fixed binarised test set, the same for every loss: "
    "the number by which models of different losses may be ranked.",
    "rate, distortion": "The KL from the posterior to the prior of all levels together, and the "
    "reconstruction error: what the code costs, and what it leaves out.",
    "alive, dead": f"A level with a KL of at least {ALIVE_NATS} nats is alive; a dead one says "
    "nothing of the image.",
    "active units": "Units whose posterior mean varies over test images by more than 0.01 "
    "(Burda et al. 2016, arXiv:1509.00519).",
    "gain": "How much likelier the test images are than under the model that ends below a level.",
    "effective sample size": "How many of the S draws of an image carry its NLL.",
    "paired seeds": "Runs of one seed share initial draws, order of the data and noise, so that "
    "their difference is of what they differ in.",
    "Holm p": "The p of a paired t test, raised for the number of tests of one question.",
    "equivalence margin": "The least size that two one-sided tests at 0.05 keep an effect within.",
}
