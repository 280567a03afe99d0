"""The initial values of the named models, against formulas written out in NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ssm_models.kernels import make_kernel
from ssm_models.zoo import ZOO

N = 64
n = np.arange(N)
LEGS_B = np.sqrt(2 * n + 1)
LEGS_A = -np.tril(np.outer(LEGS_B, LEGS_B), -1) - np.diag(n + 1.0)


def pairs(value: torch.Tensor) -> np.ndarray:
    return torch.view_as_complex(value.detach().double().contiguous()).numpy()


def legs_modes() -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (N/2,) and unit eigenvectors (N, N/2) of the normal part of LegS, with imaginary part < 0.

    The normal part is ``A + B B^T / 2``: -1/2 plus a skew-symmetric matrix.
    """
    w, V = np.linalg.eigh(-1j * (LEGS_A + np.outer(LEGS_B, LEGS_B) / 2 + 0.5 * np.eye(N)))
    return -0.5 + 1j * w[: N // 2], V[:, : N // 2]


def bilinear_taps(w: np.ndarray, B: np.ndarray, C: np.ndarray, dt: float, L: int) -> np.ndarray:
    """``K_l = 2 Re sum_n C_n A_bar_n^l B_bar_n`` (L,), discretised with the bilinear rule."""
    A_bar, B_bar = (1 + dt / 2 * w) / (1 - dt / 2 * w), dt * B / (1 - dt / 2 * w)
    return 2 * (C * B_bar * A_bar ** np.arange(L)[:, None]).sum(-1).real


def kernel_of(name: str, **options: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return make_kernel(2, 1, ZOO[name](d_model=2, d_state=N, **options).layer.kernel).double()


@pytest.mark.parametrize("name", ["s4d", "s4d-legs", "s4d-lin", "s4d-inv", "dss-exp", "dss-softmax"])
def test_B_of_a_diagonal_model_starts_at_one(name: str) -> None:
    assert (pairs(kernel_of(name).B) == 1).all()


def test_B_of_s4d_real_starts_at_one() -> None:
    assert (kernel_of("s4d-real").B == 1).all()


@pytest.mark.parametrize(
    ("name", "options", "B_of"),
    [
        ("s4d", {}, np.ones_like),
        ("s4d-legs", {}, np.ones_like),
        ("s4d", {"B_init": "hippo"}, lambda B: B.real + 1j * B.imag.clip(-2, 2)),
    ],
    ids=["s4d", "s4d-legs", "version 4"],
)
def test_the_kernel_of_s4d_legs(name: str, options: dict, B_of: Callable[[np.ndarray], np.ndarray]) -> None:
    """C and the step size are random; A and B come from the formula."""
    kernel, L = kernel_of(name, **options), 200
    w, V = legs_modes()
    order = np.argsort(-kernel.A_imag[0].detach().numpy())
    V = V * (V[0].conj() / abs(V[0]))  # the phase that makes the first component real and positive
    B, C = B_of(V.conj().T @ LEGS_B), pairs(kernel.C)[0, 0][order]
    dt = float(kernel.inv_dt.detach().exp()[0])
    expected = bilinear_taps(w, B, C, dt, L)
    actual = kernel(L)[0, 0].detach().numpy()
    assert abs(actual - expected).max() <= 1e-6 * abs(expected).max()


@pytest.mark.parametrize("name", ["s4", "s4-legs"])
def test_the_kernel_of_s4_is_that_of_the_dense_legs_matrices(name: str) -> None:
    """C and the step size are random; A and B are the real matrices of LegS, discretised with the bilinear rule."""
    kernel, L = kernel_of(name), 200
    _, V = legs_modes()
    V = V * (V[0].conj() / abs(V[0]))
    order = np.argsort(-kernel.A_imag[0].detach().numpy())
    c, dt = pairs(kernel.C)[0, 0][order], float(kernel.inv_dt.detach().exp()[0])
    forward, backward = np.eye(N) + dt / 2 * LEGS_A, np.eye(N) - dt / 2 * LEGS_A
    x, taps = np.linalg.solve(backward, dt * LEGS_B), []
    for _ in range(L):
        taps.append(2 * (c @ (V.conj().T @ x)).real)
        x = np.linalg.solve(backward, forward @ x)
    actual = kernel(L)[0, 0].detach().numpy()
    assert abs(actual - taps).max() <= 1e-4 * abs(np.array(taps)).max()


@pytest.mark.parametrize(("options", "largest"), [({}, 40.75), ({"B_clip": 2.0}, 2.0)], ids=["whole", "version 4"])
def test_B_of_s4_legs_is_clipped_only_on_request(options: dict, largest: float) -> None:
    _, V = legs_modes()
    B = V.conj().T @ LEGS_B
    assert abs(B).max() == pytest.approx(40.75, abs=0.01)
    ours = pairs(kernel_of("s4", **options).B).reshape(-1, N // 2)[0]
    assert abs(ours).max() == pytest.approx(largest, abs=0.01)
    if not options:
        np.testing.assert_allclose(np.sort(abs(ours)), np.sort(abs(B)), rtol=1e-5)


def test_B_of_a_fourier_model_is_real_and_whole() -> None:
    """FouT's B is sqrt(2) for each cosine and 0 for each sine: 1 in the unit eigenvector of a frequency."""
    fourier = pairs(kernel_of("s4-fout").B).reshape(-1, N // 2)[0]
    assert abs(fourier.imag).max() < 1e-6
    np.testing.assert_allclose(np.sort(fourier.real)[1:], 1, atol=1e-6)
    legs, other = pairs(kernel_of("s4-legs-fout").B).reshape(2, N // 2)
    assert abs(legs).max() == pytest.approx(40.75, abs=0.01)
    np.testing.assert_allclose(other, fourier, atol=1e-6)


def test_a_preset_without_meaning_for_another_init_is_named_with_the_value_that_turns_it_off() -> None:
    with pytest.raises(
        ValueError, match=r"B_clip has no meaning for init=dplr-lin; .* set B_clip=2\.0 instead of null\."
    ):
        ZOO["s4"](d_model=2, init="dplr-lin")
    ZOO["s4"](d_model=2, init="dplr-lin", B_clip=2.0)
