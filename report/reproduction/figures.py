"""The four documented pictures: loss curve, samples, map of the last latent, manifold."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hvae.tiles import tile
from report.render.drawing import PIXELS, Drawing, styled
from report.render.panels import PALETTE
from report.reproduction.folder import PLANES, Reproduction

# Petroff (2021, arXiv:2107.02270): ten colours that colour-blind readers tell apart best. Digits
# that lie beside each other, 3-5-8 and 4-7-9, have the ones farthest apart.
DIGIT_COLOURS = (
    *("#717581", "#ffa90e", "#b9ac70", "#3f90da", "#832db6"),
    *("#bd1f01", "#a96b59", "#e76300", "#94a4a2", "#92dadd"),
)
COLUMNS = 8  # of the 64 samples
GAP, GREY = 2, 128  # pixels between samples, seen on a light and on a dark page
BOX: dict[str, Any] = {"boxstyle": "circle,pad=0.2", "facecolor": "#fff", "linewidth": 2.0}
POINTS_DPI = 180  # thousands of points are one bitmap, not a path each


def draw_reproduction(reproduction: Reproduction) -> dict[str, Drawing]:
    """A drawing per documented picture, by its name; the template of the result has the caption."""
    with styled():
        drawings = (
            Drawing("loss-curve", "Training loss", "", draw_curve(reproduction)),
            Drawing("samples", "64 samples", "", draw_samples(reproduction)),
            Drawing("latent-map", "t-SNE of the last latent", "", draw_map(reproduction)),
            Drawing("manifold", "Manifold over two dimensions", "", draw_manifold(reproduction)),
        )
    return {drawing.name: drawing for drawing in drawings}


def draw_curve(reproduction: Reproduction) -> Figure:
    """Mean training loss of each epoch; the same loss of the test set after the last."""
    figure, axes = _canvas(5.0, 3.2)
    losses = reproduction.losses
    label = "training, epoch mean"
    axes.plot(range(1, len(losses) + 1), losses, "o-", color=PALETTE[0], ms=3.5, label=label)
    test, label = reproduction.record.metrics["loss_documented"], "test set, after the last epoch"
    axes.axhline(test, color=PALETTE[1], linestyle="--", lw=1.2, label=label)
    axes.set(xlabel="epoch", ylabel="documented loss (nats per image)")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.legend()
    return figure


def draw_samples(reproduction: Reproduction) -> Figure:
    """The 64 ancestral samples, eight by eight."""
    figure, axes = _canvas(4.2, 4.2)
    axes.imshow(tile(reproduction.images("samples"), COLUMNS, GAP, GREY), **PIXELS)
    axes.set_axis_off()
    return figure


def draw_map(reproduction: Reproduction) -> Figure:
    """The t-SNE map, a colour per digit and each digit written at the median of its points."""
    figure, axes = _canvas(5.2, 5.4, POINTS_DPI)
    points, labels = reproduction.arrays["map"], reproduction.arrays["map_labels"]
    for digit, colour in enumerate(DIGIT_COLOURS):
        own, name = points[labels == digit], str(digit)
        axes.scatter(
            own[:, 0], own[:, 1], s=4, color=colour, linewidths=0, rasterized=True, label=name
        )
        box = BOX | {"edgecolor": colour}
        across, up = np.median(own, axis=0)
        axes.text(across, up, name, ha="center", va="center", color="#000", bbox=box)
    axes.set(xlabel="first axis of the map", ylabel="second axis of the map", xticks=[], yticks=[])
    axes.set_aspect("equal", "datalim")
    looks: dict[str, Any] = {"handletextpad": 0.0, "columnspacing": 1.0, "markerscale": 2.5}
    figure.legend(loc="outside upper center", ncols=10, **looks)
    return figure


def draw_manifold(reproduction: Reproduction) -> Figure:
    """What the decoders make of a plane from −3 to 3: as documented, and of the dimensions used."""
    figure = Figure(figsize=(5.4, 10.2), dpi=100.0, layout="constrained")
    facts, level = reproduction.facts["manifold"], reproduction.record.run.model.num_layers
    edge = facts["extent"] * (1 + 1 / (facts["steps"] - 1))  # tiles are centred on their places
    titles = ("the first two dimensions, as documented", "the two that hold most")
    for axes, name, title in zip(figure.subplots(2), PLANES, titles, strict=True):
        tiles = reproduction.images(name)
        axes.imshow(tile(tiles, len(tiles), 0, GREY), extent=2 * (-edge, edge), **PIXELS)
        across, up = (f"z_{level}, dimension {d + 1}" for d in reproduction.planes[name].dimensions)
        axes.set(title=title, xlabel=across, ylabel=up)
        axes.grid(visible=False)
    return figure


def _canvas(width: float, height: float, dpi: float = 100.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    return figure, figure.add_subplot()
