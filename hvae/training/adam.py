"""Adam over stacked parameters: K separate Adams, as it is elementwise, in one fused operator."""

from collections.abc import Sequence

import torch
from torch import Tensor

BETAS = (0.9, 0.999)  # and EPSILON: the defaults of Kingma & Ba 2015, arXiv:1412.6980, and of torch
EPSILON = 1e-8


class Adam:
    """`torch.optim.Adam(fused=True)` without its bookkeeping, which for a hundred small tensors
    costs more than their update: one step counter for all of them, on their device.

    Gradients must be contiguous like the parameters: the operator walks both by memory and, without
    a word, takes wrong entries where their layouts differ (seen with torch 2.13 on the CPU).
    """

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float) -> None:
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.steps = torch.zeros((), device=self.parameters[0].device)

    @property
    def state(self) -> list[Tensor]:
        """Every tensor that a step writes."""
        return [*self.parameters, *self.means, *self.squares, self.steps]

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move the parameters, in place."""
        self.steps.add_(1)
        torch._fused_adam_(
            self.parameters,
            list(gradients),
            self.means,
            self.squares,
            [],
            [self.steps] * len(self.parameters),
            lr=self.learning_rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )
