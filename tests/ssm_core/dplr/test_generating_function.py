"""The DPLR kernel's generating function: both ways to it agree, and the quick one is taken where it is exact."""

import math

import pytest
import torch
from ssm_core.dplr import generating_function
from ssm_core.dplr.system import DPLR
from ssm_core.initialize import ssm
from ssm_core.products import einsum
from ssm_core.real_form import row, unrow
from ssm_core.recurrence.dense import power_gap
from torch import Tensor


def system(init: str, rank: int, L: int, dt: float, dtype: torch.dtype = torch.float64) -> tuple[DPLR, Tensor]:
    """A random system of 3 features and 2 channels and its C_tilde for the length L, leaves of the graph."""
    torch.manual_seed(0)
    initial = ssm(init, 8, rank, 3)
    C, steps = torch.randn(2, 3, 4, 2, dtype=dtype), torch.full((3, 1, 1), dt, dtype=dtype)
    s = DPLR(initial.A.to(dtype), initial.B.to(dtype), C, steps, initial.P.to(dtype))
    tied = unrow(einsum("chn,hnm->chm", row(C), power_gap(s.gap(), L)))
    s = DPLR(s.A, s.B, tied, s.dt, s.P)
    s = DPLR(*(each.detach().clone().requires_grad_() for each in leaves(s)))
    return s, s.C


def leaves(s: DPLR) -> tuple[Tensor, ...]:
    return s.A, s.B, s.C, s.dt, s.P


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("L", [1, 2, 7, 64, 101])
@pytest.mark.parametrize("dt", [1e-3, 0.1])
def test_both_ways_agree_in_value_and_gradients(rank: int, L: int, dt: float) -> None:
    s, C = system("legs", rank, L, dt)
    quick, exact = generating_function._by_fft(s, C, L), generating_function._by_cauchy(s, C, L)
    torch.testing.assert_close(quick, exact, rtol=0, atol=1e-11 * exact.abs().max().item())
    weights = torch.randn_like(exact)
    # A kernel of one tap does not depend on dt.
    ones, others = (torch.autograd.grad(k, leaves(s), weights, materialize_grads=True) for k in (quick, exact))
    for one, other in zip(ones, others, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9 * max(1.0, other.abs().max().item()))


def test_the_gradient_of_the_real_fft() -> None:
    for n in (1, 2, 5, 8):
        assert torch.autograd.gradcheck(
            generating_function._RealFFT.apply, (torch.randn(2, n, dtype=torch.float64, requires_grad=True),)
        )


def test_float64_suffices_unless_a_pole_is_extremely_close() -> None:
    """And where it does, what is lost next to a pole is less than float32 shows."""
    L, frequency = 64, 2 * math.pi * 5 / 64
    for distance in (1.0, 1e-2, 1e-4, 1e-6, 1e-8):
        s, C = system("legs", 1, L, 0.1)
        with torch.no_grad():  # the first mode next to the fifth node, the nearer the less it decays
            s.A[:, 0, 0] = -distance * 2 * math.pi / L / s.dt[:, 0, 0]
            s.A[:, 0, 1] = 2 * math.tan(frequency / 2) / s.dt[:, 0, 0]
        single = DPLR(*(each.detach().float() for each in leaves(s)))
        suffices = generating_function._float64_suffices(single, L)
        assert suffices == (distance >= 1e-4)
        single.A[:, 1, 0] = 10.0  # a mode that grows takes nothing from what the first one costs
        assert generating_function._float64_suffices(single, L) == suffices
        assert not generating_function._float64_suffices(s, L)
        quick, exact = generating_function._by_fft(s, C, L), generating_function._by_cauchy(s, C, L)
        error = (quick - exact).abs().max() / exact.abs().max()
        assert error < torch.finfo(torch.float32).eps or not suffices


def test_the_kernel_of_a_system_with_a_resonance_is_the_same_in_float32() -> None:
    for distance in (1e-3, 1e-6):
        s, _ = system("legs", 1, 64, 0.1)
        with torch.no_grad():
            s.A[:, 0, 0] = -distance
        single = DPLR(*(each.detach().float() for each in leaves(s)))
        found = generating_function.dplr_kernel(single, single.C, 64)
        assert found.dtype == torch.float32
        exact = generating_function._by_cauchy(single.double(), single.C.double(), 64)
        assert (found - exact).abs().max() < 1e-5 * exact.abs().max()
