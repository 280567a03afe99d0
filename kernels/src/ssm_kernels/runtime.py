"""Check whether the kernels can run on this machine, and launch them on the current stream of torch."""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from ssm_kernels.compiler import THREADS, Unit, cubin, supported_architectures

Grid = tuple[int, int, int]
#: A function that runs a kernel of a unit over a grid of blocks: ``launch(unit, kernel, grid, arguments)``. Tensors are
#: contiguous and are passed as pointers; integers are passed as C ``int``.
Launch = Callable[[Unit, str, Grid, Sequence[Tensor | int]], None]


def architecture(device: torch.device | int | None = None) -> str:
    """Return the architecture of a device as NVRTC names it, such as ``"sm_90"``."""
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


@cache
def available() -> tuple[bool, str]:
    """Return whether the CUDA kernels can be compiled and launched here, and a sentence that says why or why not."""
    try:
        from cuda.bindings import driver  # noqa: F401

        known = supported_architectures()
    except (ImportError, RuntimeError) as error:
        return False, (
            f"NVRTC cannot be loaded ({error}); it comes with PyTorch's CUDA wheels on Linux "
            "(packages cuda-bindings and nvidia-cuda-nvrtc)."
        )
    if not torch.cuda.is_available():
        return False, "torch finds no CUDA device; the CUDA kernels need an NVIDIA GPU and its driver."
    if architecture() not in known:
        return False, (
            f"The installed NVRTC does not compile for this GPU's architecture {architecture()}, "
            f"only for {', '.join(known)}."
        )
    return True, f"Kernels are compiled for {architecture()} at first use ({torch.cuda.get_device_name()})."


def driver_call(function, *arguments):
    """Call a driver function of ``cuda.bindings`` and return its result without the status."""
    from cuda.bindings import driver

    status, *results = function(*arguments)
    if status != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"CUDA driver: {function.__name__} failed with {status.name}.")
    return results[0] if results else None


@cache
def primary_context(device: int):
    """Return the context that torch uses on a device."""
    from cuda.bindings import driver

    return driver_call(driver.cuDevicePrimaryCtxRetain, driver_call(driver.cuDeviceGet, device))


@cache
def load_module(unit: Unit, device: int):
    """Load the machine code of a unit into the context of the device, which must be the current device."""
    from cuda.bindings import driver

    return driver_call(driver.cuModuleLoadData, cubin(unit, architecture(device)))


@cache
def load_kernel(unit: Unit, kernel: str, device: int):
    from cuda.bindings import driver

    return driver_call(driver.cuModuleGetFunction, load_module(unit, device), kernel.encode())


def launch(unit: Unit, kernel: str, grid: Grid, arguments: Sequence[Tensor | int]) -> None:
    """Launch a kernel on the current stream of the tensors' device, and do not wait for it; see ``Launch``."""
    from cuda.bindings import driver

    values = tuple(a.data_ptr() if isinstance(a, Tensor) else a for a in arguments)
    types = tuple(ctypes.c_void_p if isinstance(a, Tensor) else ctypes.c_int for a in arguments)
    with torch.cuda.device(next(argument.device for argument in arguments if isinstance(argument, Tensor))):
        device = torch.cuda.current_device()
        # A thread has no context until torch has used the device in it. Threads of autograd may not have used it yet.
        if not int(driver_call(driver.cuCtxGetCurrent)):
            driver_call(driver.cuCtxSetCurrent, primary_context(device))
        function = load_kernel(unit, kernel, device)
        stream = torch.cuda.current_stream().cuda_stream
        driver_call(driver.cuLaunchKernel, function, *grid, THREADS, 1, 1, 0, stream, (values, types), 0)
