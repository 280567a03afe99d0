"""The transforms of parameters."""

import pytest
import torch
from ssm_models.parameters import TRANSFORMS, inverse


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_a_transform_undoes_its_inverse(kind: str) -> None:
    values = torch.tensor([1e-3, 0.1, 0.5, 0.9], dtype=torch.float64)
    floor = 1e-4 if kind == "relu" else 0.0
    torch.testing.assert_close(TRANSFORMS[kind](inverse(values, kind)), values + floor, rtol=1e-12, atol=1e-12)
    assert inverse(torch.zeros(1), kind).isfinite().all()
