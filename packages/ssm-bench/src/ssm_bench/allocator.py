"""Keep freed memory in a process. Every process that trains on a CPU, or measures training, calls this."""

import ctypes
import sys

#: Names of settings in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
#: The largest value of a setting.
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Make the C library keep the memory of freed tensors for the next tensors, as torch does on a GPU.

    glibc returns large blocks to the system, and then each training step gets them again page by page, filled with
    zeros. With these settings the process never returns memory. With other C libraries this function does nothing.
    Source: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _LARGEST)
