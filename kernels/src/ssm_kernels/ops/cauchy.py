"""The Cauchy product of S4, computed by cuda/cauchy.cu."""

from torch import Tensor

from ssm_kernels.compiler import THREADS, Unit
from ssm_kernels.ops import common
from ssm_kernels.ops.common import TERMS, WARP, blocks, dense
from ssm_kernels.runtime import Launch

#: Most numerators of a block.
MAX_NUMERATORS = 8


def cauchy(v: Tensor, w: Tensor, y: Tensor) -> Tensor:
    """Return ``sum_m v / (i y - w) + conj(v) / (i y - conj(w))``; one fused kernel computes all numerators.

    Conjugate pairs are summed in real arithmetic. A node close to a pole loses no precision.

    Args:
        v: numerators, complex (K, H, M, 2), for any number K.
        w: poles, complex (H, M, 2), one of each conjugate pair.
        y: real (F,): the nodes are i y; magnitudes up to 1e18. It receives no gradient.

    Returns:
        Complex (K, H, F, 2).

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        NotImplementedError: a tensor is not on a CUDA device.
    """
    common.check_float32(v=v, w=w, y=y)
    if v.dim() != 4 or v.shape[1:] != w.shape or w.shape[-1] != 2 or y.dim() != 1 or 0 in (*v.shape, *y.shape):
        raise ValueError(f"cauchy takes v (K, H, M, 2), w (H, M, 2) and y (F,), not {common.shapes(v, w, y)}.")
    return cauchy_op(v, w, y)


def unit(K: int) -> Unit:
    """Return the source, specialised to a number of numerators."""
    return Unit("cauchy.cu", (("TERMS", TERMS), ("NUMERATORS", min(K, MAX_NUMERATORS))))


def forward(launch: Launch, v: Tensor, w: Tensor, y: Tensor) -> Tensor:
    v, w, y = dense(v), dense(w), dense(y)
    K, H, M, _ = v.shape
    F = y.shape[0]
    out = v.new_empty(K, H, F, 2)
    grid = (H, blocks(F, 2 * THREADS), blocks(K, MAX_NUMERATORS))
    launch(unit(K), "cauchy_forward", grid, (v, w, y, out, K, H, M, F))
    return out


def backward(launch: Launch, grad: Tensor, v: Tensor, w: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    grad, v, w, y = dense(grad), dense(v), dense(w), dense(y)
    K, H, M, _ = v.shape
    F = y.shape[0]
    groups = blocks(K, MAX_NUMERATORS) * blocks(M, WARP)
    tiles = blocks(F, THREADS)
    per_block = common.tiles_per_block(tiles, H * groups)
    chunks = blocks(tiles, per_block)
    moments = v.new_empty(chunks, K, H, M, 4)
    launch(unit(K), "cauchy_moments", (H, chunks, groups), (grad, w, y, moments, K, H, M, F, per_block))
    return common.gradient(launch, moments, v)


cauchy_op = common.operator(
    "cauchy",
    "(Tensor v, Tensor w, Tensor y) -> Tensor",
    forward,
    lambda v, w, y: v.new_empty(v.shape[0], v.shape[1], y.shape[0], 2),
)
cauchy_backward_op = common.operator(
    "cauchy_backward",
    "(Tensor grad, Tensor v, Tensor w, Tensor y) -> (Tensor, Tensor)",
    backward,
    lambda grad, v, w, y: (v.new_empty(v.shape), w.new_empty(w.shape)),
)
cauchy_op.register_autograd(
    lambda ctx, grad: (*cauchy_backward_op(grad, *ctx.saved_tensors), None), setup_context=common.keep_inputs
)
