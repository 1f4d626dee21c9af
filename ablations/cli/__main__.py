"""`python -m ablations.cli` is `hvae`."""

from ablations.cli.main import main

main(prog_name="hvae")
