"""Which process a process id means: ids are given again, so an id counts only together with the time of its start."""

from __future__ import annotations

import os
import socket
import subprocess
from functools import lru_cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def start_of(pid: int) -> str:
    """Return a text that differs between two processes with the same id; empty if there is no such process.

    It names the boot of the machine and the start of the process within it, so it differs between machines, too.
    """
    stat = Path(f"/proc/{pid}/stat")
    if _BOOT_ID.is_file():
        try:
            # The name of the program, in parentheses, may hold spaces; the start is field 22 (proc(5)).
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        state, started = fields[0], fields[19]
        # A zombie has ended; only its parent has not asked yet how.
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
    """Return :func:`start_of` this process."""
    return start_of(os.getpid())


def is_running(host: str, pid: int, start: str) -> bool:
    """Return whether the process that once had this id, on this host, still runs; False if it ran on another machine.

    Args:
        start: what :func:`start_of` returned while the process ran. An empty text means that nobody noted it, and
            then the process counts as gone.
    """
    return host == socket.gethostname() and start != "" and start_of(pid) == start


@lru_cache(maxsize=1)
def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()
