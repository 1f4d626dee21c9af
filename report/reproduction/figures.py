"""The four documented pictures: loss curve, samples, map of the last latent, manifold.

Shapes: R rows and C columns of tiles, D pixels each.
"""

from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from report.render.drawing import STYLE, Drawing
from report.render.panels import PALETTE
from report.reproduction.folder import Bytes, Reproduction

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


def draw_reproduction(made: Reproduction) -> dict[str, Drawing]:
    """A drawing per documented picture, by its name."""
    with mpl.rc_context(STYLE):
        drawings = (loss_curve(made), sample_grid(made), latent_map(made), manifold(made))
    return {drawing.name: drawing for drawing in drawings}


def loss_curve(made: Reproduction) -> Drawing:
    """Mean training loss of each epoch; the same loss of the test set after the last."""
    figure, axes = _canvas(5.0, 3.2)
    epochs = range(1, len(made.losses) + 1)
    axes.plot(epochs, made.losses, "o-", color=PALETTE[0], ms=3.5, label="training, epoch mean")
    test = made.record.metrics.get("loss_documented")
    if test is not None:
        label = "test set, after the last epoch"
        axes.axhline(test, color=PALETTE[1], linestyle="--", lw=1.2, label=label)
    axes.set(xlabel="epoch", ylabel="documented loss (nats per image)")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.legend()
    caption = (
        "The documented loss R + 2 Σ K_t. A training point is the mean over an epoch in which the "
        "weights change, so the first one lies well below the loss before training."
    )
    return Drawing("loss-curve", "Training loss", caption, figure)


def sample_grid(made: Reproduction) -> Drawing:
    """The 64 ancestral samples, eight by eight."""
    figure, axes = _canvas(4.2, 4.2)
    tiles = made.samples.reshape(-1, COLUMNS, made.samples.shape[-1])
    _show(axes, mosaic(tiles, made.side, GAP), None)
    axes.set_axis_off()
    caption = (
        "64 ancestral samples: the top latent from N(0, I), every level below from its Gaussian "
        "around what the decoder above says, pixels at their mean. None was chosen."
    )
    return Drawing("samples", "64 samples", caption, figure)


def latent_map(made: Reproduction) -> Drawing:
    """The t-SNE map, a colour per digit and each digit written at the median of its points."""
    figure, axes = _canvas(5.2, 5.4, POINTS_DPI)
    x, y = made.map.T
    colours = np.array(DIGIT_COLOURS)[made.map_labels]
    axes.scatter(x, y, s=4, c=colours, linewidths=0, rasterized=True)
    for digit in np.unique(made.map_labels):
        across, up = np.median(made.map[made.map_labels == digit], axis=0)
        box = BOX | {"edgecolor": DIGIT_COLOURS[digit]}
        axes.text(across, up, str(digit), ha="center", va="center", color="#000", bbox=box)
    axes.set(xlabel="first axis of the map", ylabel="second axis of the map", xticks=[], yticks=[])
    axes.set_aspect("equal", "datalim")
    handles = [_dot(colour, str(digit)) for digit, colour in enumerate(DIGIT_COLOURS)]
    layout: dict[str, Any] = {"ncols": 10, "handletextpad": 0.0, "columnspacing": 1.0}
    figure.legend(handles=handles, loc="outside upper center", **layout)
    facts = made.numbers["map"]
    caption = (
        f"t-SNE of the posterior means of z_{made.record.run.model.num_layers} of "
        f"{facts['images']:,.0f} test images, perplexity {facts['perplexity']:g}. A digit in a "
        "circle marks the median of its images. Distances on such a map have no unit, and gaps "
        "between groups mean little."
    )
    return Drawing("latent-map", "t-SNE of the last latent", caption, figure)


def manifold(made: Reproduction) -> Drawing:
    """What the decoders make of a plane from −3 to 3: as documented, and of the dimensions used."""
    figure = Figure(figsize=(5.4, 10.2), dpi=100.0, layout="constrained")
    facts, level = made.numbers["manifold"], made.record.run.model.num_layers
    steps, extent = int(facts["steps"]), facts["extent"]
    edge = extent * (1 + 1 / (steps - 1))  # tiles are centred on their places
    sides = (
        ("manifold", made.manifold, "the first two dimensions, as documented"),
        ("used_manifold", made.used_manifold, "the two that hold most"),
    )
    for axes, (name, tiles, title) in zip(figure.subplots(2), sides, strict=True):
        _show(axes, mosaic(tiles, made.side, 0), edge)
        across, up = (f"z_{level}, dimension {d + 1}" for d in made.dimensions[name])
        axes.set(title=title, xlabel=across, ylabel=up)
        axes.grid(visible=False)
    below = "" if level == 1 else " Levels below are at the means of their priors, without noise."
    rest = made.record.run.model.latent_dim - 2
    held = f"The other {rest} dimensions are held at 0." if rest else ""
    caption = f"{steps} × {steps} places from −{extent:g} to {extent:g}. {held}{below}"
    return Drawing("manifold", "Manifold over two dimensions", caption, figure)


def mosaic(tiles: Bytes, side: int, gap: int) -> Bytes:
    """Tiles [R, C, D] side by side as one image, grey between them."""
    images = tiles.reshape(*tiles.shape[:2], side, side)
    edges = ((0, 0), (0, 0), (0, gap), (0, gap))
    spaced = np.pad(images, edges, constant_values=GREY).transpose(0, 2, 1, 3)
    sheet = spaced.reshape(tiles.shape[0] * (side + gap), -1)
    return sheet[: len(sheet) - gap, : sheet.shape[1] - gap]


def _canvas(width: float, height: float, dpi: float = 100.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    return figure, figure.add_subplot()


def _show(axes: Axes, sheet: npt.NDArray[np.uint8], edge: float | None) -> None:
    """Every pixel as it is, whatever the size on the screen."""
    extent = None if edge is None else (-edge, edge, -edge, edge)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="none", extent=extent)


def _dot(colour: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker="o", linestyle="", markersize=5, label=label)
