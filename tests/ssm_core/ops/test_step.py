"""A single step of the recurrence, against the whole recurrence."""

import pytest
import torch
from ssm_core.complex import cexp
from ssm_core.ops import diagonal_scan, ssm_step


def inputs(B, L, H, M, C, dt=0.3):
    torch.manual_seed(L)
    a = dt * torch.stack((-torch.rand(H, M), 5 * torch.randn(H, M)), -1).double()
    shapes = (B, L, H), (B, H, M, 2), (H, M, 2), (C, H, M, 2)
    u, x0, b, c = (torch.randn(*shape, dtype=torch.float64) for shape in shapes)
    return a, [each.requires_grad_() for each in (u, x0, cexp(a), b, c)]


@pytest.mark.parametrize("backend", ["naive", "torch"])
def test_steps_are_the_recurrence(backend):
    _, (u, x0, a_bar, b, c) = inputs(2, 9, 3, 4, 2)
    y, x = diagonal_scan(u, x0, a_bar, b, c)
    state = x0
    for l, sample in enumerate(u.unbind(1)):  # noqa: E741
        y_t, state = ssm_step(sample, state, a_bar, b, c, backend=backend)
        torch.testing.assert_close(y_t, y[:, l], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(state, x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", ["naive", "torch"])
def test_gradcheck(backend):
    _, (u, *rest) = inputs(2, 3, 2, 2, 2)
    u = u[:, 0].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda *args: ssm_step(*args, backend=backend), (u, *rest))
