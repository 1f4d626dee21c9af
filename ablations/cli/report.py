"""`hvae report`: tables, figures and the page from the records."""

from collections.abc import Sequence
from pathlib import Path

import click

from ablations.cli.options.common import FilePath
from ablations.cli.options.study import takes_study
from ablations.grid import design
from ablations.run.launch import require_records, standings_of
from ablations.run.progress import say
from ablations.studies import Study
from ablations.study_files import keep
from hvae.records.standings import Standing
from hvae.records.store import Store

FORMATS = ("html", "latex", "csv", "md")


@click.command()
@takes_study
@click.option(
    "--format",
    "formats",
    multiple=True,
    default=(",".join(FORMATS),),
    show_default=",".join(FORMATS),
    metavar="LIST",
    help="What to write, comma-separated or repeated: html, latex, csv, md, png, pdf.",
)
@click.option(
    "--out",
    type=FilePath(file_okay=False),
    metavar="DIR",
    help="Where to write it.  [default: report in the study's folder]",
)
@click.option(
    "--columns",
    default="",
    metavar="METRIC,METRIC…",
    help="Metrics of the LaTeX and Markdown tables, as nll_nats,psnr_db.  [default: the "
    "likelihood, and what losses are ranked by]",
)
@click.option("--open", "is_opened", is_flag=True, help="Open the page in the browser.")
def report(
    study: Study,
    store: Store,
    formats: tuple[str, ...],
    out: Path | None,
    columns: str,
    is_opened: bool,
) -> None:
    """Write tables, figures and the page from the records.

    Prints the paths of what it wrote, the page first.

    \b
    Example:
      hvae report quick --format html,csv
      hvae report quick --format latex,pdf --columns nll_nats,psnr_db
    """
    standings = standings_of(study, store)
    require_records(study, store, standings)
    wanted = [name.strip() for name in ",".join(formats).split(",")]
    if is_opened and "html" not in wanted:
        raise ValueError(f"--open: needs html among the formats; got {', '.join(wanted)}")
    metrics = [name.strip() for name in columns.split(",") if name.strip()]
    if metrics and not {"latex", "md"} & {*wanted}:
        raise ValueError(f"--columns: needs latex or md among the formats; got {', '.join(wanted)}")
    written = rewrite_report(study, store, standings, wanted, out, metrics)
    for path in written:
        click.echo(path)
    if is_opened:
        click.launch(str(written[0]))


def rewrite_report(
    study: Study,
    store: Store,
    standings: Sequence[Standing],
    formats: Sequence[str],
    out: Path | None = None,
    columns: Sequence[str] = (),
) -> list[Path]:
    """Write the report from the records there now; the paths written, the page first. Of a report
    that goes elsewhere the study's folder is only read."""
    from report.study.writer import write_report

    folder = out or store.folder / "report"
    written = write_report(design(study), standings, store, folder, formats, columns)
    if out is None:
        keep(study, store.folder)
        others = {path for path in folder.rglob("*") if path.is_file()}.difference(written)
        if others:
            say(f"{folder}: {len(others)} files there are not of this report")
    return written
