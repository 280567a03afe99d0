"""The gradients of every kernel against difference quotients."""

import pytest
import torch
from ssm_models.kernels import make_kernel
from ssm_models.zoo import ZOO
from ssm_testing.configs import kernel_config
from torch import Tensor


@pytest.mark.parametrize(
    "name", ["s4", "s4-fout", "s4d-lin", "s4d-real", "dss-exp", "dss-softmax", "lssl", "lssl-zoh", "ema", "free"]
)
def test_gradcheck(name: str) -> None:
    torch.manual_seed(0)
    if name == "free":
        config = kernel_config(kernel="free", l_max=9)
    elif name == "lssl-zoh":
        config = ZOO["lssl"](d_model=2, d_state=4, n_ssm=None, disc="zoh").layer.kernel
    else:
        options = {} if name == "ema" else {"n_ssm": None}
        length = {"l_kernel": 6} if name in ("s4", "s4-fout") else {}
        config = ZOO[name](d_model=2, d_state=4, **options, **length).layer.kernel
    kernel = make_kernel(2, 2, config).double()
    names, values = zip(*kernel.named_parameters(), strict=True)

    def taps(*parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(kernel, given, (7,))

    assert torch.autograd.gradcheck(taps, tuple(v.detach().requires_grad_() for v in values))
