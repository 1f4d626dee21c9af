"""Text of others on a terminal, and streams that take nothing."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from ablations.cli.main import main
from ablations.run.progress import say
from ablations.terminal import Heedless, printable

NASTY = "a\x1b]0;title\x07\u202eb\x00\nc\x9b31m\ud800"
SHOWN = r"a\x1b]0;title\x07\u202eb\x00 c\x9b31m\ud800"


def test_what_a_terminal_would_obey_is_shown_in_one_line() -> None:
    assert printable(NASTY) == SHOWN
    assert printable("β = ½ 漢字") == "β = ½ 漢字"


def test_errors_and_progress_obey_nobody(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = CliRunner().invoke(main, ["status", f"{tmp_path}/{NASTY[:-1]}.toml"])
    assert result.exit_code == 2
    assert SHOWN.removesuffix(r"\ud800") in result.stderr
    listed = CliRunner().invoke(main, ["plan", "quick", "--device", "cuda", "--results", "a\x08b"])
    assert "runs in a\\x08b/quick: " in listed.stdout
    say(NASTY)
    assert capsys.readouterr().err == f"{SHOWN}\n"


def test_a_stream_for_progress_takes_what_cannot_be_written() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise BrokenPipeError

    stream = Heedless(Full())
    assert stream.write("abc") == 3
    stream.flush()
    assert not stream.isatty()
    written = io.StringIO()
    Heedless(written).write("abc")
    assert written.getvalue() == "abc"


CLOSED = """
import os, sys
from ablations.terminal import prepare_streams
os.close(0); os.close(2)
sys.stderr = None
prepare_streams()
opened = os.open(os.devnull, os.O_RDONLY)
assert opened > 2, opened
print("nowhere", file=sys.stderr)
print(type(sys.stderr).__name__)
"""


def test_a_descriptor_that_is_closed_is_no_files_place(run_python: Callable[..., str]) -> None:
    """Else a worker would write its warnings into the next file that is opened."""
    assert run_python(CLOSED) == "Heedless"
