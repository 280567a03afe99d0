"""The cases of all problems: every back end computes the same, in float64 and in float32."""

import dataclasses

import pytest
import torch
from ssm_bench.speed import cases, measure
from ssm_bench.speed.grid import NAMES
from ssm_testing.problems import CPU, DEVICES, SMALL


@pytest.mark.parametrize("name", NAMES)
def test_back_ends_compute_the_same(name):
    case = cases.make_case(SMALL[name], CPU)
    expected = case.results("naive", double=True)
    assert len(case.backends) > 1
    for backend in case.backends:
        for one, other in zip(case.results(backend, double=True), expected, strict=True):
            assert one.dtype == torch.float64
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8 * other.abs().max().item())


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_float32_is_no_worse_than_naive(name, device):
    """The error is at most 4 times that of naive, or of one rounding if naive has less."""
    L = 1 if SMALL[name].L == 1 else 300
    case = cases.make_case(dataclasses.replace(SMALL[name], N=32, L=L), device)
    truths = case.results("naive", double=True)
    naive = measure.error(case, "naive", truths)
    for backend in case.backends:
        assert 0 < measure.error(case, backend, truths) <= 4 * max(naive, torch.finfo(torch.float32).eps)
