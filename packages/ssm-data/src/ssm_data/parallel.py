"""Run independent jobs on all cores, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Up to this many jobs run in the calling process.
FEW = 3

Job = TypeVar("Job")
Result = TypeVar("Result")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def mapped(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    title: str,
    progress: bool,
) -> Iterator[Result]:
    """Yield ``work(job)`` for each job, in order; compute them on all cores.

    At most ``FEW`` jobs run in this process. More jobs run in new interpreters: forking may hang if the process runs
    threads, as it does after importing torch. Therefore ``work`` must be importable.
    """
    processes = min(cores(), len(jobs))
    if processes == 1 or len(jobs) <= FEW:
        yield from tracked(map(work, jobs), len(jobs), title=title, progress=progress)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from tracked(pool.map(work, jobs), len(jobs), title=title, progress=progress)


def tracked(items: Iterable[Result], total: int, *, title: str, progress: bool) -> Iterator[Result]:
    """Yield the items, and draw a progress bar on standard error."""
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        yield from bar.track(items, total=total, description=title)
