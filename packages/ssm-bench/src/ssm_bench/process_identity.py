"""Identify a process by its id and its start time, because the system reuses process ids."""

from __future__ import annotations

import os
import socket
import subprocess
from functools import lru_cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def start_of(pid: int) -> str:
    """Return a text that differs between two processes with the same id; empty if there is no such process.

    The text contains the boot of the machine and the start time of the process, so it differs between machines, too.
    """
    stat = Path(f"/proc/{pid}/stat")
    if _BOOT_ID.is_file():
        try:
            # The name of the program, in parentheses, may hold spaces; the start is field 22 (proc(5)).
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        state, started = fields[0], fields[19]
        # A zombie has ended; its parent has not yet read its exit status.
        return "" if state in "ZX" else f"{_boot_id()} {started}"
    listed = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)],
        env=os.environ | {"LC_ALL": "C", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
    )
    return listed.stdout.strip()


def own_start() -> str:
    """Return the text of :func:`start_of` for this process."""
    return start_of(os.getpid())


def is_running(host: str, pid: int, start: str) -> bool:
    """Return whether the process that once had this id, on this host, still runs; False if it ran on another machine.

    Args:
        start: what :func:`start_of` returned while the process ran. If it is empty, the start is unknown, and the
            result is False.
    """
    return host == socket.gethostname() and start != "" and start_of(pid) == start


@lru_cache(maxsize=1)
def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()
