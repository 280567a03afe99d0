import math

import pytest
import torch
from ssm_core import hippo
from ssm_core.discretize import zoh_dense
from ssm_core.hippo import low_rank, nplr, reconstruct, transition

CORRECTED = ("legs", "legsd", "legt", "lagt", "fourier", "fourier_decay", "fourier_diag", "fourier2")


@pytest.mark.parametrize("N", [2, 4, 16, 64])
@pytest.mark.parametrize("measure", CORRECTED)
def test_the_normal_part_is_normal(measure: str, N: int) -> None:
    A, _ = transition(measure, N)
    P = low_rank(measure, N, 2)
    S = A + P.mT @ P
    torch.testing.assert_close(S @ S.mT, S.mT @ S, rtol=1e-12, atol=1e-12 * float(S.abs().max()) ** 2)


@pytest.mark.parametrize("N", [2, 4, 16, 128])
@pytest.mark.parametrize("measure", CORRECTED)
def test_nplr_is_the_transition_in_another_basis(measure: str, N: int) -> None:
    A, B = transition(measure, N)
    h = nplr(measure, N, rank=2, B_clip=None)
    V, w, P = (torch.cat((x, x.conj()), -1) for x in (h.V, h.w, h.P))
    torch.testing.assert_close(V.mH @ V, torch.eye(N, dtype=V.dtype), rtol=0, atol=1e-14 * N)
    scale = float(A.abs().max())
    back = V @ (torch.diag(w) - P.mT @ P.conj()) @ V.mH
    torch.testing.assert_close(back, A.to(back), rtol=0, atol=1e-13 * scale * N)
    torch.testing.assert_close(2 * (h.V @ h.B).real, B, rtol=1e-10, atol=1e-10)
    assert (h.w.imag <= 0).all()


def test_legs_is_the_formula_of_the_paper() -> None:
    """arXiv:2008.07669, theorem 2: A[n,k] = -sqrt((2n+1)(2k+1)) below the diagonal, -(n+1) on it."""
    A, B = transition("legs", 5)
    for n in range(5):
        assert B[n] == pytest.approx(math.sqrt(2 * n + 1))
        for k in range(5):
            expected = -(n + 1) if n == k else -math.sqrt((2 * n + 1) * (2 * k + 1)) if n > k else 0
            assert A[n, k] == pytest.approx(expected)


@pytest.mark.parametrize("measure", ["fourier", "legt"])
def test_a_window_forgets_after_its_length(measure: str) -> None:
    """LegT and FouT memorise a window of length 2: what a long constant left is gone that long after it."""
    A, B = transition(measure, 64)
    _, held = zoh_dense(A, B, 20.0)
    inside, outside = (torch.linalg.matrix_exp(A * t) @ held for t in (1.0, 2.2))
    assert inside.norm() > 0.5 * held.norm()
    assert outside.norm() < 0.1 * held.norm()


def test_the_clip_bounds_the_imaginary_part_of_B() -> None:
    free, clipped = nplr("legs", 64, B_clip=None), nplr("legs", 64)
    assert free.B.imag.abs().max() > 2
    torch.testing.assert_close(clipped.B, torch.complex(free.B.real, free.B.imag.clamp(-2, 2)))


def test_refusals_are_sentences() -> None:
    with pytest.raises(ValueError, match="no measure 'legx'"):
        transition("legx", 4)
    with pytest.raises(ValueError, match="even state size"):
        transition("fourier", 5)
    with pytest.raises(ValueError, match="needs rank 2"):
        nplr("legt", 8, rank=1)
    with pytest.raises(ValueError, match="No low-rank correction"):
        low_rank("glagt", 8, 1)
    assert set(hippo.ALIASES.values()) <= set(hippo.MEASURES)


@pytest.mark.parametrize("measure", ["legt", "fourier", "lagt"])
def test_the_state_remembers_the_recent_signal(measure: str) -> None:
    N, steps, dt = 64, 4000, 2e-3
    signal = lambda t: (t / 8) ** 4 * torch.sin(3 * t)  # noqa: E731
    A, B = zoh_dense(*transition(measure, N), dt)
    x = torch.zeros(N, dtype=torch.float64)
    times = dt * torch.arange(1, steps + 1, dtype=torch.float64)
    for value in signal(times - dt / 2):
        x = A @ x + B * value
    ages = torch.linspace(0.3, 1.7, 40, dtype=torch.float64)
    expected = signal(times[-1] - ages)
    tolerance = {"legt": 0.01, "lagt": 0.01, "fourier": 0.1}[measure]  # a Fourier series meets a jump at the edge
    assert (reconstruct(measure, x, ages) - expected).abs().max() < tolerance


def test_legs_remembers_from_the_start() -> None:
    N, steps = 48, 3000
    A, B = transition("legs", N)
    signal = lambda share: torch.sin(9 * share) * (1 - share)  # noqa: E731
    x = torch.zeros(N, dtype=torch.float64)
    for k in range(1, steps + 1):
        A_bar, B_bar = zoh_dense(A, B, math.log((k + 1) / k))
        x = A_bar @ x + B_bar * signal(torch.tensor((k - 0.5) / steps, dtype=torch.float64))
    ages = torch.linspace(0, 1, 50, dtype=torch.float64)
    assert (reconstruct("legs", x, ages) - signal(1 - ages)).abs().max() < 0.02
    with pytest.raises(ValueError, match="basis of 'glagt'"):
        reconstruct("glagt", x, ages)
