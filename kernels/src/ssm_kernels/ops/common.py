"""Functions that all operators share: registration with torch, checks, and sizes of grids."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.library import CustomOpDef

from ssm_kernels import host, runtime
from ssm_kernels.compiler import THREADS, Unit
from ssm_kernels.runtime import Launch

#: Threads of a warp.
WARP = 32
#: Number of terms of a sum that a block holds in shared memory at a time.
TERMS = 32
#: Number of blocks that fill any current GPU. A backward pass gives a block several tiles only if at least this many
#: blocks remain.
FULL_GRID = 1024
#: Most tiles of a block.
MAX_TILES = 8

#: The implementation of every registered operator. Its first argument is the launch function.
IMPLEMENTATIONS: dict[CustomOpDef, Callable] = {}


def operator(name: str, schema: str, implementation: Callable, fake: Callable) -> CustomOpDef:
    """Register ``implementation(launch, *arguments)`` as ``ssm_kernels::name`` for CUDA devices."""
    registered = torch.library.custom_op(
        f"ssm_kernels::{name}",
        partial(implementation, runtime.launch),
        mutates_args=(),
        device_types="cuda",
        schema=schema,
    )
    registered.register_fake(fake)
    IMPLEMENTATIONS[registered] = implementation
    return registered


def emulate_on_cpu() -> None:
    """Register CPU kernels for the operators: the host build of the same sources (:mod:`ssm_kernels.host`).

    This is for tests only.
    """
    for registered, implementation in IMPLEMENTATIONS.items():
        registered.register_kernel("cpu", partial(implementation, host.launch))


def keep_inputs(ctx: Any, inputs: tuple, output: Any) -> None:
    """Keep all tensors among the inputs for the backward pass; an argument of ``register_autograd``."""
    ctx.save_for_backward(*(each for each in inputs if isinstance(each, Tensor)))


def gradient(launch: Launch, moments: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``(dv, dw)`` for the moments (chunks, K, H, M, 4) of coefficients v (K, H, M, 2); see gradient.cu."""
    chunks, K, H, M, _ = moments.shape
    dv, dw = torch.empty_like(v), v.new_empty(H, M, 2)
    grid = (blocks(H * M, THREADS), 1, 1)
    launch(Unit("gradient.cu", ()), "gradient", grid, (moments, v, dv, dw, K, H * M, chunks))
    return dv, dw


def check_float32(**tensors: Tensor) -> None:
    """Refuse tensors that are not float32 or not on one device.

    Raises:
        ValueError: a tensor is not float32, or the tensors are on several devices.
    """
    first = next(iter(tensors.values()))
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            raise ValueError(f"The CUDA kernels compute in float32, but {name} is {tensor.dtype}; convert it first.")
        if tensor.device != first.device:
            raise ValueError(f"{name} is on {tensor.device} and the others on {first.device}; move them together.")


def shapes(*tensors: Tensor) -> str:
    """Format shapes for a message: ``(2, 3) and (4,)``."""
    return " and ".join(str(tuple(tensor.shape)) for tensor in tensors)


def dense(tensor: Tensor) -> Tensor:
    """Return a tensor that is contiguous and aligned for vector loads; copy it if needed.

    A slice of a packed tensor may not be aligned.
    """
    whole = tensor.contiguous()
    return whole if whole.data_ptr() % 16 == 0 else whole.clone()


def blocks(size: int, block: int) -> int:
    """Return how many blocks cover a size."""
    return -(-size // block)


def tiles_per_block(tiles: int, rows: int) -> int:
    """Return how many tiles one block of a backward pass processes.

    Args:
        tiles: number of tiles of a row.
        rows: number of rows, which is the other extent of the grid.
    """
    return max(1, min(MAX_TILES, tiles * rows // FULL_GRID))
