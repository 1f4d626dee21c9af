"""A training step as one CUDA graph: the host launches it whole instead of operator by operator."""

from collections.abc import Callable

import torch
from torch import Tensor


class CapturedStep:
    """`step(x, noise)`, captured once per batch size and replayed; its first call per size warms
    up on a side stream and then restores `state`, every tensor that a step writes."""

    def __init__(self, step: Callable[[Tensor, Tensor], None], state: list[Tensor]) -> None:
        self.step, self.state = step, state
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def __call__(self, x: Tensor, noise: Tensor) -> None:
        images = x.shape[1]
        if images not in self.graphs:
            self.graphs[images] = self._capture(x, noise)
        graph, graph_x, graph_noise = self.graphs[images]
        graph_x.copy_(x)
        graph_noise.copy_(noise)
        graph.replay()

    def _capture(self, x: Tensor, noise: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        x, noise = x.clone(), noise.clone()
        saved = [tensor.clone() for tensor in self.state]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.step(x, noise)
        torch.cuda.current_stream().wait_stream(side)
        for tensor, before in zip(self.state, saved, strict=True):
            tensor.copy_(before)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):  # records, does not run
            self.step(x, noise)
        return graph, x, noise
