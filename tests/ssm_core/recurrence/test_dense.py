"""Recurrences with dense matrices, against the recurrence written out."""

import pytest
import torch
from ssm_core.recurrence.dense import dense_kernel, dense_scan, dense_step, power_gap
from torch import Tensor

B, H, C, N = 2, 3, 2, 4


def system() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    A = torch.linalg.qr(torch.randn(H, N, N, dtype=torch.float64))[0] * 0.97
    return A, torch.randn(H, N, dtype=torch.float64), torch.randn(C, H, N, dtype=torch.float64)


def written_out(u: Tensor, x: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    outputs = []
    for sample in u.unbind(1):
        x = torch.einsum("hnm,bhm->bhn", A, x) + sample.unsqueeze(-1) * B
        outputs.append(torch.einsum("chn,bhn->bch", C, x))
    return torch.stack(outputs, 1), x


@pytest.mark.parametrize("L", [1, 2, 63, 64, 65, 150])
def test_a_chunk_is_the_recurrence(L: int) -> None:
    matrices = system()
    u, x = torch.randn(B, L, H, dtype=torch.float64), torch.randn(B, H, N, dtype=torch.float64)
    expected_y, expected_x = written_out(u, x, *matrices)
    y, after = dense_scan(u, x, *matrices)
    torch.testing.assert_close(y, expected_y, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(after, expected_x, rtol=1e-10, atol=1e-10)


def test_a_step_is_the_recurrence() -> None:
    matrices = system()
    u, x = torch.randn(B, 1, H, dtype=torch.float64), torch.randn(B, H, N, dtype=torch.float64)
    expected_y, expected_x = written_out(u, x, *matrices)
    y, after = dense_step(u[:, 0], x, *matrices)
    torch.testing.assert_close(y, expected_y[:, 0])
    torch.testing.assert_close(after, expected_x)


@pytest.mark.parametrize("L", [1, 5, 64, 100])
def test_the_kernel_is_the_response_to_an_impulse(L: int) -> None:
    matrices = system()
    u = torch.zeros(1, L, H, dtype=torch.float64)
    u[:, 0] = 1
    y, _ = written_out(u, torch.zeros(1, H, N, dtype=torch.float64), *matrices)
    torch.testing.assert_close(dense_kernel(*matrices, L), y[0].permute(1, 2, 0), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 1000])
def test_the_gap_of_a_power_keeps_the_digits_of_slow_modes(n: int) -> None:
    """``1 - (1 - gap)^n`` for gaps far below the resolution of 1, whose exact value is ``-expm1(n log1p(-gap))``."""
    gaps = torch.tensor([1e-20, 1e-10, 1e-3, 0.5], dtype=torch.float64)
    found = power_gap(torch.diag_embed(gaps)[None], n)[0].diagonal()
    torch.testing.assert_close(found, -torch.expm1(n * torch.log1p(-gaps)), rtol=1e-13, atol=0)
