"""`hvae sample`: new images from a run whose weights were kept."""

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ablations.api import run_with_weights
from ablations.cli.options.common import FilePath, debug_option, results_option
from ablations.cli.options.study import SET, assigned, given, parse, setting_option
from ablations.studies import once, require_name
from ablations.study_files import load_study
from hvae.records.files import overwrite, writing_under
from hvae.records.store import Record, Store

if TYPE_CHECKING:  # importing this module must not import numpy
    from hvae.tiles import Pixels

CHOICE = ("depth", "loss", "latent", "objective", "seed")
GAP = 1  # pixel between images, before they are enlarged
LEAST_SIDE = 56  # pixels of an image: smaller ones are enlarged by a whole factor
BACKGROUND = 96  # grey between the images: neither ink nor paper


@click.command()
@click.argument("study", metavar="STUDY|FILE.toml")
@click.option("--key", default="", metavar="DIGEST", help="The run's digest, or how it begins.")
@setting_option("depth")
@setting_option("loss")
@setting_option("latent")
@setting_option("objective")
@setting_option("seed")
@SET
@click.option(
    "--count",
    type=click.IntRange(1, 10_000),
    default=64,
    show_default=True,
    metavar="IMAGES",
    help="How many images to draw.",
)
@click.option(
    "--noise-seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="SEED",
    help="Seed of the noise they are drawn with; another gives other images.",
)
@click.option(
    "--out",
    type=FilePath(dir_okay=False),
    metavar="FILE.png",
    help="Where to write them.  [default: samples-DIGEST.png in the study's folder]",
)
@results_option("Folder of the records, one folder per study in it.")
@debug_option
def sample(
    study: str,
    key: str,
    assignments: tuple[str, ...],
    count: int,
    noise_seed: int,
    out: Path | None,
    results: Path,
    **options: Any,
) -> None:
    """Draw new images from a trained run, as a PNG grid; print its path.

    The run's weights must have been kept (`hvae run STUDY --keep-weights`, `hvae reproduce`).
    Options narrow the study down to one run.

    \b
    Examples:
      hvae sample reproduce
      hvae sample standard --depth 2 --loss bce --latent 20 --seed 0
    """
    store = Store(results / name_of(study, results))
    others = [(name, parse(name, text)) for name, text in assigned("--set", assignments)]
    wanted = once([*given(options, CHOICE), *others])
    record = run_with_weights(store, key, wanted)
    path = out or store.folder / f"samples-{record.digest}.png"
    if path.suffix.lower() != ".png":
        raise ValueError(f"out: {str(path)!r} is not allowed; allowed: a file named *.png")
    content = _png(store, record, count, noise_seed)
    with writing_under(path.parent, "out"):
        path.parent.mkdir(parents=True, exist_ok=True)
        overwrite(path, content)
    click.echo(path)


def name_of(argument: str, results: Path) -> str:
    """The study that a name or a *.toml file stands for. Raises `ValueError` where it can be none:
    a name leads to no other folder than its own."""
    if argument.lower().endswith(".toml"):
        return load_study(argument, results).name
    require_name(argument)
    return argument


def _png(store: Store, record: Record, count: int, seed: int) -> bytes:
    """So many samples of a run, from its weights, as a grey picture."""
    from PIL import Image

    from hvae.model.hierarchy import with_weights
    from hvae.pictures.samples import samples
    from hvae.processes import one_thread
    from hvae.records.attachments import read_weights

    one_thread()  # as the workers draw, so that the same command gives the same bytes
    model = with_weights(record.run, read_weights(store.weights_path(record.digest)))
    buffer = io.BytesIO()
    drawn = samples(model, count, seed).reshape(count, *record.run.data.dataset.shape)
    Image.fromarray(sheet(drawn)).save(buffer, format="PNG")
    return buffer.getvalue()


def sheet(images: "Pixels") -> "Pixels":
    """Images [B, h, w] side by side, as square as can be, enlarged by a whole factor: [H, W]."""
    from hvae.tiles import tile

    scale = math.ceil(LEAST_SIDE / max(images.shape[1:]))
    pixels = tile(images, math.ceil(math.sqrt(len(images))), GAP, BACKGROUND)
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)
