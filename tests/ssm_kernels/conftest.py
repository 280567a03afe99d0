"""Tests run on every device at hand: the CPU by the host build of the sources, a GPU if there is one."""

import pytest
import torch
from ssm_kernels import available, host
from ssm_kernels.ops import common


@pytest.fixture(scope="session")
def emulation():
    if host.compiler() is None:
        pytest.skip("the host build needs a C++ compiler (g++, clang++ or CXX)")
    common.emulate_on_cpu()


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    if request.param == "cpu":
        request.getfixturevalue("emulation")
    else:
        usable, reason = available()
        if not usable:
            pytest.skip(reason)
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
