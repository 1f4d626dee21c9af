"""The words of a study's page, for a reader who meets one of them first there."""

from report.data.metrics import ALIVE_NATS

GLOSSARY = {
    "documented": "The reference that this suite reproduces, and its objective: the reconstruction "
    "error plus twice the sum of the levels' KL, each in closed form at the z that was drawn.",
    "ELBO": "The evidence lower bound of the trained model, whatever objective trained it: "
    "minus the sum of reconstruction and rate, in nats per image. The objective ELBO trains on it, "
    "at KL weight 1 and without free bits; with one level so does, but for scale and a constant, "
    "the documented loss under MSE, and under BCE at KL weight 0.5.",
    "NLL": "Negative log-likelihood of a test image under the model, −log p(x), by importance "
    "sampling: in expectation an upper bound. How tight, the gap of the bounds says for images "
    "that the model drew, which may be unlike the test images. Its Monte-Carlo error is printed. "
    "Lower is better.",
    "not certified": "Of an NLL: on images that the model drew, its bounds are over a nat apart, "
    "or for more than a few images it is the encoders' bound. Of an effect on the NLL: so are most "
    "runs, or the bounds are further apart than what is said of the effect.",
    "scoreboard NLL": "The Bernoulli NLL of one fixed binarised test set, the same for every loss: "
    "the number by which models of different losses may be ranked. It is the likelihood that BCE "
    "trains on, and no gap is measured of it.",
    "rate, distortion": "The KL from the posterior to the prior of all levels together, and the "
    "reconstruction error: what the code costs, and what it leaves out.",
    "alive, dead": f"A level with a KL of at least {ALIVE_NATS} nats is alive; below the top "
    "level, with such a share of the joint KL and two standard errors more, for there it is "
    "sampled. What is drawn of a dead top level says next to nothing of the image; its mean, "
    "without the noise, may still predict the digit, and a dead level in the middle may pass on "
    "what the level above says.",
    "active units": "Units whose posterior mean has a variance over test images above 0.01 "
    "(Burda et al. 2016, arXiv:1509.00519).",
    "gain": "How much likelier test images are than under the same trained model cut off below a "
    "level, with a Gaussian fitted to its posteriors for a prior; not the difference from a model "
    "trained with fewer levels.",
    "effective sample size": "How many of the S draws of an image carry its NLL.",
    "paired seeds": "Runs of one seed share the order of the data and the noise, those of equal "
    "sizes also their initial weights, so that their difference is of what they differ in.",
    "key": "What names a run: the digest of its settings, and its record's file.",
    "Holm p": "The p of a paired t test, raised for the number of tests of one question.",
    "equivalence margin": "The least size that two one-sided tests at 0.05 keep an effect within.",
}
