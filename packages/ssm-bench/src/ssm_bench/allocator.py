"""Keeps freed memory in the process; called by every process that trains, or measures training, on a CPU."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let the C library keep what tensors free for the next ones, as torch does on a GPU.

    glibc gives large blocks back to the system, so that each training step gets them anew, page by page and filled with
    zeros. The process stays as large as it once was. Other C libraries are left as they are. Source: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _LARGEST)
