"""The numbers beside the pictures of the documented results: what makes each picture checkable.

Of a trained model: whether its samples look like digits to a classifier, whether the t-SNE map
keeps neighbours together, how smoothly the manifold changes. Seeds are fixed: the same model gives
the same files. Shapes: N images, D pixels, L latent.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hvae.data.images import Images
from hvae.data.mnist import Bytes
from hvae.evaluation.probes import TRAIN_IMAGES, level_means
from hvae.model.hierarchy import HierarchicalVAE
from hvae.pictures.samples import EXTENT, first_of_each_digit, largest, manifold, samples
from hvae.records.attachments import Arrays, arrays_file
from hvae.records.files import overwrite, read_whole, sweep
from hvae.records.sources import sources_sha256

FACTS, ARRAYS = "reproduction.json", "reproduction.npz"
SAMPLES = 64  # as documented
FOUND = 0.5  # top probability from which a sample counts as a digit: likelier than all others
LANDMARKS = 1000  # of the probe's kernel; 500 cost it 0.6 % of MNIST's test set
KERNEL_WIDTH = 0.02  # exp(-0.02 |x - x'|²), pixels in [0, 1]; 0.01 and 0.03 are no better
MAP_IMAGES = 5000  # half of MNIST's test set
PERPLEXITY = 30.0  # scikit-learn's own
NEIGHBOURS = 5
MANIFOLD_STEPS = 15  # odd: the origin is a tile

Facts = dict[str, Any]


class Measurements(NamedTuple):
    """Numbers for JSON, and the arrays they are of."""

    facts: Facts
    arrays: Arrays


def measurements(model: HierarchicalVAE, images: Images, unit_kl: Sequence[float]) -> Measurements:
    """The facts and arrays of a trained model; the map is most of the time.

    The manifold is that of the first two dimensions, as documented, and once more that of the two
    that are used: those with the largest `unit_kl` [L] of the top level.
    """
    test = images.test / images.test_levels
    drawn, digits = samples(model, SAMPLES), first_of_each_digit(images.test_labels, each=2)
    on_map = every_other(len(images.test))
    latents = level_means(model, images.test[on_map], images.test_levels)[-1].cpu().numpy()
    points, labels = t_sne(latents), images.test_labels[on_map]
    first, second = sorted(largest(unit_kl, 2))
    planes = {"manifold": (0, 1), "used_manifold": (first, second)}
    tiles = {name: manifold(model, MANIFOLD_STEPS, plane) for name, plane in planes.items()}
    facts = {
        "samples": sample_facts(drawn, train_probe(images), images),
        "map": map_facts(points, latents, labels),
        **{name: manifold_facts(tiles[name], test, plane) for name, plane in planes.items()},
    }
    arrays: Arrays = {
        "samples": drawn,
        "map": points,
        "map_labels": labels,
        "digits": np.rint(test[digits] * 255).astype(np.uint8),
        "digit_labels": images.test_labels[digits],
        **tiles,
    }
    return Measurements(facts, arrays)


def train_probe(images: Images) -> Any:
    """A classifier of pixels in [0, 1], trained on real digits: 95 % right on MNIST's test set."""
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train = images.train[:TRAIN_IMAGES] / images.train_levels
    # A kernel knows what is far from all digits: on MNIST this probe is sure of uniform noise to
    # 0.26 in the mean, a network as accurate to 0.62.
    kernel = Nystroem(gamma=KERNEL_WIDTH, n_components=min(LANDMARKS, len(train)), random_state=0)
    probe = make_pipeline(kernel, LogisticRegression(C=10, max_iter=1000))
    return probe.fit(train, images.train_labels[:TRAIN_IMAGES])


def sample_facts(drawn: Bytes, probe: Any, images: Images) -> Facts:
    """What the probe sees in the samples, and how often it is right on the test set.

    A sample counts for its likeliest digit where that has a probability of at least `threshold`; a
    digit is found where one sample or more counts for it. `confidence` is the mean top probability
    over all samples, found or not.
    """
    probabilities = probe.predict_proba(drawn / 255)  # [N, 10]
    top = probabilities.max(axis=1)
    named = probe.classes_[probabilities.argmax(axis=1)]
    counts = np.bincount(named[top >= FOUND], minlength=10)
    accuracy = probe.score(images.test / images.test_levels, images.test_labels)
    return {
        "digits_found": int((counts > 0).sum()),
        "counts": counts.tolist(),
        "confidence": float(top.mean()),
        "threshold": FOUND,
        "probe_test_accuracy": float(accuracy),
    }


