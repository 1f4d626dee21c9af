"""The command line: translate, call, print. Nothing heavy is imported before it is needed.

Exit codes: 0 fine, 1 the work found a failure, 2 the input was wrong, 3 inconclusive (the gate),
130 interrupted.
"""

import click

from ablations.cli.bench import bench
from ablations.cli.compare import compare
from ablations.cli.data import data
from ablations.cli.export import export
from ablations.cli.gate import gate
from ablations.cli.options.common import OneLineErrors, debug_option
from ablations.cli.plan import plan, studies
from ablations.cli.report import report
from ablations.cli.reproduce import reproduce
from ablations.cli.run import run
from ablations.cli.sample import sample
from ablations.cli.status import status
from hvae import __version__


@click.group(cls=OneLineErrors)
@click.version_option(__version__, prog_name="hvae")
@debug_option
def main() -> None:
    """Ablations of a hierarchical VAE on handwritten digits: train, compare, report.

    \b
    Example:
      hvae run quick
    """


for command in (
    *(studies, plan, run, status, report, compare),
    *(export, reproduce, sample, data, bench, gate),
):
    main.add_command(command)
