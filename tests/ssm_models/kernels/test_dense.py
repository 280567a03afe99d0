"""The dense kernel against the DPLR kernel of the same system."""

import pytest
import torch
from ssm_models.kernels import make_kernel
from ssm_testing.configs import kernel_config


@pytest.mark.parametrize("disc", ["zoh", "bilinear"])
def test_the_dense_kernel_is_the_dplr_one_in_the_basis_of_the_measure(disc: str) -> None:
    """From the same HiPPO matrix, one C and one step: LSSL and S4 are one system in two bases."""
    torch.manual_seed(0)
    options = {"d_state": 8, "init": "legs", "n_ssm": 1, "deterministic": True, "B_clip": None}
    dense = {key: value for key, value in options.items() if key != "B_clip"}
    one = make_kernel(3, 1, kernel_config(kernel="dense", **{**dense, "disc": "bilinear"})).double()
    other = make_kernel(3, 1, kernel_config(kernel="dplr", **options)).double()
    torch.testing.assert_close(one(50), other(50), rtol=1e-4, atol=1e-5)  # B and P start from float32
    fine = make_kernel(3, 1, kernel_config(kernel="dense", **{**dense, "disc": disc, "dt_max": 0.001})).double()
    coarse = fine(100)
    exact = torch.linalg.matrix_exp(fine.A[0] * 0.001 * 50) @ fine.B[0] * 0.001
    torch.testing.assert_close(coarse[0, 0, 50], fine.C[0, 0] @ exact, rtol=0.02, atol=1e-6)
