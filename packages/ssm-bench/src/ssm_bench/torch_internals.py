"""The private parts of torch that ssm-bench uses. A test names the versions of torch that have them."""

from __future__ import annotations

from collections.abc import Callable

import torch


def allocations(call: Callable[[], object]) -> list[int]:
    """Return the bytes of each allocation (positive) and release (negative) on the CPU during a call, in order."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    results = profile.profiler.kineto_results  # type: ignore[union-attr]
    events = [event for event in results.events() if event.name() == "[memory]"]
    return [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
