"""`hvae compare`: what changed between two sets of records."""

from pathlib import Path

import click

from ablations.cli.options.common import FilePath, debug_option, json_option, print_json
from hvae.validation import require_choice

FORMATS = ("text", "md", "html")


@click.command()
@click.argument("a", metavar="A", type=FilePath())
@click.argument("b", metavar="B", type=FilePath())
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="LIST",
    help="What to print or write, comma-separated or repeated: text on stdout; md, html as files.  "
    "[default: text; with --out all]",
)
@click.option(
    "--out",
    type=FilePath(file_okay=False),
    metavar="DIR",
    help="Where to write compare.md and compare.html.  [default: the folder it is started in]",
)
@json_option
@debug_option
def compare(a: Path, b: Path, formats: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Say what changed from A to B: two folders of records of the same cells, run beside run.

    A and B are each the folder of one study, as results/quick, or of several; then the studies that
    both hold are compared. Runs pair by settings and seed; where no two are the same, by all
    settings but those that are constant in each folder. Prints the differences B − A, then the
    paths of what it wrote, the page first.

    \b
    Example:
      hvae compare main/results/quick results/quick
    """
    from report.comparison.differences import compared
    from report.comparison.output import document, text, write_comparison
    from report.comparison.pairs import paired_folders

    default = ",".join(FORMATS if out else FORMATS[:1])
    wanted = [name.strip() for name in (",".join(formats) or default).split(",")]
    for name in wanted:
        require_choice("format", name, FORMATS)
    if out is not None and set(wanted) == {"text"}:
        raise ValueError("--out: has no meaning with the format text alone; allowed: md, html")
    pairings, others = paired_folders(a, b)
    comparisons = [compared(pairing) for pairing in pairings]
    written = write_comparison(comparisons, others, out or Path(), wanted)
    if as_json:
        print_json(
            {"studies": [*map(document, comparisons)], "one_side_only": others}
            | {"written": [*map(str, written)]}
        )
        return
    if "text" in wanted:
        click.echo(text(comparisons, others))
    for path in written:
        click.echo(path)
