"""What is said beside the answer: a line on stderr."""

import sys


def say(line: str) -> None:
    """Write a line to stderr at once, above the bars where there are any."""
    from tqdm import tqdm  # a fifth of a second, which `--help` does not need

    tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()
