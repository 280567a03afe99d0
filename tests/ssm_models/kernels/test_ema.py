"""Moving averages against their recurrence."""

import pytest
import torch
from ssm_models.kernels import make_kernel
from ssm_testing.configs import kernel_config


@pytest.mark.parametrize("tied", [False, True])
def test_an_ema_is_its_recurrence(tied: bool) -> None:
    torch.manual_seed(0)
    kernel = make_kernel(3, 2, kernel_config(kernel="ema", d_state=4, dt_tie=tied)).double()
    p, alpha = torch.sigmoid(kernel.delta), torch.sigmoid(kernel.alpha)
    assert p.shape == (6, 1 if tied else 4)
    state, taps = torch.zeros_like(alpha), []
    for impulse in [1.0] + [0.0] * 20:
        state = (1 - p * alpha) * state + p * kernel.beta * impulse
        taps.append((kernel.gamma * state).sum(-1) / 2)
    torch.testing.assert_close(kernel(21).flatten(0, 1), torch.stack(taps, -1), rtol=1e-10, atol=1e-12)
