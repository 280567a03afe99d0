"""Losses and metrics by the data's spec: sums over targets, so that every metric is a mean over all of a split."""

from __future__ import annotations

import math

import torch
from ssm_data.collate import NO_TARGET
from ssm_data.contract import Spec
from torch import Tensor
from torch.nn import functional as F

#: exp of more than this overflows.
MAX_EXPONENT = 700.0


def target_sums(spec: Spec, outputs: Tensor, y: Tensor) -> Tensor:
    """Return the number of targets, the sum of their losses, and that of their hits or absolute errors, (3,).

    The loss of classes (or of their probabilities) and of labels is the cross entropy in nats; that of values is the
    squared error.

    Args:
        outputs: (..., d_output).
        y: see :class:`ssm_data.contract.Batch`.
    """
    if spec.target == "value":
        error = outputs.float() - y
        return _sums(y.numel(), error.square(), error.abs())
    if spec.target == "labels":
        loss = F.binary_cross_entropy_with_logits(outputs.float(), y, reduction="none")
        return _sums(y.numel(), loss, (outputs > 0) == (y > 0.5))
    if y.is_floating_point():
        loss = F.cross_entropy(outputs.float(), y, reduction="none")
        return _sums(len(y), loss, outputs.argmax(-1) == y.argmax(-1))
    outputs, y = outputs.flatten(0, -2), y.flatten()
    loss = F.cross_entropy(outputs.float(), y, ignore_index=NO_TARGET, reduction="none")
    return _sums((y != NO_TARGET).sum(), loss, outputs.argmax(-1) == y)


def _sums(count: int | Tensor, losses: Tensor, others: Tensor) -> Tensor:
    # A number is not copied to the device, because the copy would wait for a GPU.
    return torch.stack([losses.new_zeros(()) + count, losses.sum(), others.sum()])


def metrics(spec: Spec, sums: Tensor) -> dict[str, float]:
    """Return loss and metrics from the sums over all targets."""
    count, first, second = sums.tolist()
    loss, other = first / count, second / count
    if spec.target == "value":
        return {"loss": loss, "mse": loss, "rmse": math.sqrt(loss), "mae": other}
    values = {"loss": loss, "accuracy": other}
    if spec.metric == "perplexity":
        values["perplexity"] = math.exp(loss) if loss < MAX_EXPONENT else math.inf
    elif spec.metric == "bits":
        values["bits"] = loss / math.log(2)
    return values
