"""Random batches of every spec, and the time of a forward and backward pass on them."""

import pytest
import torch
from ssm_bench.catalog import benchmark
from ssm_bench.fit import interface
from ssm_bench.recipe import compose_recipe
from ssm_bench.speed import training_step
from ssm_bench.speed.training_step import random_batch, step_seconds
from ssm_data import DATASETS
from ssm_models.model import build_model
from ssm_models.zoo import ZOO
from torch import nn

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", DATASETS)
def test_a_random_batch_has_the_shapes_of_the_data(name: str) -> None:
    spec = DATASETS[name]().expected()
    if spec.l_max > 100_000 or (spec.axes and len(spec.axes) > 2):
        pytest.skip("takes too much memory")
    batch = random_batch(spec, 2, CPU)
    rows = 4 if spec.pair else 2
    extent = spec.axes or (spec.l_max,)
    assert batch.x.shape == ((rows, *extent) if spec.tokens else (rows, *extent, spec.d_input))
    assert batch.x.is_floating_point() != spec.tokens
    targets = (2, spec.l_output) if spec.l_output else (2,)
    assert batch.y.shape == (targets if spec.target == "class" else (*targets, spec.d_output))
    assert (batch.lengths is not None) == spec.lengths
    if spec.target == "labels":
        assert set(batch.y.unique().tolist()) <= {0.0, 1.0}


def test_a_step_is_forward_loss_and_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, _ = compose_recipe(benchmark("lra"), "listops", "s4d", "smoke", None, [])
    spec = recipe.data.expected()
    model: nn.Module = build_model(ZOO["s4d"](d_model=4, d_state=4, n_layers=1), interface(spec)).eval()
    calls = []
    monkeypatch.setattr(training_step, "timed", lambda call, device: (call(), calls.append(device), len(calls))[-1])
    assert step_seconds(model, spec, random_batch(spec, 2, CPU), CPU) == 1
    assert len(calls) == training_step.STEPS
    assert model.training
    assert all(p.grad is not None for p in model.parameters())
