"""The recurrence of a diagonal SSM on tensor cores, computed by cuda/chunk.cu and its companions."""

import torch
from torch import Tensor

from ssm_kernels.compiler import THREADS, Unit
from ssm_kernels.ops import common, diagonal_scan
from ssm_kernels.ops.common import WARP, blocks, dense
from ssm_kernels.runtime import Launch

#: Number of samples of a chunk, and number of chunks of a tile.
SIDE = 16
#: Number of samples of a tile.
TILE = SIDE * SIDE
#: Number of states of a table; their real and imaginary parts together fill one side of it.
STATES = SIDE // 2
#: Number of powers of each entry of ``a`` in the tables; see cuda/chunk_system.cu.
POWERS = 5
#: Number of segments that a block processes at once, for the outputs and for the gradients of the parameters.
STRANDS, MOMENT_STRANDS = THREADS // WARP, 2
#: Bytes that the memory reads together, and bytes of the widest access of a thread.
SECTOR, ACCESS = 32, 16
#: Time is cut into segments if the sequences make fewer blocks than this. Cutting adds 50 % to the work.
SPLIT = 256
#: Kinds of tables, with the numbers of cuda/chunk_system.cu.
FORWARD, TRANSPOSED, DERIVATIVES = range(3)

SYSTEM = Unit("chunk_system.cu", ())


