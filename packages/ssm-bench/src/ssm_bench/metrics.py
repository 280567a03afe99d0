"""The metrics of the benchmarks: how each is written and which way is better. Does not import torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Metric:
    """A number that a run is judged by.

    Attributes:
        title: what a table's title calls it, with its unit.
        unit: behind a number that stands alone.
        lower_is_better: of two runs the one with the smaller number is better.
        factor: from a record's number to that of a table.
        decimals: of the table.
        most: no record has a larger number; the least is 0.
    """

    title: str
    unit: str = ""
    lower_is_better: bool = True
    factor: float = 1.0
    decimals: int = 3
    most: float = math.inf

    @property
    def mode(self) -> Literal["min", "max"]:
        return "min" if self.lower_is_better else "max"

    @property
    def best(self) -> Callable[..., Any]:
        """``min`` or ``max``."""
        return min if self.lower_is_better else max

    def text(self, value: float) -> str:
        """A record's number with its unit."""
        return f"{self.factor * value:.{self.decimals}f}{self.unit}"


METRICS = {
    "accuracy": Metric("accuracy, per cent", " %", lower_is_better=False, factor=100.0, decimals=2, most=1.0),
    "perplexity": Metric("perplexity", decimals=2),
    "bits": Metric("bits per token", " bits"),
    "mse": Metric("mean squared error"),
    "rmse": Metric("root mean squared error"),
    "mae": Metric("mean absolute error"),
}
