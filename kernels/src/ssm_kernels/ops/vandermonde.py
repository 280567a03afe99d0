"""The kernel of a diagonal SSM, computed by cuda/vandermonde.cu."""

from torch import Tensor

from ssm_kernels.compiler import THREADS, Unit
from ssm_kernels.ops import common
from ssm_kernels.ops.common import TERMS, WARP, blocks, dense
from ssm_kernels.runtime import Launch

STEPS, WARP_ROWS = 64, 4
MAX_ROWS = 16
#: Length of the longest kernel. Positions are counted in float32, which is exact up to this number.
MAX_LENGTH = 1 << 24


def vandermonde(c: Tensor, a: Tensor, L: int) -> Tensor:
    """Return ``K[c, h, l] = 2 Re sum_m c[c, h, m] exp(a[h, m] l)`` for ``l = 0 .. L-1``, from one fused kernel.

    The product ``a l`` has more digits than float32, so that the error does not grow with ``l``.

    Args:
        c: coefficients, complex (C, H, M, 2), for any number of rows C.
        a: exponents of one step, complex (H, M, 2).
        L: length, at most 2^24.

    Returns:
        Real (C, H, L).

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        NotImplementedError: a tensor is not on a CUDA device.
    """
    common.check_float32(c=c, a=a)
    if c.dim() != 4 or a.dim() != 3 or c.shape[1:] != a.shape or a.shape[-1] != 2 or 0 in c.shape:
        raise ValueError(f"vandermonde takes c (C, H, M, 2) and a (H, M, 2), not {common.shapes(c, a)}.")
    if not 1 <= L <= MAX_LENGTH:
        raise ValueError(f"vandermonde computes 1 to {MAX_LENGTH} positions, not {L}.")
    return vandermonde_op(c, a, L)


def unit(L: int) -> Unit:
    """Return the source, specialised to a length."""
    rows = min(MAX_ROWS, 1 << (blocks(L, 2 * THREADS) - 1).bit_length())
    return Unit("vandermonde.cu", (("TERMS", TERMS), ("ROWS", rows), ("STEPS", STEPS), ("WARP_ROWS", WARP_ROWS)))


def forward(launch: Launch, c: Tensor, a: Tensor, L: int) -> Tensor:
    c, a = dense(c), dense(a)
    C, H, M, _ = c.shape
    out = c.new_empty(C, H, L)
    rows = dict(unit(L).constants)["ROWS"]
    grid = (C * H, blocks(L, 2 * THREADS * rows), 1)
    launch(unit(L), "vandermonde_forward", grid, (c, a, out, H, M, L))
    return out


def backward(launch: Launch, grad: Tensor, c: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    grad, c, a = dense(grad), dense(c), dense(a)
    C, H, M, _ = c.shape
    L = grad.shape[-1]
    tiles = blocks(L, THREADS // WARP * WARP_ROWS * STEPS)
    per_block = common.tiles_per_block(tiles, C * H * blocks(M, WARP))
    chunks = blocks(tiles, per_block)
    moments = c.new_empty(chunks, C, H, M, 4)
    grid = (C * H, chunks, blocks(M, WARP))
    launch(unit(L), "vandermonde_moments", grid, (grad, a, moments, H, M, L, per_block))
    return common.gradient(launch, moments, c)


vandermonde_op = common.operator(
    "vandermonde",
    "(Tensor c, Tensor a, SymInt L) -> Tensor",
    forward,
    lambda c, a, L: c.new_empty(c.shape[0], c.shape[1], L),
)
vandermonde_backward_op = common.operator(
    "vandermonde_backward",
    "(Tensor grad, Tensor c, Tensor a) -> (Tensor, Tensor)",
    backward,
    lambda grad, c, a: (c.new_empty(c.shape), a.new_empty(a.shape)),
)
vandermonde_op.register_autograd(
    lambda ctx, grad: (*vandermonde_backward_op(grad, *ctx.saved_tensors), None), setup_context=common.keep_inputs
)
