"""Matrix products that stay float32, even if the rest of the program allows a lower precision.

``torch.set_float32_matmul_precision("high")``, which many training scripts set, rounds the factors of every float32
product to ten bits (TF32, or bfloat16 on some CPUs). That suits the weights of a network, but it ruins the kernel of a
state space model.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_SETTINGS = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
_lock = threading.Lock()


@torch.library.custom_op("ssm_core::bmm", mutates_args=())
def bmm(x: Tensor, y: Tensor) -> Tensor:
    """Return the batched product of ``x`` (H, n, k) and ``y`` (H, k, m). It is one operator for ``torch.compile``."""
    with _full_float32():
        return torch.bmm(x, y)


@bmm.register_fake
def _(x: Tensor, y: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], y.shape[2])


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, y = ctx.saved_tensors
    wanted = ctx.needs_input_grad
    return bmm(grad, y.mT) if wanted[0] else None, bmm(x.mT, grad) if wanted[1] else None


bmm.register_autograd(_backward, setup_context=_keep)


def einsum(equation: str, x: Tensor, y: Tensor) -> Tensor:
    """Return ``torch.einsum`` of two real tensors, computed as one :func:`bmm`.

    An index that only one of the tensors has must be in the result.
    """
    inputs, result = equation.split("->")
    left, right = inputs.split(",")
    size = dict(zip(left + right, (*x.shape, *y.shape), strict=True))
    batch = [i for i in left if i in right and i in result]
    summed = [i for i in left if i in right and i not in result]
    rows, columns = [i for i in left if i not in right], [i for i in right if i not in left]

    def arrange(z: Tensor, names: str, *groups: list[str]) -> Tensor:
        order = [names.index(i) for group in groups for i in group]
        return z.permute(order).reshape([math.prod([size[i] for i in group]) for group in groups])

    product = bmm(arrange(x, left, batch, rows, summed), arrange(y, right, batch, summed, columns))
    names = batch + rows + columns
    return product.view([size[i] for i in names]).permute([names.index(i) for i in result])


@contextmanager
def _full_float32() -> Iterator[None]:
    """Switch reduced precision off. torch has switches for the process only, not for one call."""
    # The lock keeps products in other threads from reading or writing the settings while this thread changes them.
    _lock.acquire()
    allowed = [setting.fp32_precision for setting in _SETTINGS]
    if all(each in ("none", "ieee") for each in allowed):
        _lock.release()
        yield
        return
    for setting in _SETTINGS:
        setting.fp32_precision = "ieee"
    try:
        yield
    finally:
        for setting, value in zip(_SETTINGS, allowed, strict=True):
            setting.fp32_precision = "none"  # inherit from the wider setting, as before
            if setting.fp32_precision != value:
                setting.fp32_precision = value
        _lock.release()
