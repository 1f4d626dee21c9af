"""hvae/training/adam.py against torch's own Adam."""

import pytest
import torch

from hvae.training.adam import Adam

SHAPES = [(3, 5, 4), (3, 5), (1,), (2, 33)]


@pytest.mark.parametrize("is_fused", [True, False])
def test_many_steps_are_those_of_torch(is_fused: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    ours = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]
    theirs = [tensor.clone() for tensor in ours]
    adam = Adam(ours, 1e-2)
    reference = torch.optim.Adam(theirs, lr=1e-2, fused=is_fused)
    for _ in range(50):
        gradients = [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in ours]
        adam.step(gradients)
        for tensor, gradient in zip(theirs, gradients, strict=True):
            tensor.grad = gradient
        reference.step()
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-12, atol=0)


def test_the_state_is_all_that_a_step_writes() -> None:
    tensors = [torch.ones(3), torch.ones(2)]
    adam = Adam(tensors, 0.1)
    saved = [tensor.clone() for tensor in adam.state]
    adam.step([torch.ones(3), -torch.ones(2)])
    moved = [tensor.clone() for tensor in adam.state]
    assert not any(torch.equal(*pair) for pair in zip(saved, moved, strict=True))
    for tensor, before in zip(adam.state, saved, strict=True):
        tensor.copy_(before)
    adam.step([torch.ones(3), -torch.ones(2)])
    assert all(torch.equal(*pair) for pair in zip(adam.state, moved, strict=True))
