"""What runs in the processes that the kill harness starts and kills: one command line of ``bench``.

Importing torch takes longer than a whole run of the harness. Therefore the processes are forked from a server that has
imported it, and the ranks of a distributed run are forked, too, where the product spawns them. All processes of a
command belong to one process group, by which the harness finds and kills them.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

#: Modules that the server imports before it forks.
PRELOAD = ("lightning", "hydra", "ssm_bench.run", "ssm_bench.cli.run", "killed_process")


def run_command(words: list[str], benchmarks: Path | None, log: Path) -> None:
    """Run a command line of ``bench`` in a process group of its own and end with its exit status.

    Args:
        benchmarks: the folder of benchmarks; None for that of the checkout.
        log: file to which the output is appended.
    """
    os.setpgid(0, 0)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    from ssm_bench import catalog
    from ssm_bench.cli import main

    if benchmarks is not None:
        catalog.benchmarks_root = lambda: benchmarks
    multiprocessing.set_start_method("fork", force=True)  # the server sets its own method, also for loader workers
    get_context = multiprocessing.get_context

    def forked(method: str | None = None) -> Any:
        return get_context("fork" if method == "spawn" else method)

    multiprocessing.get_context = forked  # type: ignore[assignment]
    sys.exit(main(words))
