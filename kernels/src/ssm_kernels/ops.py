"""The operators: launches, and their registration with torch (fake kernels, backward, ``torch.compile``).

Complex tensors are real ones with a trailing 2. All are float32. The backward passes sum in a fixed order,
so that results repeat bit for bit.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ssm_kernels import host, runtime
from ssm_kernels.compiler import THREADS, Unit
from ssm_kernels.runtime import Launch

WARP = 32
TERMS = 32
STEPS, WARP_ROWS = 64, 4
MAX_ROWS = 16
MAX_NUMERATORS = 8
MAX_LENGTH = 1 << 24
"""Longest kernel: positions are counted in float32, which is exact up to here."""
FULL_GRID = 1024
"""Blocks that fill any current GPU; the backward passes give a block more work only beyond it."""
MAX_TILES = 8


def vandermonde(c: Tensor, a: Tensor, L: int) -> Tensor:
    """``K[c, h, l] = 2 Re sum_m c[c, h, m] exp(a[h, m] l)`` for ``l = 0 .. L-1``, in one fused kernel.

    The product ``a l`` is carried beyond float32, so that the error does not grow with ``l``.

    Args:
        c: (C, H, M, 2) complex coefficients; any number of rows C.
        a: (H, M, 2) complex exponents per step.
        L: length, at most 2^24.

    Returns: (C, H, L) real.

    Raises: ValueError if shapes, dtype or devices do not fit; NotImplementedError off CUDA devices.
    """
    _check_float32(c=c, a=a)
    if c.dim() != 4 or a.dim() != 3 or c.shape[1:] != a.shape or a.shape[-1] != 2 or 0 in c.shape:
        raise ValueError(f"vandermonde takes c (C, H, M, 2) and a (H, M, 2), not {_shapes(c, a)}.")
    if not 1 <= L <= MAX_LENGTH:
        raise ValueError(f"vandermonde computes 1 to {MAX_LENGTH} positions, not {L}.")
    return vandermonde_op(c, a, L)


def cauchy(v: Tensor, w: Tensor, y: Tensor) -> Tensor:
    """``sum_m v / (i y - w) + conj(v) / (i y - conj(w))``, all numerators in one fused kernel.

    Conjugate pairs are summed in real arithmetic; a node close to a pole loses no precision.

    Args:
        v: (K, H, M, 2) complex numerators; any number K.
        w: (H, M, 2) complex poles, one of each conjugate pair.
        y: (F,) real: the nodes are i y; magnitudes up to 1e18. It receives no gradient.

    Returns: (K, H, F, 2) complex.

    Raises: ValueError if shapes, dtype or devices do not fit; NotImplementedError off CUDA devices.
    """
    _check_float32(v=v, w=w, y=y)
    if v.dim() != 4 or v.shape[1:] != w.shape or w.shape[-1] != 2 or y.dim() != 1 or 0 in (*v.shape, *y.shape):
        raise ValueError(f"cauchy takes v (K, H, M, 2), w (H, M, 2) and y (F,), not {_shapes(v, w, y)}.")
    return cauchy_op(v, w, y)


def _check_float32(**tensors: Tensor) -> None:
    first = next(iter(tensors.values()))
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            raise ValueError(f"The CUDA kernels compute in float32, but {name} is {tensor.dtype}; convert it first.")
        if tensor.device != first.device:
            raise ValueError(f"{name} is on {tensor.device} and the others on {first.device}; move them together.")


def _shapes(*tensors: Tensor) -> str:
    return " and ".join(str(tuple(tensor.shape)) for tensor in tensors)


def _dense(tensor: Tensor) -> Tensor:
    """Contiguous and aligned for float2 loads, which a slice of a packed tensor may not be."""
    dense = tensor.contiguous()
    return dense if dense.data_ptr() % 8 == 0 else dense.clone()


def _blocks(size: int, block: int) -> int:
    return -(-size // block)


def _tiles_per_block(tiles: int, rows: int) -> int:
    """Tiles that one block of a backward pass treats, given the grid's other extent; from shapes alone."""
    return max(1, min(MAX_TILES, tiles * rows // FULL_GRID))


def _vandermonde_unit(L: int) -> Unit:
    rows = min(MAX_ROWS, 1 << (_blocks(L, 2 * THREADS) - 1).bit_length())
    return Unit("vandermonde.cu", (("TERMS", TERMS), ("ROWS", rows), ("STEPS", STEPS), ("WARP_ROWS", WARP_ROWS)))


def _vandermonde(launch: Launch, c: Tensor, a: Tensor, L: int) -> Tensor:
    c, a = _dense(c), _dense(a)
    C, H, M, _ = c.shape
    out = c.new_empty(C, H, L)
    unit = _vandermonde_unit(L)
    rows = dict(unit.constants)["ROWS"]
    grid = (C * H, _blocks(L, 2 * THREADS * rows), 1)
    launch(unit, "vandermonde_forward", grid, (c, a, out, H, M, L))
    return out


def _vandermonde_backward(launch: Launch, grad: Tensor, c: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    grad, c, a = _dense(grad), _dense(c), _dense(a)
    C, H, M, _ = c.shape
    L = grad.shape[-1]
    unit = _vandermonde_unit(L)
    tiles = _blocks(L, THREADS // WARP * WARP_ROWS * STEPS)
    per_block = _tiles_per_block(tiles, C * H * _blocks(M, WARP))
    chunks = _blocks(tiles, per_block)
    moments = c.new_empty(chunks, C, H, M, 4)
    dc, da = torch.empty_like(c), torch.empty_like(a)
    grid = (C * H, chunks, _blocks(M, WARP))
    launch(unit, "vandermonde_moments", grid, (grad, a, moments, H, M, L, per_block))
    grid = (_blocks(H * M, THREADS), 1, 1)
    launch(unit, "vandermonde_gradient", grid, (moments, c, dc, da, C, H * M, chunks))
    return dc, da


def _cauchy_unit(K: int) -> Unit:
    return Unit("cauchy.cu", (("TERMS", TERMS), ("NUMERATORS", min(K, MAX_NUMERATORS))))


def _cauchy(launch: Launch, v: Tensor, w: Tensor, y: Tensor) -> Tensor:
    v, w, y = _dense(v), _dense(w), _dense(y)
    K, H, M, _ = v.shape
    F = y.shape[0]
    out = v.new_empty(K, H, F, 2)
    grid = (H, _blocks(F, 2 * THREADS), _blocks(K, MAX_NUMERATORS))
    launch(_cauchy_unit(K), "cauchy_forward", grid, (v, w, y, out, K, H, M, F))
    return out


def _cauchy_backward(launch: Launch, grad: Tensor, v: Tensor, w: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    grad, v, w, y = _dense(grad), _dense(v), _dense(w), _dense(y)
    K, H, M, _ = v.shape
    F = y.shape[0]
    unit = _cauchy_unit(K)
    groups = _blocks(K, MAX_NUMERATORS) * _blocks(M, WARP)
    tiles = _blocks(F, THREADS)
    per_block = _tiles_per_block(tiles, H * groups)
    chunks = _blocks(tiles, per_block)
    moments = v.new_empty(chunks, K, H, M, 4)
    dv, dw = torch.empty_like(v), torch.empty_like(w)
    launch(unit, "cauchy_moments", (H, chunks, groups), (grad, w, y, moments, K, H, M, F, per_block))
    grid = (_blocks(H * M, THREADS), 1, 1)
    launch(unit, "cauchy_gradient", grid, (moments, v, dv, dw, K, H * M, chunks))
    return dv, dw


def _operator(name: str, implementation: Callable, schema: str):
    return torch.library.custom_op(
        f"ssm_kernels::{name}",
        partial(implementation, runtime.launch),
        mutates_args=(),
        device_types="cuda",
        schema=schema,
    )


vandermonde_op = _operator("vandermonde", _vandermonde, "(Tensor c, Tensor a, SymInt L) -> Tensor")
vandermonde_backward_op = _operator(
    "vandermonde_backward", _vandermonde_backward, "(Tensor grad, Tensor c, Tensor a) -> (Tensor, Tensor)"
)
cauchy_op = _operator("cauchy", _cauchy, "(Tensor v, Tensor w, Tensor y) -> Tensor")
cauchy_backward_op = _operator(
    "cauchy_backward", _cauchy_backward, "(Tensor grad, Tensor v, Tensor w, Tensor y) -> (Tensor, Tensor)"
)


@vandermonde_op.register_fake
def _(c, a, L):
    return c.new_empty(c.shape[0], c.shape[1], L)


@vandermonde_backward_op.register_fake
def _(grad, c, a):
    return c.new_empty(c.shape), a.new_empty(a.shape)


@cauchy_op.register_fake
def _(v, w, y):
    return v.new_empty(v.shape[0], v.shape[1], y.shape[0], 2)


@cauchy_backward_op.register_fake
def _(grad, v, w, y):
    return v.new_empty(v.shape), w.new_empty(w.shape)


def _keep_vandermonde(ctx, inputs, output):
    c, a, _ = inputs
    ctx.save_for_backward(c, a)


def _keep_cauchy(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


vandermonde_op.register_autograd(
    lambda ctx, grad: (*vandermonde_backward_op(grad, *ctx.saved_tensors), None),
    setup_context=_keep_vandermonde,
)
cauchy_op.register_autograd(
    lambda ctx, grad: (*cauchy_backward_op(grad, *ctx.saved_tensors), None), setup_context=_keep_cauchy
)


def emulate_on_cpu() -> None:
    """Gives the operators CPU kernels: the host build of the same sources (``host``). For tests only."""
    for operator, implementation in (
        (vandermonde_op, _vandermonde),
        (vandermonde_backward_op, _vandermonde_backward),
        (cauchy_op, _cauchy),
        (cauchy_backward_op, _cauchy_backward),
    ):
        operator.register_kernel("cpu", partial(implementation, host.launch))
