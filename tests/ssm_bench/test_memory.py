"""Peak memory is that of the device that trains."""

import mmap
from typing import Any

import pytest
import torch
from ssm_bench.memory import peak_memory, reset_peak_memory

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
