"""Batch norms that compute their statistics over the batches of all ranks."""

from ssm_models.modules.norms import BatchNorm
from torch import nn


def share_batch_norms(module: nn.Module) -> None:
    """Make every batch norm of a model compute its statistics over the batches of all ranks.

    Args:
        module: the model; changed in place.

    Raises:
        ValueError: the model has a batch norm of torch that cannot share its statistics.
    """
    for name, each in module.named_modules():
        if isinstance(each, BatchNorm):
            each.shared = True
        elif isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            raise ValueError(
                f"{name} is torch's {type(each).__name__}, whose statistics several processes would not share; "
                "take ssm_models.modules.norms.BatchNorm, or one process."
            )
