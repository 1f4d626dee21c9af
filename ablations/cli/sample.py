"""`hvae sample`: new images from a run whose weights were kept."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ablations.cli.options import FilePath, debug_option, results_option
from ablations.cli.study_options import SET, assigned, setting_option
from ablations.study_files import load
from hvae.config import RunConfig, axis_names, digest, value
from hvae.records.store import Record, Store

if TYPE_CHECKING:  # importing this module must not import torch or numpy
    from hvae.tiles import Pixels

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
    store = Store(results / (load(study).name if study.lower().endswith(".toml") else study))
    own = [(name, given) for name, given in options.items() if given is not None]
    wanted = dict([*own, *assigned(assignments)])
    record = choose(store, _keeping(study, results), key, wanted)
    path = out or store.folder / f"samples-{record.digest}.png"
    if path.suffix.lower() != ".png":
        raise ValueError(f"out: {str(path)!r} is not allowed; allowed: a file named *.png")
    _write(path, sheet(_drawn(store, record.run, count, noise_seed)))
    click.echo(path)


def _keeping(study: str, results: Path) -> str:
    """The command that trains a study and keeps its weights."""
    name, _, data = study.partition("-")
    if name == "reproduce":
        return f"hvae reproduce --data {data}" if data else "hvae reproduce"
    try:
        return f"hvae run {load(study, results).argument} --keep-weights"
    except ValueError:  # known by its records only
        return "hvae run FILE.toml --keep-weights"


def choose(store: Store, keeping: str, key: str, wanted: Mapping[str, Any]) -> Record:
    """The one finished run of that key and those settings whose weights were kept.

    Raises `ValueError` where there is none, saying what is missing (the command `keeping` keeps
    weights), or several, saying in which settings they differ.
    """
    if not store.finished():
        raise ValueError(
            f"study: no record under {store.folder}; run `{keeping}` first, or see `hvae studies`"
        )
    fitting = [
        record
        for record in store
        if record.digest.startswith(key)
        and all(value(record.run, name) == given for name, given in wanted.items())
    ]
    asked = ", ".join(
        f"{name} {given}" for name, given in {"key": key, **wanted}.items() if given != ""
    )
    if not fitting:
        raise ValueError(f"study: no finished run with {asked} under {store.folder}")
    kept = [record for record in fitting if store.weights_path(record.digest).exists()]
    if not kept:
        raise ValueError(
            f"study: no weights were kept of the runs that fit, {len(fitting)} under "
            f"{store.folder}; run `{keeping}` as before to train and keep them"
        )
    if len(kept) > 1:
        raise ValueError(f"study: {len(kept)} runs fit; they differ in {_differences(kept)}")
    return kept[0]


def _differences(records: Sequence[Record]) -> str:
    """The settings that tell runs apart, with their values: `depth 1, 2; seed 0, 1`."""
    names = [*axis_names(), "seed"]
    values = {name: sorted({value(record.run, name) for record in records}) for name in names}
    return "; ".join(
        f"{name} {', '.join(map(str, found))}" for name, found in values.items() if len(found) > 1
    )


def _drawn(store: Store, run: RunConfig, count: int, seed: int) -> "Pixels":
    """So many samples of a run, from its weights: [count, D]."""
    from hvae.model import with_weights
    from hvae.pictures.samples import samples
    from hvae.processes import one_thread
    from hvae.records.attachments import read_weights

    one_thread()  # as the workers draw, so that the same command gives the same bytes
    path = store.weights_path(digest(run))
    try:
        model = with_weights(run, read_weights(path))
    except ValueError as error:
        raise ValueError(f"{error}; delete the file and keep them anew") from error
    return samples(model, count, seed)


def sheet(images: "Pixels") -> "Pixels":
    """Images [B, D] side by side, as square as can be, enlarged by a whole factor: [H, W]."""
    from hvae.tiles import tile

    scale = math.ceil(LEAST_SIDE / math.isqrt(images.shape[1]))
    pixels = tile(images, math.ceil(math.sqrt(len(images))), GAP, BACKGROUND)
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def _write(path: Path, pixels: "Pixels") -> None:
    """A grey PNG, whole or not at all. Raises `ValueError` naming the folder."""
    from PIL import Image

    from hvae.records.files import overwrite, writing_under

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    with writing_under(path.parent, "out"):
        path.parent.mkdir(parents=True, exist_ok=True)
        overwrite(path, buffer.getvalue())
