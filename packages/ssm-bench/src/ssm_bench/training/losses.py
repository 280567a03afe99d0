"""Losses and metrics for data of a spec, as sums over targets, so that each metric is a mean over a whole split."""

from __future__ import annotations

import math

import torch
from ssm_data.collate import NO_TARGET
from ssm_data.contract import Spec
from torch import Tensor
from torch.nn import functional as F

#: exp of a larger number overflows.
MAX_EXPONENT = 700.0


def target_sums(spec: Spec, outputs: Tensor, y: Tensor) -> Tensor:
    """Return three sums, (3,): the number of targets, their losses, and their hits or absolute errors.

    The loss of classes (or of their probabilities) and of labels is the cross entropy in nats. The loss of values is
    the squared error.

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
    # Adding the number to zeros avoids a copy to the device, which would wait for the GPU.
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
