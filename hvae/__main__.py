"""`python -m hvae` is the command `hvae`, which lies in a package above this one."""

import runpy

runpy.run_module("ablations.cli", run_name="__main__")
