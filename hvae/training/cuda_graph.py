"""A training step as one CUDA graph: the host launches it whole instead of operator by operator."""

import gc
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def streams(count: int) -> list[torch.cuda.Stream]:
    """So many streams beside the current one."""
    return [torch.cuda.Stream() for _ in range(count)]  # type: ignore[no-untyped-call]


def side_by_side(calls: Sequence[Callable[[], None]], streams: Sequence[torch.cuda.Stream]) -> None:
    """Each call on a stream of its own. Captured, they are branches of the graph, which the device
    runs at once: one of many small operators leaves most of it idle."""
    current = torch.cuda.current_stream()
    for call, stream in zip(calls, streams, strict=True):
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            call()
    for stream in streams:
        current.wait_stream(stream)


Captured = tuple[torch.cuda.CUDAGraph, list[Tensor]]


class CapturedStep:
    """`step(*inputs)`, captured once for the shapes of its inputs and replayed on copies of them;
    its first call for some shapes warms up on a side stream and then restores `state`, every tensor
    that a step writes. What else it reads must stay where it is."""

    def __init__(self, step: Callable[..., None], state: list[Tensor]) -> None:
        self.step, self.state = step, state
        self.graphs: dict[tuple[torch.Size, ...], Captured] = {}

    def __call__(self, *inputs: Tensor) -> None:
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self.graphs:
            self.graphs[shapes] = self._capture([tensor.clone() for tensor in inputs])
        graph, places = self.graphs[shapes]
        for place, tensor in zip(places, inputs, strict=True):
            place.copy_(tensor)
        graph.replay()

    def _capture(self, inputs: list[Tensor]) -> Captured:
        saved = [tensor.clone() for tensor in self.state]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.step(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        for tensor, before in zip(self.state, saved, strict=True):
            tensor.copy_(before)
        gc.collect()  # a graph that is freed while another is captured breaks that
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):  # records, does not run
            self.step(*inputs)
        return graph, inputs
