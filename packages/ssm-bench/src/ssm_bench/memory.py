"""The only module that measures memory: the peak of a GPU, a process or a call, and free memory. Imports torch."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from ssm_bench import torch_internals

#: Writing 5 to this file makes Linux forget the process's peak memory (proc(5)).
LINUX_RESET = Path("/proc/self/clear_refs")


def reset_peak_memory(device: torch.device) -> None:
    """Forget the peak so far, so that :func:`peak_memory` counts from here."""
    if device.type == "cuda":
        torch.cuda.init()  # before this call, no device has an allocator
        torch.cuda.reset_peak_memory_stats(device)
    elif LINUX_RESET.exists():
        LINUX_RESET.write_text("5")


def peak_memory(device: torch.device) -> int:
    """Return the peak in bytes since the reset, or since the start of the process if there is no reset (macOS)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if LINUX_RESET.exists():
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return 1024 * int(fields["VmHWM"].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def peak_of_call(call: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that torch's allocator holds during a call, above those that it held before the call."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        reset_peak_memory(device)
        call()
        return peak_memory(device) - before
    held = highest = 0
    for change in torch_internals.allocations(call):
        held += change
        highest = max(highest, held)
    return highest


def free_memory(device: torch.device) -> int:
    """Return the bytes that this process can still take on the device."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