def chunked_scan(u: Tensor, x0: Tensor, a_bar: Tensor, b_bar: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Run ``x[l] = a_bar x[l-1] + b_bar u[l]``, ``y[l] = 2 Re sum_m c x[l]`` as matrix products on tensor cores.

    The kernels process the signal in chunks of 16 samples. A float32 signal is split into two tf32 parts, so that the
    errors are as small as in float32. A bfloat16 signal is used as it is, and all other numbers keep more digits, so
    that the errors are those of rounding the result. If 16 does not divide L, ``diagonal_scan`` computes the remaining
    samples, and the signal is copied.

    Args:
        u: input, real (B, L, H), float32 or bfloat16.
        x0: state before the first sample, complex (B, H, M, 2), for any M.
        a_bar: complex (H, M, 2), of modulus at most about 1.
        b_bar: complex (H, M, 2).
        c: complex (C, H, M, 2), for any number of channels C.

    Returns:
        y, real (B, L, C, H), in the dtype of u; and the state after the last sample, complex (B, H, M, 2).

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        NotImplementedError: a tensor is not on a CUDA device.
    """
    if u.dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"chunked_scan takes u in float32 or bfloat16, not {u.dtype}; convert it first.")
    common.check_float32(x0=x0, a_bar=a_bar, b_bar=b_bar, c=c)
    if u.device != x0.device:
        raise ValueError(f"u is on {u.device} and the others on {x0.device}; move them together.")
    diagonal_scan.check_shapes("chunked_scan", u, x0, a_bar, b_bar, c)
    return diagonal_scan.over_channels(whole_and_rest, u, x0, a_bar, b_bar, c)


def whole_and_rest(u: Tensor, x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Run the scan: all whole chunks on tensor cores, then the remaining samples with ``diagonal_scan``."""
    L = u.shape[1]
    whole = L // SIDE * SIDE
    if whole == L:
        return chunked_scan_op(u, x, a, b, c)
    outputs = []
    if whole:
        y, x = chunked_scan_op(u[:, :whole], x, a, b, c)
        outputs.append(y)
    y, x = diagonal_scan.diagonal_scan_op(u[:, whole:].float(), x, a, b, c)
    return torch.cat((*outputs, y.to(u.dtype)), 1), x


def unit(source: str, u: Tensor) -> Unit:
    """Return a source, specialised to a signal."""
    pack = ACCESS // u.element_size()
    return Unit(
        source, (("BFLOAT16", int(u.dtype == torch.bfloat16)), ("PACK", pack if u.shape[-1] % pack == 0 else 1))
    )


def head_blocks(u: Tensor) -> int:
    """Return how many blocks cover the heads of a signal."""
    return blocks(u.shape[-1], SECTOR // u.element_size())


def segment_length(u: Tensor) -> int:
    """Return how many samples a segment has, a multiple of TILE; L or more if time is not cut."""
    B, L, _ = u.shape
    segments = max(1, min(L // TILE, SPLIT * STRANDS // (B * head_blocks(u))))
    return blocks(blocks(L, segments), TILE) * TILE


def tables(launch: Launch, a: Tensor, b: Tensor, c: Tensor, kind: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tables of the matrix products.

    These are pairs of tables (H, groups, 2, 256), the response within a chunk (H, 256), and powers of ``a``
    (H, groups, POWERS, STATES, 2).
    """
    H, M, _ = a.shape
    groups = blocks(M, STATES)
    pairs, taps = a.new_empty(H, groups, 2, TILE), a.new_empty(H, TILE)
    powers = a.new_empty(H, groups, POWERS, STATES, 2)
    launch(SYSTEM, "chunk_tables", (H, groups, 1), (a, b, c, pairs, taps, powers, M, kind))
    return pairs, taps, powers


def states(
    launch: Launch, u: Tensor, begin: Tensor, a: Tensor, system: tuple[Tensor, Tensor, Tensor], transposed: bool
) -> Tensor:
    """Return a new tensor of the states at the starts of the segments, complex (B, segments, H, M, 2).

    If ``transposed``, the scan runs against time, and a segment starts at its last sample.
    """
    (B, L, H), M, Q = u.shape, a.shape[1], segment_length(u)
    segments = blocks(L, Q)
    if segments == 1:
        return begin.clone().unsqueeze(1)
    ends = begin.new_zeros(B, segments, H, M, 2)
    pairs, _, powers = system
    grid = (head_blocks(u) * blocks(B * segments, STRANDS), 1, 1)
    launch(unit("chunk.cu", u), "chunk_ends", grid, (u, pairs, powers, ends, B, H, M, L, Q, transposed))
    return diagonal_scan.carry(launch, begin, a, ends, L, Q, transposed)


def outputs(
    launch: Launch, u: Tensor, starts: Tensor, system: tuple[Tensor, Tensor, Tensor], transposed: bool
) -> tuple[Tensor, Tensor]:
    """Return the outputs (B, L, H) and the last state. This overwrites ``starts``."""
    B, L, H = u.shape
    segments, M = starts.shape[1], starts.shape[3]
    y = torch.empty_like(u)
    grid = (head_blocks(u) * blocks(B * segments, STRANDS), 1, 1)
    scalars = (B, H, M, L, segment_length(u), transposed)
    launch(unit("chunk.cu", u), "chunk_outputs", grid, (u, *system, starts, y, *scalars))
    return y, starts[:, 0 if transposed else -1].contiguous()


def forward(launch: Launch, u: Tensor, x0: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    u, x0, a, b, c = map(dense, (u, x0, a, b, c))
    system = tables(launch, a, b, c, FORWARD)
    return outputs(launch, u, states(launch, u, x0, a, system, False), system, False)


def backward(
    launch: Launch, grad_y: Tensor, grad_x: Tensor, u: Tensor, x0: Tensor, a: Tensor, b: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    grad_y, grad_x, u, x0, a, b, c = map(dense, (grad_y, grad_x, u, x0, a, b, c))
    (B, L, H), M, Q = u.shape, a.shape[1], segment_length(u)
    strands = B * blocks(L, Q)
    starts = states(launch, u, x0, a, tables(launch, a, b, c, FORWARD), False)
    transposed = tables(launch, a, b, c, TRANSPOSED)
    stops = states(launch, grad_y, grad_x, a, transposed, True)

    records = a.new_zeros(strands, H, M, 6, 2)
    records[..., 0, :] = starts.flatten(0, 1)
    lags = a.new_zeros(strands, H, TILE)
    pairs, _, powers = tables(launch, a, b, c, DERIVATIVES)
    grid = (head_blocks(u) * blocks(strands, MOMENT_STRANDS), 1, 1)
    arguments = (u, grad_y, pairs, powers, b, records, lags, B, H, M, L, Q)
    launch(unit("chunk_gradient.cu", u), "chunk_moments", grid, arguments)
    da, db, dc = torch.empty_like(a), torch.empty_like(b), torch.empty_like(c)
    launch(SYSTEM, "chunk_parameters", (H, 1, 1), (records, lags, stops, a, b, c, da, db, dc, strands, M))
    du, dx0 = outputs(launch, grad_y, stops, transposed, True)
    return du, dx0, da, db, dc


chunked_scan_op, chunked_scan_backward_op = diagonal_scan.scan_operators("chunked_scan", forward, backward)
