"""Batch norms of a model that several processes train share their statistics, or are refused by name."""

import pytest
import torch
from ssm_bench.training.batch_norms import share_batch_norms
from ssm_models.modules.norms import BatchNorm
from torch import nn


def test_our_batch_norms_share() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ModuleList([BatchNorm(3), BatchNorm(3)]))
    share_batch_norms(model)
    assert [each.shared for each in model.modules() if isinstance(each, BatchNorm)] == [True, True]


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(3), nn.BatchNorm2d(3), nn.BatchNorm3d(3)])
def test_a_batch_norm_of_torch_is_refused_by_name(norm: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Tanh(), norm))
    with pytest.raises(ValueError, match=r"^1\.1 is torch's BatchNorm\dd.*BatchNorm, or one process"):
        share_batch_norms(model)


def test_other_norms_stay() -> None:
    model = nn.Sequential(nn.LayerNorm(3), nn.GroupNorm(1, 3))
    share_batch_norms(model)
    assert torch.isfinite(model(torch.randn(4, 3))).all()
