"""Every kernel against its formula in :mod:`ssm_models.kernels.naive`."""

import pytest
import torch
from ssm_models.kernels import make_kernel
from ssm_models.kernels.naive import taps, taps_by_powers
from ssm_testing.close import assert_close
from ssm_testing.configs import kernel_config

SYSTEMS = [
    {"kernel": "dplr", "init": "legs"},
    {"kernel": "dplr", "init": "legt", "rank": 2},
    {"kernel": "dplr", "init": "fourier", "n_ssm": 2},
    {"kernel": "dplr", "init": "dplr-inv", "rank": 3, "P_scale": 0.3},
    {"kernel": "diagonal", "init": "diag-lin", "disc": "zoh"},
    {"kernel": "diagonal", "init": "diag-inv", "disc": "bilinear", "n_ssm": 1},
]
OTHERS = [
    {"kernel": "diagonal", "init": "diag-lin", "dt_tie": False, "dt_transform": "softplus", "real_transform": "relu"},
    {"kernel": "diagonal", "init": "diag-real", "is_real": True},
    {"kernel": "dense", "init": "legs", "n_ssm": 2},
    {"kernel": "dense", "init": "lmu", "disc": "zoh", "dt_transform": "softplus"},
]


def name_of(options: dict) -> str:
    return "-".join(str(value) for value in options.values())


@pytest.mark.parametrize("L", [1, 2, 3, 17, 64, 97])
@pytest.mark.parametrize("options", SYSTEMS, ids=name_of)
def test_a_kernel_is_the_powers_of_its_whole_matrix(options: dict, L: int) -> None:
    torch.manual_seed(0)
    kernel = make_kernel(4, 2, kernel_config(d_state=6, dt_max=0.5, **options)).double()
    torch.testing.assert_close(kernel(L), taps_by_powers(kernel, L), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("L", [1, 16, 33])
@pytest.mark.parametrize("options", [*SYSTEMS, *OTHERS], ids=name_of)
def test_a_kernel_is_its_formula(options: dict, L: int) -> None:
    torch.manual_seed(0)
    kernel = make_kernel(4, 2, kernel_config(d_state=6, dt_max=0.5, **options)).double()
    assert_close(kernel(L), taps(kernel, L), 1e-9, "the kernel")


@pytest.mark.parametrize("L", [16, 33])
@pytest.mark.parametrize("n_ssm", [2, None])
def test_a_softmax_is_its_formula(n_ssm: int | None, L: int) -> None:
    """But for the published guard of its denominator, which weighs most if that is small."""
    torch.manual_seed(0)
    config = kernel_config(kernel="diagonal", init="diag-legs", disc="dss", d_state=6, dt_min=0.1, n_ssm=n_ssm)
    kernel = make_kernel(4, 2, config).double()
    assert_close(kernel(L), taps(kernel, L), 1e-5, "the kernel")


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_a_moving_average_is_its_formula(tied: bool, shared: bool) -> None:
    torch.manual_seed(0)
    config = kernel_config(kernel="ema", d_state=4, dt_tie=tied, share_channels=shared)
    kernel = make_kernel(3, 2, config).double()
    assert_close(kernel(21), taps(kernel, 21), 1e-10, "the kernel")


def test_free_taps_are_their_formula() -> None:
    kernel = make_kernel(3, 2, kernel_config(kernel="free", l_max=9))
    assert torch.equal(kernel(5), taps(kernel, 5))


@pytest.mark.parametrize("init", ["legs", "fourier"])
def test_a_tied_kernel_is_the_generating_function(init: str) -> None:
    torch.manual_seed(0)
    kernel = make_kernel(3, 2, kernel_config(kernel="dplr", init=init, d_state=6, l_kernel=32)).double()
    assert_close(kernel(32), taps(kernel, 32), 1e-9, "the kernel")
    with pytest.raises(ValueError, match="the 32 taps that C is tied to"):
        taps(kernel, 31)
