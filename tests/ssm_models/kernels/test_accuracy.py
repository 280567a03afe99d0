"""The error of every kernel in float32, against that of its direct sum."""

import copy
from collections.abc import Callable

import pytest
import torch
from ssm_core.backends import use_backend
from ssm_core.dplr import generating_function
from ssm_models.kernels import make_kernel
from ssm_models.kernels.dense import DenseKernel
from ssm_models.kernels.dplr import DPLRKernel
from ssm_models.kernels.naive import taps
from ssm_testing.configs import kernel_config
from torch import Tensor

ACCURACY = {
    "s4": {"init": "legs"},
    "s4-tied": {"init": "legs", "l_kernel": 1024},
    "s4-legt": {"init": "legt", "rank": 2},
    "s4-fout": {"init": "fourier"},
    "s4-fout-tied": {"init": "fourier", "l_kernel": 1024},
    "s4d-lin": {"kernel": "diagonal", "init": "diag-lin"},
    "s4d-inv": {"kernel": "diagonal", "init": "diag-inv"},
    "s4d-legs": {"kernel": "diagonal", "init": "diag-legs"},
    "s4d-lin-zoh": {"kernel": "diagonal", "init": "diag-lin", "disc": "zoh"},
    "s4d-real": {"kernel": "diagonal", "init": "diag-real", "is_real": True},
    "dss-exp": {"kernel": "diagonal", "init": "diag-legs", "disc": "zoh", "B_init": "constant"},
    "dss-softmax": {"kernel": "diagonal", "init": "diag-legs", "disc": "dss", "real_transform": "none"},
    "lssl": {"kernel": "dense", "init": "legs"},
    "ema": {"kernel": "ema", "dt_tie": False},
}


def with_steps(name: str, dt: float, d_state: int = 16, *, tied: bool = True) -> torch.nn.Module:
    """A kernel of ACCURACY whose step sizes are all dt; for a moving average, the weights p of its inputs.

    Without ``tied``, C is not tied to a length.
    """
    torch.manual_seed(0)
    options = {"d_state": d_state, **ACCURACY[name]}
    if not tied:
        options.pop("l_kernel", None)
    if name != "ema":
        return make_kernel(2, 1, kernel_config(dt_min=dt, dt_max=dt, **options))
    kernel = make_kernel(2, 1, kernel_config(**options))
    torch.nn.init.constant_(kernel.delta, float(torch.logit(torch.tensor(dt), eps=1e-6)))
    return kernel


def direct_sum(kernel: torch.nn.Module, L: int) -> Tensor:
    """The kernel as its sum, in the precision of its parameters.

    For S4 the sum of the Cauchy product, for LSSL power by power, for the softmax as its paper writes it, for a moving
    average that of its exponentials.
    """
    if isinstance(kernel, DenseKernel) or getattr(kernel.config, "disc", None) == "dss":
        return taps(kernel, L)
    with use_backend("naive"):
        return kernel(L)


@pytest.mark.parametrize("L", [1024, *(pytest.param(L, marks=pytest.mark.exhaustive) for L in (16384, 65536))])
@pytest.mark.parametrize("dt", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("name", ACCURACY)
def test_float32_accuracy(name: str, dt: float, L: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No worse than 4 times the error of the direct sum in float32; for a tied kernel, of that of the plain one."""
    kernel = with_steps(name, dt)
    errors = [float32_error(lambda kernel: kernel(L), kernel)]
    monkeypatch.setattr(generating_function, "_float64_suffices", lambda *_: False)
    if isinstance(kernel, DPLRKernel):
        errors.append(float32_error(lambda kernel: kernel(L), kernel))
    direct = float32_error(lambda kernel: direct_sum(kernel, L), with_steps(name, dt, tied=False))
    assert max(errors) <= 4 * direct


@torch.no_grad()
def float32_error(form: Callable[[torch.nn.Module], Tensor], kernel: torch.nn.Module) -> float:
    """The largest error of a kernel's taps, relative to the largest tap in float64."""
    truth = form(copy.deepcopy(kernel).double())
    return float((form(kernel) - truth).abs().max() / truth.abs().max())


@pytest.mark.parametrize("L", [1024, 16384, 65536])
def test_free_taps_are_the_parameters(L: int) -> None:
    """Their direct sum has one term, so they have no error at all."""
    kernel = make_kernel(2, 1, kernel_config(kernel="free", l_max=65536))
    assert kernel(L).dtype == torch.float32
    assert torch.equal(kernel(L), kernel.kernel[..., :L])
