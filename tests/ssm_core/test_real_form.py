"""The real form of conjugate pairs, against complex vectors and matrices."""

import torch
from ssm_core.real_form import low_rank, rotations, row, unrow

H, M, R = 2, 3, 2


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, 2, dtype=torch.float64)


def as_complex(x: torch.Tensor) -> torch.Tensor:
    return torch.view_as_complex(x.contiguous())


def test_a_row_is_twice_the_real_part_of_the_complex_product() -> None:
    torch.manual_seed(0)
    c, x = random(H, M), random(H, M)
    expected = 2 * (as_complex(c) * as_complex(x)).sum(-1).real
    torch.testing.assert_close((row(c) * x.flatten(-2)).sum(-1), expected)
    torch.testing.assert_close(unrow(row(c)), c)


def test_rotations_multiply_each_entry() -> None:
    torch.manual_seed(0)
    a, x = random(H, M), random(H, M)
    moved = torch.einsum("hnm,hm->hn", rotations(a), x.flatten(-2))
    torch.testing.assert_close(as_complex(moved.unflatten(-1, (M, 2))), as_complex(a) * as_complex(x))


def test_a_low_rank_matrix_is_the_sum_of_its_outer_products() -> None:
    torch.manual_seed(0)
    left, right, x = random(R, H, M), random(R, H, M), random(H, M)
    moved = torch.einsum("hnm,hm->hn", low_rank(left, right), x.flatten(-2))
    inner = 2 * (as_complex(right) * as_complex(x)).sum(-1, keepdim=True).real
    torch.testing.assert_close(as_complex(moved.unflatten(-1, (M, 2))), (as_complex(left) * inner).sum(0))
