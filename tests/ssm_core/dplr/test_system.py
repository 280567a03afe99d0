"""The factors of a DPLR system, against its whole complex matrices."""

import pytest
import torch
from ssm_core.dplr.system import DPLR
from ssm_core.real_form import low_rank, rotations
from torch import Tensor

H, C, M = 3, 2, 4


def whole(s: DPLR) -> tuple[Tensor, Tensor]:
    """A_bar and B_bar by the bilinear rule, complex (H, 2 M, 2 M) and (H, 2 M), for both members of each pair."""
    A, B, P = (torch.view_as_complex(each) for each in (s.A, s.B, s.P))
    A, B, P = (torch.cat((each, each.conj()), -1) for each in (A, B, P))
    dt = s.dt[..., 0]
    full = (torch.diag_embed(A) - torch.einsum("rhn,rhm->hnm", P, P.conj())) * dt[..., None]
    one = torch.eye(2 * M, dtype=full.dtype)
    return torch.linalg.solve(one - full / 2, one + full / 2), torch.linalg.solve(one - full / 2, B * dt)


@pytest.mark.parametrize("rank", [1, 2])
def test_the_discrete_system(rank: int) -> None:
    torch.manual_seed(0)
    A = torch.stack((-torch.rand(H, M), -5 * torch.rand(H, M)), -1).double()
    B, P, c = (torch.randn(*shape, 2, dtype=torch.float64) for shape in ((H, M), (rank, H, M), (C, H, M)))
    s = DPLR(A, B, c, torch.rand(H, 1, 1, dtype=torch.float64), P)
    A_bar, B_bar = whole(s)
    x = torch.randn(H, M, 2, dtype=torch.float64)
    z = torch.view_as_complex(x)
    expected = torch.einsum("hnm,hm->hn", A_bar, torch.cat((z, z.conj()), -1))[:, :M]
    moved = torch.einsum("hnm,hm->hn", s.dense(), x.flatten(-2)).unflatten(-1, (M, 2))
    torch.testing.assert_close(torch.view_as_complex(moved.contiguous()), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(torch.view_as_complex(s.B_bar().contiguous()), B_bar[:, :M], rtol=1e-10, atol=1e-10)
    factors = rotations(s.diagonal()) - low_rank(*s.low_rank())
    torch.testing.assert_close(factors, s.dense(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(s.gap(), torch.eye(2 * M, dtype=torch.float64) - s.dense(), rtol=1e-9, atol=1e-10)
