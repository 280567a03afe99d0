"""The timer: turns, bursts, repetitions."""

import time

import pytest
import torch
from ssm_bench.speed import timer

CPU = torch.device("cpu")


def test_calls_take_turns() -> None:
    log: list[str] = []
    calls = {name: lambda name=name: log.append(name) for name in ("a", "b")}
    times = timer.repeat(calls, CPU, 0.0)
    least, _ = timer.REPETITIONS
    assert log == ["a", "b"] * least
    assert {name: len(taken) for name, taken in times.items()} == {"a": least, "b": least}


def test_a_call_is_repeated_until_it_has_taken_the_seconds() -> None:
    calls = {"slow": lambda: time.sleep(0.02), "fast": lambda: None}
    times = timer.repeat(calls, CPU, 0.2)
    assert sum(times["slow"]) >= 0.2
    assert timer.REPETITIONS[0] <= len(times["slow"]) <= 10
    assert len(times["fast"]) == timer.REPETITIONS[1]


def test_a_time_is_the_mean_of_calls_in_a_row() -> None:
    calls = []
    seconds = timer.timed(lambda: (calls.append(0), time.sleep(0.01)), CPU, 3)
    assert len(calls) == 3
    assert 0.01 <= seconds < 0.1


def test_the_rate_of_a_call() -> None:
    assert 5 < timer.rate(lambda: time.sleep(0.01), 0.2) <= 100


def test_on_a_gpu_short_calls_go_in_bursts_between_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: log.append("wait"))
    times = timer.repeat({"short": lambda: log.append("call")}, torch.device("cuda"), 0.0)
    most, _ = timer.BURST
    once, burst = ["wait", "call", "wait"], ["wait", *["call"] * most, "wait"]
    assert log == once + len(times["short"]) * burst
