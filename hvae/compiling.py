"""`torch.compile` where it works: it fuses elementwise operators, and nothing needs it."""

import warnings
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


class Compiled(Generic[P, R]):
    """A function, compiled at its first call for the shapes it gets. Where that fails it warns,
    `is_compiled` is False from then on, and the function is called as it is. What a later call
    raises is the function's own."""

    def __init__(self, function: Callable[P, R]) -> None:
        self.function, self.is_compiled, self.has_worked = function, True, False
        self.compiled: Callable[P, R] = torch.compile(function, dynamic=False)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if not self.is_compiled:
            return self.function(*args, **kwargs)
        try:
            result = self.compiled(*args, **kwargs)
        except RuntimeError as error:  # of Dynamo or of its backend: no gain, no loss
            if self.has_worked:
                raise
            reason = str(error).strip().partition("\n")[0]
            self.is_compiled = False
            warnings.warn(f"torch.compile failed, going on without: {reason}", stacklevel=2)
            return self.function(*args, **kwargs)
        self.has_worked = True
        return result
