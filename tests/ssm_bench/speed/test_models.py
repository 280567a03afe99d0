"""The cases of whole models."""

import math

import pytest
import torch
from ssm_bench.speed import cases, models
from ssm_testing.problems import CPU, SMALL


def test_a_training_step_trains():
    """The optimiser changes every parameter."""
    case = cases.make_case(SMALL["s4d-listops-training"], CPU)
    modules = []
    build = models._module
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "_module", lambda *args: modules.append(build(*args)) or modules[-1])
        step = case.call("auto", "training step")
    before = [each.detach().clone() for each in modules[0].parameters()]
    for _ in range(3):
        step()
    assert all(not torch.equal(one, other) for one, other in zip(before, modules[0].parameters(), strict=True))


def test_a_sample_is_one_of_a_cycle_of_all_scales(monkeypatch):
    case = cases.make_case(SMALL["sashimi-step"], CPU)
    seen = []

    def start(backend, model):
        def step(u, state):
            seen.append(state)
            return u, state + 1

        return step, 0

    monkeypatch.setattr(case, "_start", start)
    call = case.call("auto", "sample")
    call()
    call()
    assert seen == list(range(2 * case.units))
    assert case.units == math.prod(case._model().config.pool)
