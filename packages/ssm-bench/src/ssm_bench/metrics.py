"""The metrics of the benchmarks: how to format each, and whether less or more is better. Does not import torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Metric:
    """A number by which runs are compared.

    Attributes:
        title: its name and unit in the title of a table.
        unit: text after a number that is printed outside a table.
        lower_is_better: whether the run with the smaller number is better.
        factor: the number in a table divided by the number in a record.
        decimals: number of decimals in a table.
        most: largest possible number in a record; the smallest is 0.
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
        """Return a record's number as text, with its unit."""
        return f"{self.factor * value:.{self.decimals}f}{self.unit}"


METRICS = {
    "accuracy": Metric("accuracy, per cent", " %", lower_is_better=False, factor=100.0, decimals=2, most=1.0),
    "perplexity": Metric("perplexity", decimals=2),
    "bits": Metric("bits per token", " bits"),
    "mse": Metric("mean squared error"),
    "rmse": Metric("root mean squared error"),
    "mae": Metric("mean absolute error"),
}
