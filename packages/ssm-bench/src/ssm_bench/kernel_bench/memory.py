"""The most memory that a call needs: of torch's allocator, and of a whole process that does nothing else.

As a module it is such a process: it makes a call twice and prints how much of it was in memory at most.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from ssm_bench.kernel_bench.grid import Problem
from ssm_bench.kernel_bench.problems import make_case

_PROCESS = Path("/proc/self/status")


def peak_memory(call: Callable[[], object], device: torch.device) -> float:
    """Bytes that torch's allocator holds at most during a call, above those before it."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    results = profile.profiler.kineto_results  # type: ignore[union-attr]
    events = [event for event in results.events() if event.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest


def peak_resident(problem: Problem, backend: str, work: str) -> float:
    """Bytes of memory that a process of its own occupies at most, Python, torch and parameters included, while it does
    the work twice on the CPU (the second training step has the state of the optimiser); nan where the system has no
    ``/proc``."""
    if not _PROCESS.exists():
        return float("nan")
    words = [sys.executable, "-m", __name__, json.dumps(asdict(problem)), backend, work]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def free_memory(device: torch.device) -> float:
    """Bytes that may still be taken."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def _main(problem: str, backend: str, work: str) -> None:
    call = make_case(Problem(**json.loads(problem)), torch.device("cpu")).call(backend, work)
    for _ in range(2):
        call()
    fields = dict(line.split(":", 1) for line in _PROCESS.read_text().splitlines())
    print(1024 * int(fields["VmHWM"].split()[0]))


if __name__ == "__main__":
    _main(*sys.argv[1:])
