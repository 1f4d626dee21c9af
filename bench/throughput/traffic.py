"""Bytes that a task moves: what its operators read and write by their schemas, each tensor once.

That is the traffic of unfused operators, of parameters and activations alike; what a cache keeps
between two operators, or what a matrix product reads twice, is not seen.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.throughput.tasks import build
from hvae.config import RunConfig


class Traffic(NamedTuple):
    """Bytes of a call: parameters and their like, and what every image of the batch adds."""

    fixed: int
    per_image: int

    def bytes(self, batch_size: int) -> int:
        return self.fixed + batch_size * self.per_image


@cache
def traffic(task: str, run: RunConfig) -> Traffic:
    """The traffic of a task, counted at two batch sizes: a tensor has either the batch as a factor
    of its size, or a size of its own."""
    small, large = (_count(task, run, size) for size in (8, 16))
    per_image = (large - small) // 8
    return Traffic(small - 8 * per_image, per_image)


def _count(task: str, run: RunConfig, batch_size: int) -> int:
    call = build(task, run, "cpu", batch_size)
    counter = Counter()
    with counter:
        call()
    return counter.bytes


class Counter(TorchDispatchMode):
    """Adds up the bytes that operators read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        read = _tensors((args, kwargs))
        storages = {tensor.untyped_storage().data_ptr() for tensor in read}
        made = [t for t in _tensors(result) if t.untyped_storage().data_ptr() not in storages]
        named = zip(func._schema.arguments, args, strict=False)
        changed = _tensors([value for argument, value in named if _is_written(argument)])
        if made or changed:
            self.bytes += sum(map(_bytes, (*read, *made, *changed)))
        return result


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _bytes(tensor: Tensor) -> int:
    """Of its elements, or of less where it repeats them."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
