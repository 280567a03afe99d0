"""Gated linear map that mixes the features at the end of a layer, in blocks that fit the cache of a CPU."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

#: Size of a block for each thread, in numbers before the gate. A block of this size fits the cache of a core.
_BLOCK = 2**17
#: Smallest number of rows of a block for each thread. Each block reads the whole weight again.
_ROWS = 384


class GatedLinear(nn.Linear):
    """Map (..., d_input) linearly to two halves a and b, and return ``a * sigmoid(b)``, (..., d_output).

    Source: "Language Modeling with Gated Convolutional Networks" (arXiv:1612.08083), equation 1.

    Args:
        d_input: width of the input.
        d_output: width of the output.
    """

    def __init__(self, d_input: int, d_output: int) -> None:
        super().__init__(d_input, 2 * d_output)

    def forward(self, x: Tensor, *, of_gelu: bool = False) -> Tensor:
        """Map x.

        Args:
            x: real (..., d_input).
            of_gelu: map GELU(x) instead of x, without storing all of GELU(x).
        """
        if self._in_blocks(x):
            return _GatedLinear.apply(x, self.weight, self.bias, of_gelu)
        return F.glu(F.linear(F.gelu(x) if of_gelu else x, self.weight, self.bias), -1)

    def _in_blocks(self, x: Tensor) -> bool:
        """Return whether to compute in blocks: on a CPU, if the halves and their gradients exceed its cache."""
        if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
            return False
        return x.dtype in (torch.float32, torch.float64) and x.numel() // x.shape[-1] > _rows(self.out_features)


class _GatedLinear(torch.autograd.Function):
    """The gated linear map in blocks of rows.

    It saves only the output and the gate: the gradient needs ``a * sigmoid(b)``, which is the output, but not ``a``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, of_gelu: bool) -> Tensor:
        width = len(weight)
        gate, out = (x.new_empty(*x.shape[:-1], width // 2) for _ in range(2))
        for x_rows, gate_rows, out_rows in _blocks(width, x, gate, out):
            both = torch.mm(F.gelu(x_rows) if of_gelu else x_rows, weight.T).add_(bias)
            linear, to_gate = both.chunk(2, -1)
            torch.mul(linear, torch.sigmoid(to_gate, out=gate_rows), out=out_rows)
        ctx.save_for_backward(x, weight, gate, out)
        ctx.of_gelu = of_gelu
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, gate, out = ctx.saved_tensors
        width = len(weight)
        grad_x, grad_weight, grad_bias = x.new_empty(x.shape), torch.zeros_like(weight), weight.new_zeros(width)
        for x_rows, gate_rows, out_rows, grad_rows, into in _blocks(width, x, gate, out, grad, grad_x):
            rows = weight.new_empty(len(x_rows), width)
            to_linear, to_gate = rows.chunk(2, -1)
            torch.mul(grad_rows, gate_rows, out=to_linear)
            torch.mul(grad_rows, out_rows, out=to_gate).addcmul_(to_gate, gate_rows, value=-1)
            torch.mm(rows, weight, out=into)
            grad_weight.addmm_(rows.T, F.gelu(x_rows) if ctx.of_gelu else x_rows)
            if ctx.of_gelu:
                torch.ops.aten.gelu_backward.grad_input(into, x_rows, grad_input=into)
            grad_bias += rows.sum(0)
        return grad_x, grad_weight, grad_bias, None


def _blocks(width: int, *tensors: Tensor) -> zip:
    """Return the corresponding blocks of rows of several tensors (..., n)."""
    return zip(*(each.flatten(0, -2).split(_rows(width)) for each in tensors), strict=True)


def _rows(width: int) -> int:
    """Return how many rows make a block."""
    return max(_ROWS, _BLOCK // width) * torch.get_num_threads()
