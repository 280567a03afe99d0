"""Peak memory of a device, of the process and of a call."""

import mmap
from typing import Any

import pytest
import torch
from ssm_bench.memory import peak_memory, peak_of_call, reset_peak_memory

GPU = torch.device("cuda", 1)


def test_peak_memory_is_that_of_the_device_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[Any] = []
    monkeypatch.setattr(torch.cuda, "init", lambda: log.append("there are allocators"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", log.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: log.append(device) or 5)
    reset_peak_memory(GPU)
    assert peak_memory(GPU) == 5
    assert log == ["there are allocators", GPU, GPU]


def test_without_a_gpu_it_is_that_of_the_process() -> None:
    device = torch.device("cpu")
    reset_peak_memory(device)
    before = peak_memory(device)
    assert before > 2**20
    with mmap.mmap(-1, 2**27) as block:  # memory that no allocator has kept
        block.write(b"x" * 2**27)
        assert peak_memory(device) >= before + 2**26


def test_a_call_counts_what_is_held_at_once() -> None:
    x = torch.ones(2**18)

    def call() -> torch.Tensor:
        y = x + 1  # 1 MiB
        z = y + 1  # another
        del y
        return z + 1  # a third, after one was released

    assert peak_of_call(call, torch.device("cpu")) == pytest.approx(2 * 2**20, rel=0.01)


def test_on_a_gpu_a_call_counts_from_what_was_held_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: log.clear())
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 100 + 7 * len(log))
    assert peak_of_call(lambda: log.append("call"), GPU) == 7
