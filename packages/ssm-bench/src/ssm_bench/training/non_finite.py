"""Detect the first number in training that is not finite, and find the layer or parameter that it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ssm_bench.errors import RunError


class DivergedError(RunError):
    """A loss or metric is not finite, so the run has no result. The sentence names step, batch and layer."""


class LossWatch:
    """Checks the loss of each step before that step changes a weight.

    On a GPU, the check waits for the forward pass only; the backward pass may still be running.
    """

    def __init__(self) -> None:
        self._loss: Tensor | None = None
        self._copied: torch.cuda.Event | None = None

    def note(self, loss: Tensor) -> None:
        """Store the loss () of a step, which may be on any device."""
        self._copied = None
        if loss.is_cuda:
            self._loss = torch.empty(loss.shape, dtype=loss.dtype, pin_memory=True)
            self._loss.copy_(loss.detach(), non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()
        else:
            self._loss = loss.detach()

    def is_finite(self) -> bool:
        """Return whether the last stored loss is finite."""
        assert self._loss is not None, "no loss was noted"
        if self._copied is not None:
            self._copied.synchronize()
        return bool(self._loss.isfinite())


def find_origin(model: nn.Module, forward: Callable[[], Any]) -> str:
    """Return a clause that says where numbers stop being finite: in a parameter, or in a layer of a forward pass.

    Args:
        model: the model, with the weights from before the step.
        forward: runs the model on the batch of the step.
    """
    broken = [name for name, parameter in model.named_parameters() if not parameter.isfinite().all()]
    if broken:
        more = f" and {len(broken) - 1} more parameters" if len(broken) > 1 else ""
        return f"{broken[0]}{more} had stopped being finite in an earlier step"
    first: list[str] = []
    names = {module: name for name, module in model.named_modules()}

    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        if not first and _all_finite(inputs) and not _all_finite(output):
            first.append(f"{names[module] or 'model'} ({type(module).__name__})")

    # The hook of a module runs after those of its parts, so the first hook that finds such a number is the innermost.
    hooks = [module.register_forward_hook(look) for module in names]
    try:
        with torch.no_grad():
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return f"the first layer with such a number is {first[0]}" if first else "the output of every layer is finite"


def _all_finite(values: Any) -> bool:
    return all(
        bool(value.isfinite().all())
        for value in tree_leaves(values)
        if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
    )
