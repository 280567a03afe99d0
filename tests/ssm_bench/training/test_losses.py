"""Losses are sums over targets, exact for every kind of target, and metrics follow from them."""

import math
from dataclasses import replace

import pytest
import torch
from ssm_bench.fit import interface
from ssm_bench.training.losses import metrics, target_sums
from ssm_models.model import build_model
from ssm_models.zoo import ZOO
from ssm_testing.runs import SPEC, random_batch


def test_class_sums_leave_out_positions_without_target() -> None:
    logits = torch.randn(3, 4, 5)
    y = torch.tensor([[1, 2, -100, 0], [4, -100, -100, -100], [3, 3, 0, 1]])
    count, loss, hits = target_sums(replace(SPEC, l_output=4), logits, y).tolist()
    there = y != -100
    picked = torch.log_softmax(logits, -1)[there].gather(1, y[there][:, None])
    assert count == 8
    assert loss == pytest.approx(-picked.sum().item(), rel=1e-5)
    assert hits == (logits.argmax(-1)[there] == y[there]).sum()


def test_mixed_classes_labels_and_values() -> None:
    outputs, y = torch.randn(6, 5), torch.softmax(torch.randn(6, 5), -1)
    count, loss, hits = target_sums(SPEC, outputs, y).tolist()
    assert (count, hits) == (6, (outputs.argmax(-1) == y.argmax(-1)).sum())
    assert loss == pytest.approx(-(y * torch.log_softmax(outputs, -1)).sum().item(), rel=1e-5)
    y = torch.randint(2, (6, 5)).float()
    count, loss, hits = target_sums(replace(SPEC, target="labels"), outputs, y).tolist()
    chance = torch.sigmoid(outputs)
    assert (count, hits) == (30, ((chance > 0.5) == (y == 1)).sum())
    assert loss == pytest.approx(-torch.where(y == 1, chance, 1 - chance).log().sum().item(), rel=1e-5)
    count, square, absolute = target_sums(replace(SPEC, target="value"), outputs, y).tolist()
    assert count == 30
    assert (square, absolute) == pytest.approx((((outputs - y) ** 2).sum().item(), (outputs - y).abs().sum().item()))


def test_metrics_follow_from_the_sums() -> None:
    sums = torch.tensor([4.0, 6.0, 3.0])
    assert metrics(SPEC, sums) == {"loss": 1.5, "accuracy": 0.75}
    assert metrics(replace(SPEC, metric="perplexity"), sums)["perplexity"] == pytest.approx(math.exp(1.5))
    assert metrics(replace(SPEC, metric="bits"), sums)["bits"] == pytest.approx(1.5 / math.log(2))
    value = metrics(replace(SPEC, target="value", metric="mse"), sums)
    assert value == {"loss": 1.5, "mse": 1.5, "rmse": pytest.approx(math.sqrt(1.5)), "mae": 0.75}


CHANGES = pytest.mark.parametrize(
    "change",
    [
        {"l_output": 12},
        {"l_output": 3},
        {"tokens": False, "target": "value", "d_output": 2},
        {"tokens": False, "target": "value", "l_output": 5},
        {"pair": True, "lengths": True},
        {"tokens": False, "target": "labels", "d_output": 7},
    ],
    ids=str,
)


@CHANGES
def test_a_model_gives_what_the_loss_takes(change: dict) -> None:
    spec = replace(SPEC, **change)
    model = build_model(ZOO["s4d"](n_layers=1, d_model=8, d_state=4), interface(spec))
    x, y, lengths = random_batch(spec, 3)
    outputs = model(x, lengths)
    assert outputs.shape == ((3, spec.l_output) if spec.l_output else (3,)) + (spec.d_output,)
    assert torch.isfinite(target_sums(spec, outputs, y)).all()
