"""The recurrence of a diagonal SSM, computed by cuda/scan.cu."""

from collections.abc import Callable

from torch import Tensor
from torch.library import CustomOpDef

from ssm_kernels.compiler import THREADS, Unit
from ssm_kernels.ops import common
from ssm_kernels.ops.common import WARP, blocks, dense
from ssm_kernels.runtime import Launch

#: Time is cut into segments if the sequences make fewer blocks than this. Cutting costs two thirds more arithmetic.
SPLIT = 192
#: Most blocks if time is cut. More segments do not cost more, and with more blocks one can compute while another waits.
CUT = 1024
#: Fewest samples of a segment if time is cut.
LEAST_SEGMENT = 256


def diagonal_scan(u: Tensor, x0: Tensor, a_bar: Tensor, b_bar: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Run ``x[l] = a_bar x[l-1] + b_bar u[l]``, ``y[l] = 2 Re sum_m c x[l]`` in one fused kernel.

    A single sample or many sequences need one launch, and the states stay in registers. If sequences are few and long,
    two more launches come first; they compute the states at the borders of the segments.

    Args:
        u: input, real (B, L, H).
        x0: state before the first sample, complex (B, H, M, 2), for any M.
        a_bar: complex (H, M, 2), of modulus at most about 1.
        b_bar: complex (H, M, 2).
        c: complex (C, H, M, 2), for any number of channels C.

    Returns:
        y, real (B, L, C, H), and the state after the last sample, complex (B, H, M, 2).

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        NotImplementedError: a tensor is not on a CUDA device.
    """
    common.check_float32(u=u, x0=x0, a_bar=a_bar, b_bar=b_bar, c=c)
    check_shapes("diagonal_scan", u, x0, a_bar, b_bar, c)
    return over_channels(diagonal_scan_op, u, x0, a_bar, b_bar, c)


def check_shapes(name: str, u: Tensor, x0: Tensor, a_bar: Tensor, b_bar: Tensor, c: Tensor) -> None:
    """Refuse shapes that a recurrence cannot have.

    Raises:
        ValueError: the shapes do not fit together.
    """
    if u.dim() != 3 or c.dim() != 4 or 0 in (*u.shape, *c.shape):
        fits = False
    else:
        (B, _, H), (C, _, M, _) = u.shape, c.shape
        expected = (B, H, M, 2), (H, M, 2), (H, M, 2), (C, H, M, 2)
        fits = all(each.shape == shape for each, shape in zip((x0, a_bar, b_bar, c), expected, strict=True))
    if not fits:
        raise ValueError(
            f"{name} takes u (B, L, H), x0 (B, H, M, 2), a_bar (H, M, 2), b_bar (H, M, 2) and c (C, H, M, 2), "
            f"not {common.shapes(u, x0, a_bar, b_bar, c)}."
        )


def over_channels(
    scan: Callable[..., tuple[Tensor, Tensor]], u: Tensor, x0: Tensor, a_bar: Tensor, b_bar: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    """Run a scan of one channel over any number of channels.

    Args:
        scan: takes ``c`` of one channel, complex (H, M, 2).

    Returns:
        The outputs, real (B, L, C, H), and the last state.
    """
    (B, L, H), (C, _, M, _) = u.shape, c.shape
    if C == 1:  # a step runs for each sample, so an unneeded call costs time
        y, x = scan(u, x0, a_bar, b_bar, c[0])
        return y.unsqueeze(2), x
    # Channels become further heads with the same input and state.
    y, x = scan(
        u.unsqueeze(2).expand(B, L, C, H).flatten(2),
        x0.unsqueeze(1).expand(B, C, H, M, 2).flatten(1, 2),
        a_bar.expand(C, H, M, 2).flatten(0, 1),
        b_bar.expand(C, H, M, 2).flatten(0, 1),
        c.flatten(0, 1),
    )
    return y.view(B, L, C, H), x[:, :H]


def unit(M: int) -> Unit:
    """Return the source, specialised to a number of states."""
    return Unit("scan.cu", (("WIDTH", min(WARP, 1 << (M - 1).bit_length())),))


def head_blocks(H: int, M: int) -> int:
    """Return how many blocks cover the heads of one row of the batch."""
    return blocks(H, THREADS // dict(unit(M).constants)["WIDTH"])


def segment_length(B: int, L: int, H: int, M: int) -> int:
    """Return how many samples a segment has; L if time is not cut."""
    uncut = B * head_blocks(H, M)
    segments = max(1, min(L // LEAST_SEGMENT, CUT // uncut)) if uncut < SPLIT else 1
    return blocks(L, segments)


def states(launch: Launch, u: Tensor, begin: Tensor, a: Tensor, b: Tensor, c: Tensor, transposed: bool) -> Tensor:
    """Return the states at the starts of the segments, complex (B, segments, H, M, 2), from ``begin``.

    If ``transposed``, the scan runs against time, and a segment starts at its last sample.
    """
    (B, L, H), M = u.shape, a.shape[1]
    Q = segment_length(B, L, H, M)
    segments = blocks(L, Q)
    if segments == 1:
        return begin
    ends = begin.new_empty(B, segments, H, M, 2)
    grid = (B * head_blocks(H, M), segments, blocks(M, WARP))
    launch(unit(M), "scan_ends", grid, (u, a, b, c, ends, H, M, L, Q, transposed))
    return carry(launch, begin, a, ends, L, Q, transposed)


def carry(launch: Launch, begin: Tensor, a: Tensor, ends: Tensor, L: int, Q: int, transposed: bool) -> Tensor:
    """Turn the final states of segments that start from zero into the first states of all segments.

    Args:
        ends: complex (B, segments, H, M, 2), for segments of Q samples; overwritten.
    """
    B, segments, H, M, _ = ends.shape
    grid = (blocks(B * H * M, THREADS), 1, 1)
    launch(unit(M), "scan_carry", grid, (begin, a, ends, B, H * M, segments, L, Q, transposed))
    return ends


def outputs(
    launch: Launch, u: Tensor, starts: Tensor, a: Tensor, b: Tensor, c: Tensor, transposed: bool
) -> tuple[Tensor, Tensor]:
    """Return the outputs (B, L, H) and the last state, given the first states of the segments."""
    (B, L, H), M = u.shape, a.shape[1]
    Q = segment_length(B, L, H, M)
    y, last = u.new_empty(B, L, H), a.new_empty(B, H, M, 2)
    grid = (B * head_blocks(H, M), blocks(L, Q), 1)
    launch(unit(M), "scan_outputs", grid, (u, starts, a, b, c, y, last, H, M, L, Q, transposed))
    return y, last


def forward(launch: Launch, u: Tensor, x0: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    u, x0, a, b, c = map(dense, (u, x0, a, b, c))
    return outputs(launch, u, states(launch, u, x0, a, b, c, False), a, b, c, False)


def backward(
    launch: Launch, grad_y: Tensor, grad_x: Tensor, u: Tensor, x0: Tensor, a: Tensor, b: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    grad_y, grad_x, u, x0, a, b, c = map(dense, (grad_y, grad_x, u, x0, a, b, c))
    (B, L, H), M = u.shape, a.shape[1]
    Q = segment_length(B, L, H, M)
    segments = blocks(L, Q)
    starts = states(launch, u, x0, a, b, c, False)
    stops = states(launch, grad_y, grad_x, a, b, c, True)
    du, dx0 = outputs(launch, grad_y, stops, a, b, c, True)
    parts = a.new_empty(3, B * segments, H, M, 2)
    grid = (B * head_blocks(H, M), segments, blocks(M, WARP))
    launch(unit(M), "scan_gradients", grid, (u, grad_y, starts, stops, a, b, c, parts, H, M, L, Q))
    da, db, dc = (each.sum(0) for each in parts)
    return du, dx0, da, db, dc


def scan_operators(name: str, forward: Callable, backward: Callable) -> tuple[CustomOpDef, CustomOpDef]:
    """Register a scan of one channel as an operator, and its gradient as another."""
    scan = common.operator(
        name,
        "(Tensor u, Tensor x0, Tensor a, Tensor b, Tensor c) -> (Tensor, Tensor)",
        forward,
        lambda u, x0, a, b, c: (u.new_empty(u.shape), x0.new_empty(x0.shape)),
    )
    gradient = common.operator(
        f"{name}_backward",
        "(Tensor grad_y, Tensor grad_x, Tensor u, Tensor x0, Tensor a, Tensor b, Tensor c)"
        " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
        backward,
        lambda grad_y, grad_x, *inputs: tuple(each.new_empty(each.shape) for each in inputs),
    )
    scan.register_autograd(
        lambda ctx, grad_y, grad_x: gradient(grad_y, grad_x, *ctx.saved_tensors), setup_context=common.keep_inputs
    )
    return scan, gradient


diagonal_scan_op, diagonal_scan_backward_op = scan_operators("diagonal_scan", forward, backward)
