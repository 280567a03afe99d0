"""The one reader of peak memory: of a GPU, or of this process. Imports torch."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

#: Writing 5 to this file makes Linux forget the process's peak memory (proc(5)).
LINUX_RESET = Path("/proc/self/clear_refs")


def reset_peak_memory(device: torch.device) -> None:
    """Forget the peak so far, so that :func:`peak_memory` counts from here."""
    if device.type == "cuda":
        torch.cuda.init()  # before it no device has an allocator
        torch.cuda.reset_peak_memory_stats(device)
    elif LINUX_RESET.exists():
        LINUX_RESET.write_text("5")


def peak_memory(device: torch.device) -> int:
    """Return the peak in bytes since the reset; since the start of the process if the system cannot reset it (macOS)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if LINUX_RESET.exists():
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return 1024 * int(fields["VmHWM"].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
