"""Measure the peak memory of a separate process that does one work. Run as a module, this file is that process."""

import json
import subprocess
import sys
from dataclasses import asdict

import torch

from ssm_bench.memory import LINUX_RESET, peak_memory
from ssm_bench.speed.cases import make_case
from ssm_bench.speed.grid import Problem


def peak_resident(problem: Problem, backend: str, work: str) -> float:
    """Return the peak memory, in bytes, of a separate process that does the work twice on the CPU and nothing else.

    Python, torch and the parameters are included. The work runs twice because only the second training step has the
    state of the optimiser from its beginning. The result is nan if the system has no ``/proc``.
    """
    if not LINUX_RESET.exists():
        return float("nan")
    words = [sys.executable, "-m", __name__, json.dumps(asdict(problem)), backend, work]
    return float(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _main(problem: str, backend: str, work: str) -> None:
    device = torch.device("cpu")
    call = make_case(Problem(**json.loads(problem)), device).call(backend, work)
    for _ in range(2):
        call()
    print(peak_memory(device))


if __name__ == "__main__":
    _main(*sys.argv[1:])
