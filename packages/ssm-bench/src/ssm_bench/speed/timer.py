"""The only timer of the measurements. Imports torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

#: Least and greatest number of repetitions of a call.
REPETITIONS = (5, 50)
#: A burst of calls on a GPU: the greatest number of calls, and the seconds that they should take together.
BURST = (20, 0.01)


def best_device() -> torch.device:
    """Return the GPU if torch finds one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(call: Callable[[], object], device: torch.device, times: int = 1) -> float:
    """Return the seconds that a call takes on the device, as the mean of ``times`` calls in a row."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(times):
        call()
    synchronize(device)
    return (time.perf_counter() - start) / times


def repeat(calls: Mapping[str, Callable[[], object]], device: torch.device, seconds: float) -> dict[str, list[float]]:
    """Return the times in seconds of each call. The calls take turns, so that a busy machine disturbs all alike.

    A call is repeated until its times add up to ``seconds``. Before each repetition of a short call, the same call runs
    once untimed, because in training, too, the same work has run before and left its data in caches and the allocator.
    On a GPU a repetition of a short call is a burst of calls, so that the GPU computes while the next call is launched.
    """
    bursts = {name: _burst(call, device) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    least, most = REPETITIONS
    while True:
        waiting = [
            name for name, taken in times.items() if len(taken) < least or (len(taken) < most and sum(taken) < seconds)
        ]
        if not waiting:
            return times
        for name in waiting:
            if times[name] and min(times[name]) < seconds:
                calls[name]()
            times[name].append(timed(calls[name], device, bursts[name]))


def rate(call: Callable[[], object], seconds: float) -> float:
    """Repeat a call on the CPU for ``seconds`` and return the number of calls per second."""
    start, calls = time.perf_counter(), 0
    while (taken := time.perf_counter() - start) < seconds:
        call()
        calls += 1
    return calls / taken


def _burst(call: Callable[[], object], device: torch.device) -> int:
    most, seconds = BURST
    return max(1, min(most, int(seconds / timed(call, device)))) if device.type == "cuda" else 1
