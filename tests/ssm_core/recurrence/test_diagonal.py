"""The scan of one diagonal state, against the recurrence written out."""

import pytest
import torch
from ssm_core.recurrence.diagonal import complex_scan


@pytest.mark.parametrize("L", [1, 31, 32, 33, 1061])
def test_a_scan_is_the_recurrence(L: int) -> None:
    torch.manual_seed(0)
    B, M = 2, 3
    v, x = torch.randn(B, L, M, 2, dtype=torch.float64), torch.randn(B, M, 2, dtype=torch.float64)
    exponent = torch.stack((-torch.rand(M), 3 * torch.randn(M)), -1).double()
    a, state, expected = torch.view_as_complex(exponent).exp(), torch.view_as_complex(x), []
    for sample in torch.view_as_complex(v).unbind(1):
        state = a * state + sample
        expected.append(state)
    found = torch.view_as_complex(complex_scan(v, exponent, x).contiguous())
    torch.testing.assert_close(found, torch.stack(expected, 1), rtol=1e-10, atol=1e-10)
