import math

import pytest
import torch
from ssm_core.hippo import transition
from ssm_core.initialize import COMBINATIONS, DIAGONALS, ssm, step_sizes


def test_the_diagonal_initialisations_are_the_formulas() -> None:
    """arXiv:2206.11893, section 4: S4D-Lin, S4D-Inv, S4D-Real, S4D-Quad."""
    N = 16
    n = torch.arange(N // 2, dtype=torch.float64)
    imag = {
        "lin": math.pi * n,
        "inv": N / math.pi * (N / (2 * n + 1) - 1),
        "quad": (1 + 2 * n) ** 2 / math.pi,
        "real": 0 * n,
    }
    for name, expected in imag.items():
        A = ssm(f"diag-{name}", N).A[0]
        torch.testing.assert_close(A[:, 1], -expected, rtol=1e-14, atol=0)
        torch.testing.assert_close(A[:, 0], -(n + 1) if name == "real" else torch.full_like(n, -0.5))


def test_diag_legs_is_the_normal_part_of_legs() -> None:
    N = 32
    A, B = transition("legs", N)
    normal = A + 0.5 * B[:, None] * B
    expected = torch.linalg.eigvals(normal)
    ours = torch.view_as_complex(ssm("diag-legs", N).A)[0]
    expected = expected[expected.imag < 0]
    torch.testing.assert_close(ours.imag.sort().values, expected.imag.sort().values, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.real, torch.full_like(ours.real, -0.5), rtol=1e-10, atol=0)


@pytest.mark.parametrize("name", [f"diag-{each}" for each in DIAGONALS] + ["dplr-lin", "legs", "fout", "lagt"])
def test_shapes_and_half_plane(name: str) -> None:
    system = ssm(name, 8, rank=2, copies=3)
    assert system.A.shape == system.B.shape == (3, 4, 2)
    assert system.P.shape == (2, 3, 4, 2)
    assert system.V.shape == (3, 8, 4, 2)
    assert (system.A <= 1e-12).all()
    assert (system.P.abs().sum() > 0) == (not name.startswith("diag"))


@pytest.mark.parametrize("name", COMBINATIONS)
def test_combinations_divide_the_copies(name: str) -> None:
    parts = COMBINATIONS[name]
    system = ssm(name, 8, copies=2 * len(parts))
    for i, part in enumerate(parts):
        torch.testing.assert_close(system.A[2 * i : 2 * i + 2], ssm(part, 8, copies=2).A)
    with pytest.raises(ValueError, match="multiple"):
        ssm(name, 8, copies=2 * len(parts) + 1)


def test_scales_and_normalisation() -> None:
    plain, scaled = ssm("diag-lin", 8), ssm("diag-lin", 8, real_scale=2.0, imag_scale=3.0, B_scale=4.0)
    torch.testing.assert_close(scaled.A, plain.A * torch.tensor([2.0, 3.0], dtype=torch.float64))
    torch.testing.assert_close(scaled.B, 4 * plain.B)
    normal = ssm("diag-inv", 8, normalize=True)
    A, B = torch.view_as_complex(normal.A), torch.view_as_complex(normal.B)
    assert 2 * (B / A).abs().square().sum() == pytest.approx(1)


def test_step_sizes_are_log_uniform() -> None:
    torch.manual_seed(0)
    dt = step_sizes((20_000, 1), 1e-3, 1e-1)
    fraction = (dt.log() - math.log(1e-3)) / math.log(100)
    assert fraction.min() >= 0
    assert fraction.max() <= 1
    assert abs(fraction.mean() - 0.5) < 0.01
    even = step_sizes((3, 1), 1e-3, 1e-1, deterministic=True)[:, 0]
    torch.testing.assert_close(even, torch.tensor([1e-3, 1e-2, 1e-1], dtype=torch.float64))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("diag-cubic", 8), "no diagonal initialisation 'cubic'"),
        (("nonsense", 8), "no measure"),
        (("diag-lin", 7), "even state size"),
    ],
)
def test_refusals_are_sentences(arguments: tuple, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ssm(*arguments)
