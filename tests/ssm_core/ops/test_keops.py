"""The KeOps forms against the sums. Every formula takes ten seconds to compile, so one gradient stands for all."""

import shutil

import pytest
import torch
from ssm_core.ops import cauchy, vandermonde

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="KeOps needs a C++ compiler (c++)")


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEOPS_CACHE_FOLDER", str(tmp_path_factory.mktemp("keops")))
        pytest.importorskip("pykeops")
        yield


def poles(H, M):
    torch.manual_seed(M)
    return torch.stack((-0.1 - torch.rand(H, M), torch.randn(H, M)), -1).double().requires_grad_()


def test_vandermonde_and_its_gradient():
    a, c = poles(3, 5), torch.randn(2, 3, 5, 2, dtype=torch.float64)
    naive, keops = (vandermonde(c, a, 17, backend=backend) for backend in ("naive", "keops"))
    torch.testing.assert_close(keops, naive, rtol=1e-10, atol=1e-10)
    grad = torch.randn_like(naive)
    expected, found = (torch.autograd.grad(each, a, grad)[0] for each in (naive, keops))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10 * expected.abs().max().item())


def test_cauchy():
    w, v = poles(3, 5), torch.randn(4, 3, 5, 2, dtype=torch.float64)
    y = 2 * torch.tan(torch.pi * torch.arange(9, dtype=torch.float64) / 16)  # the last about 1e16
    naive, keops = (cauchy(v, w, y, backend=backend) for backend in ("naive", "keops"))
    torch.testing.assert_close(keops, naive, rtol=1e-10, atol=1e-10)