def t_sne(latents: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """A map of the latents in the plane: [N, L] -> [N, 2]."""
    from sklearn.manifold import TSNE

    mapped = TSNE(perplexity=PERPLEXITY, init="pca", random_state=0).fit_transform(latents)
    points: npt.NDArray[np.float32] = mapped.astype(np.float32)
    return points


def map_facts(
    points: npt.NDArray[np.float32], latents: npt.NDArray[np.float64], labels: Bytes
) -> Facts:
    """How faithful the map is: whether its neighbours are neighbours in the latent space
    (`trustworthiness`, 1 at best), and whether a point's neighbours have its digit, on the map and
    in the latent space."""
    from sklearn.manifold import trustworthiness

    return {
        "images": len(points),
        "perplexity": PERPLEXITY,
        "trustworthiness": float(trustworthiness(latents, points, n_neighbors=NEIGHBOURS)),
        "neighbours": NEIGHBOURS,
        "neighbour_accuracy": neighbour_accuracy(points, labels),
        "latent_neighbour_accuracy": neighbour_accuracy(latents, labels),
    }


def neighbour_accuracy(points: npt.NDArray[np.floating[Any]], labels: Bytes) -> float:
    """Share of points whose five nearest others vote for their digit; a tie goes to the smaller."""
    from sklearn.neighbors import NearestNeighbors

    others = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(points).kneighbors(return_distance=False)
    votes = [np.bincount(near, minlength=10).argmax() for near in labels[others]]
    return float(np.mean(np.array(votes) == labels))


def manifold_facts(
    tiles: Bytes, test: npt.NDArray[np.float64], plane: tuple[int, int] = (0, 1)
) -> Facts:
    """How smoothly the manifold changes, by mean squared differences of pixels in [0, 1].

    `step_mse` is that of neighbouring tiles, `digit_mse` that of two random test images,
    `smoothness` 1 minus their ratio. A manifold that never changes is smooth, too: `tile_mse`,
    that of two random tiles, tells.
    """
    pixels = tiles / 255
    steps = np.concatenate([np.diff(pixels, axis=axis).reshape(-1) for axis in (0, 1)])
    step_mse, digit_mse = float(np.mean(steps**2)), pair_mse(test)
    return {
        "dimensions": plane,
        "steps": len(tiles),
        "extent": EXTENT,
        "step_mse": step_mse,
        "tile_mse": pair_mse(pixels.reshape(-1, pixels.shape[-1])),
        "digit_mse": digit_mse,
        "smoothness": 1 - step_mse / digit_mse,
    }


def pair_mse(images: npt.NDArray[np.float64]) -> float:
    """Mean squared difference of two different images drawn at random: twice the variance."""
    return float(2 * images.var(axis=0, ddof=1).mean())


def every_other(count: int) -> slice:
    """At most `MAP_IMAGES` of so many, evenly spread: MNIST's test set begins with its easier
    half."""
    return slice(None, None, -(-count // MAP_IMAGES))


def write(folder: Path, digest: str, weights: bytes, measurements: Measurements) -> None:
    """Publish the facts and arrays; the facts last, as they say what both are of."""
    sweep(folder)
    overwrite(folder / ARRAYS, arrays_file(measurements.arrays))
    facts = {"digest": digest, **_origin(weights), **measurements.facts}
    overwrite(folder / FACTS, json.dumps(facts, indent=1, allow_nan=False).encode() + b"\n")


def is_current(folder: Path, digest: str, weights: bytes) -> bool:
    """Whether what was measured in this folder is of these weights, by these sources."""
    try:
        facts = json.loads(read_whole(folder / FACTS))
    except (OSError, ValueError):
        return False
    expected = {"digest": digest, **_origin(weights)}
    found = {name: facts.get(name) for name in expected} if isinstance(facts, dict) else None
    return found == expected and (folder / ARRAYS).is_file()


def _origin(weights: bytes) -> dict[str, str]:
    return {
        "sources_sha256": sources_sha256(),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
