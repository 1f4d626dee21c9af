"""A hierarchical variational autoencoder: model, training, evaluation, records. From Python:

`hvae.run(study)` trains what is missing and returns its runs, `hvae.load_records(path)` those that
are there, both as a DataFrame; `hvae.load_model(path)` is a trained `hvae.HierarchicalVAE`. Nothing
heavy is imported before it is asked for.
"""

import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablations.api import load_model as load_model
    from ablations.api import run as run
    from hvae.model.hierarchy import HierarchicalVAE as HierarchicalVAE
    from report.data.records import load_records as load_records

__version__ = "0.1.0"

FROM_PYTHON = {  # in the packages above this one, or slow to import
    "HierarchicalVAE": "hvae.model.hierarchy",
    "load_model": "ablations.api",
    "load_records": "report.data.records",
    "run": "ablations.api",
}


def __getattr__(name: str) -> Any:
    if name not in FROM_PYTHON:
        raise AttributeError(f"module 'hvae' has no attribute {name!r}")
    return pkgutil.resolve_name(f"{FROM_PYTHON[name]}:{name}")


def __dir__() -> list[str]:
    return [*globals(), *FROM_PYTHON]
