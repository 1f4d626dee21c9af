"""`hvae sample`: new images from a run whose weights were kept."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ablations.cli.options import COUNT, debug_option, results_option
from ablations.studies import load
from hvae.config import LOSSES, OBJECTIVES, RunConfig, as_dict, digest
from hvae.records.store import Record, Store

if TYPE_CHECKING:  # importing this module must not import torch or numpy
    from hvae.data.mnist import Bytes

GAP = 2  # pixels between images
LEAST_SIDE = 56  # pixels of an image: smaller ones are enlarged by a whole factor
BACKGROUND = 96  # grey between the images: neither ink nor paper
AXES = {  # option -> where a run has it
    "depth": ("model", "num_layers"),
    "loss": ("train", "loss"),
    "objective": ("train", "objective"),
    "latent": ("model", "latent_dim"),
    "seed": ("train", "seed"),
}


@click.command()
@click.argument("study", metavar="STUDY|FILE.toml")
@click.option("--key", metavar="DIGEST", help="The run's digest, or how it begins.")
@click.option("--depth", type=COUNT, metavar="LEVELS", help="The run's number of levels.")
@click.option("--loss", type=click.Choice(LOSSES), help="The run's reconstruction loss.")
@click.option("--objective", type=click.Choice(OBJECTIVES), help="The run's objective.")
@click.option("--latent", type=COUNT, metavar="DIMENSIONS", help="The run's latent dimensions.")
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="SEED", help="The seed the run was trained with."
)
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
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="Where to write them.  [default: samples-DIGEST.png in the study's folder]",
)
@results_option("Folder of the records, one folder per study in it.")
@debug_option
def sample(
    study: str,
    key: str | None,
    depth: int | None,
    loss: str | None,
    objective: str | None,
    latent: int | None,
    seed: int | None,
    count: int,
    noise_seed: int,
    out: Path | None,
    results: Path,
) -> None:
    """Draw new images from a trained run, as a PNG grid; print its path.

    The run's weights must have been kept (`hvae run STUDY --keep-weights`, `hvae reproduce`).
    Options narrow the study down to one run.

    \b
    Examples:
      hvae sample reproduce
      hvae sample standard --depth 2 --loss bce --latent 20 --seed 0
    """
    name = load(study).name if study.endswith(".toml") else study
    store = Store(results / name)
    given = {"depth": depth, "loss": loss, "objective": objective, "latent": latent, "seed": seed}
    wanted = {axis: value for axis, value in given.items() if value is not None}
    record = choose(store, name, key, wanted)
    path = out or store.folder / f"samples-{record.digest}.png"
    if path.suffix.lower() != ".png":
        raise ValueError(f"out: {str(path)!r} is not allowed; allowed: a file named *.png")
    _write(path, grid(_draw(store, record.run, count, noise_seed)))
    click.echo(path)


def choose(store: Store, study: str, key: str | None, wanted: dict[str, Any]) -> Record:
    """The one finished run of that key and those axes whose weights were kept.

    Raises `ValueError` where there is none, saying what is missing, or several, saying in which
    settings they differ.
    """
    if not store.finished():
        raise ValueError(
            f"study: no record under {store.folder}; "
            f"run `{_command(study)}` first, or see `hvae studies`"
        )
    found = [record for record in store if _fits(record, key, wanted)]
    if not found:
        asked = {"key": key, **wanted} if key else wanted
        named = ", ".join(f"{name} {value}" for name, value in asked.items())
        raise ValueError(f"{study}: no finished run with {named} under {store.folder}")
    kept = [record for record in found if store.weights_path(record.digest).exists()]
    if not kept:
        raise ValueError(
            f"{study}: no weights were kept of {_counted(found)}; "
            f"run `{_command(study)}` as before to train and keep them"
        )
    if len(kept) > 1:
        raise ValueError(f"{study}: {len(kept)} runs fit; they differ in {_differences(kept)}")
    return kept[0]


def _fits(record: Record, key: str | None, wanted: dict[str, Any]) -> bool:
    settings = record.config
    is_as_wanted = all(settings[AXES[axis][0]][AXES[axis][1]] == wanted[axis] for axis in wanted)
    return is_as_wanted and record.digest.startswith(key or "")


def _counted(records: Sequence[Record]) -> str:
    return f"run {records[0].digest}" if len(records) == 1 else f"these {len(records)} runs"


def _command(study: str) -> str:
    """What trains a study and keeps its weights."""
    name, _, data = study.partition("-")
    if name == "reproduce":
        return f"hvae reproduce --data {data}" if data else "hvae reproduce"
    return f"hvae run {study} --keep-weights"


def _differences(records: Sequence[Record]) -> str:
    """The settings in which runs differ, by the option that tells them apart, with their values:
    `--depth 1, 2; --seed 0, 1`."""
    values = {
        (section, name): _distinct(record.config[section][name] for record in records)
        for section, settings in as_dict(records[0].run).items()
        for name in settings
    }
    options = {place: f"--{axis}" for axis, place in AXES.items()}
    differing = [
        f"{options.get(place, f'{place[1]} (choose by --key)')} {', '.join(map(str, found))}"
        for place, found in values.items()
        if len(found) > 1
    ]
    return "; ".join(differing)


def _distinct(values: Iterable[Any]) -> list[Any]:
    return sorted(set(values))


def _draw(store: Store, run: RunConfig, count: int, seed: int) -> "Bytes":
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


def grid(images: "Bytes") -> "Bytes":
    """Images [B, D] side by side, as square as can be, each enlarged by a whole factor: [H, W]."""
    import numpy as np

    side = math.isqrt(images.shape[1])
    scale = max(1, math.ceil(LEAST_SIDE / side))
    tiles = images.reshape(-1, side, side).repeat(scale, axis=1).repeat(scale, axis=2)
    columns = math.ceil(math.sqrt(len(tiles)))
    pitch = side * scale + GAP
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((rows * pitch + GAP, columns * pitch + GAP), BACKGROUND, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = (GAP + pitch * place for place in divmod(number, columns))
        sheet[top : top + len(tile), left : left + len(tile)] = tile
    return sheet


def _write(path: Path, pixels: "Bytes") -> None:
    """A grey PNG, whole or not at all. Raises `ValueError` naming the folder."""
    import io

    from PIL import Image

    from hvae.records.files import overwrite

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        overwrite(path, buffer.getvalue())
    except OSError as error:
        raise ValueError(
            f"out: cannot write {path}: {error.strerror}; allowed: a file you may write"
        ) from error
