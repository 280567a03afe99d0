"""The forward and backward pass of a model on a batch, for measurements that need no optimiser. Imports torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from ssm_data.contract import Batch, Spec
from torch import nn

from ssm_bench.speed.timer import timed
from ssm_bench.training.losses import target_sums

#: Number of timed steps; one more step before them warms up.
STEPS = 3


def random_batch(spec: Spec, size: int, device: torch.device) -> Batch:
    """Return a batch of noise in the shape of a spec, with sequences of full length.

    Args:
        size: number of examples.
    """
    rows = size * (2 if spec.pair else 1)
    extent = spec.axes or (spec.l_max,)
    x = torch.randint(spec.d_input, (rows, *extent)) if spec.tokens else torch.randn(rows, *extent, spec.d_input)
    targets = (size, spec.l_output) if spec.l_output else (size,)
    if spec.target == "class":
        y = torch.randint(spec.d_output, targets)
    elif spec.target == "labels":
        y = torch.rand(*targets, spec.d_output).round()
    else:
        y = torch.randn(*targets, spec.d_output)
    return on_device(Batch(x, y, torch.full((rows,), spec.l_max) if spec.lengths else None), device)


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Return the batch on a device."""
    return Batch(batch.x.to(device), batch.y.to(device), None if batch.lengths is None else batch.lengths.to(device))


def step_seconds(model: nn.Module, spec: Spec, batch: Batch, device: torch.device) -> float:
    """Return the seconds of the forward pass, the loss and the backward pass, the least of :data:`STEPS` steps."""
    model = model.to(device).train()
    step = _forward_backward(model, spec, on_device(batch, device))
    step()
    return min(timed(step, device) for _ in range(STEPS))


def _forward_backward(model: nn.Module, spec: Spec, batch: Batch) -> Callable[[], None]:
    def step() -> None:
        model.zero_grad()
        count, loss, _ = target_sums(spec, model(batch.x, batch.lengths), batch.y)
        (loss / count).backward()

    return step
