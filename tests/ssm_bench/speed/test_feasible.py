"""Time and memory of a problem, judged from two small ones."""

import dataclasses

import pytest
import torch
from ssm_bench import memory
from ssm_bench.speed import cases, feasible
from ssm_bench.speed.grid import Problem
from ssm_testing.problems import CPU


def test_on_a_gpu_memory_that_libraries_keep_is_not_foreseen_to_grow(monkeypatch):
    class Linear:
        works = ("forward",)

        def __init__(self, problem, device):
            self.length = problem.L

        def call(self, backend, work):
            return lambda: self.length + (libraries.pop() if libraries else 0)

    libraries = [2**25]
    monkeypatch.setattr(feasible, "make_case", Linear)
    monkeypatch.setattr(feasible, "peak_of_call", lambda call, device: call())
    monkeypatch.setattr(feasible, "timed", lambda call, device: 1.0)
    expected = feasible.expect(Problem("vandermonde", 0, 32, 4, 2**16), False, "torch", torch.device("cuda"))
    assert expected == pytest.approx((2**16, 64))


def test_memory_is_foreseen_from_its_growth():
    """The naive convolution holds matrices of L x L."""
    problem = Problem("long_conv", 2, 20, 0, 2048)
    case = cases.make_case(problem, CPU)
    foreseen, _ = feasible.expect(problem, False, "naive", CPU)
    found = memory.peak_of_call(case.call("naive", "forward+backward"), CPU)
    assert foreseen == pytest.approx(found, rel=0.3)
    assert "more than half of the" in feasible.why_not(dataclasses.replace(problem, L=2**20), case, "naive", CPU)
