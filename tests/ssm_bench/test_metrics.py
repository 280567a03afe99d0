"""Metrics: which way is better, and how a number is written."""

import pytest
from ssm_bench.metrics import METRICS


@pytest.mark.parametrize(
    ("name", "value", "text", "better"),
    [
        ("accuracy", 0.12345, "12.35 %", 0.2),
        ("perplexity", 20.987, "20.99", 20.0),
        ("bits", 1.23456, "1.235 bits", 1.2),
        ("mse", 0.5, "0.500", 0.4),
        ("rmse", 0.5, "0.500", 0.4),
        ("mae", 0.5, "0.500", 0.4),
    ],
)
def test_every_metric(name: str, value: float, text: str, better: float) -> None:
    metric = METRICS[name]
    assert metric.text(value) == text
    assert metric.best(value, better) == better
    assert (metric.mode == "max") == (better > value)


def test_no_metric_is_left_out() -> None:
    assert set(METRICS) == {"accuracy", "perplexity", "bits", "mse", "rmse", "mae"}
