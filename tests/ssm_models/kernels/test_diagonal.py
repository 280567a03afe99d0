"""The diagonal kernel against the formulas of its papers."""

import pytest
import torch
from ssm_models.kernels import make_kernel
from ssm_models.zoo import ZOO


@pytest.mark.parametrize("name", ["dss-exp", "dss-softmax"])
def test_dss_is_the_papers_formula(name: str) -> None:
    """arXiv:2203.14343, proposition 1: ``Re sum w / lambda`` times zero-order hold or the row softmax."""
    torch.manual_seed(0)
    L = 23
    kernel = make_kernel(3, 1, ZOO[name](d_model=3, d_state=6, dt_min=0.05).layer.kernel).double()
    assert "B" not in dict(kernel.named_parameters())
    assert kernel.A_real.shape == (1, 3)
    C, B, dt = torch.view_as_complex(kernel.C), torch.view_as_complex(kernel.B), kernel.inv_dt.exp()
    assert (B == 1).all()
    if name == "dss-exp":
        lam = torch.complex(-kernel.A_real.exp(), -kernel.A_imag)
        w = 2 * C  # a mode stands for itself and its conjugate
        rows = (lam * dt)[..., None] * torch.arange(L)
        weights = ((lam * dt).exp() - 1)[..., None] * rows.exp()
    else:
        with torch.no_grad():
            kernel.A_real[:, 1:] *= -0.5  # some modes grow
            kernel.A_imag += 0.3
        lam = torch.complex(-kernel.A_real, -kernel.A_imag)
        w = C
        rows = (lam * dt)[..., None] * torch.arange(L)
        weights = rows.exp() / rows.exp().sum(-1, keepdim=True)
    expected = torch.einsum("chm,hml->chl", w / lam, weights).real
    tolerance = 1e-10 if name == "dss-exp" else 1e-5  # the softmax has the published guard of its denominator
    torch.testing.assert_close(kernel(L), expected, rtol=tolerance, atol=tolerance)
