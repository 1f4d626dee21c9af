"""What a call does as the dispatcher sees it: its operators, the bytes they move and keep alive.

Imports nothing of ours: the gate copies this file into both sides of a comparison.
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Recorder(TorchDispatchMode):
    """Every operator that reaches the dispatcher, the bytes that it read and wrote by its schema,
    each tensor once, and the bytes then alive. A view moves nothing.

    Moved bytes are those of unfused operators: what a cache keeps between two of them, or what a
    matrix product reads twice, is not seen. Only storage made while recording counts as alive: its
    peak is that of the call's temporaries, and what is left of it afterwards was retained. What an
    operator allocates and frees within itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: Counter[str] = Counter()
        self.input_bytes = self.output_bytes = self.peak_bytes = 0
        self.made: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        read = _tensors((args, kwargs))
        known = {_storage(tensor) for tensor in read}
        result = func(*args, **kwargs)
        self.operators[str(func)] += 1
        made = [tensor for tensor in _tensors(result) if _storage(tensor) not in known]
        if made:  # else no more is alive than was
            self.made |= {_storage(tensor): tensor.untyped_storage().nbytes() for tensor in made}
            self.peak_bytes = max(self.peak_bytes, self.live_bytes())
        if written := [*made, *_overwritten(func, args, kwargs)]:
            self.input_bytes += _bytes(read)
            self.output_bytes += _bytes(written)
        return result

    def live_bytes(self) -> int:
        """Bytes of the storage made so far that are still alive."""
        for storage in [s for s in self.made if s.expired()]:  # type: ignore[no-untyped-call]
            del self.made[storage]  # its address may be used again
        return sum(self.made.values())


def _overwritten(func: Any, args: Any, kwargs: dict[str, Any]) -> list[Tensor]:
    """The arguments that an operator writes to."""
    arguments = func._schema.arguments
    given = {argument.name: value for argument, value in zip(arguments, args, strict=False)}
    names = [a.name for a in arguments if a.alias_info is not None and a.alias_info.is_write]
    return _tensors([(given | kwargs).get(name) for name in names])


def _tensors(values: Any) -> list[Tensor]:
    leaves = tree_leaves(values)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.layout == torch.strided]


def _storage(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def _bytes(tensors: list[Tensor]) -> int:
    """Of their elements, or of less where a tensor repeats them."""
    return sum(min(t.numel() * t.element_size(), t.untyped_storage().nbytes()) for t in tensors)
