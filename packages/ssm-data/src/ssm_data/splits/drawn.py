"""Splits whose examples are drawn when they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ssm_data.splits.base import Endless, OnDisk


@dataclass(frozen=True)
class Synthetic(OnDisk):
    """Examples that ``make`` draws; example n is a function of (seed, n)."""

    make: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
    size: int
    seed: tuple[int, ...]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return input and target."""
        return self.make(np.random.default_rng([*self.seed, index]))

    def lengths(self) -> None:
        return None


class EndlessSynthetic(Synthetic, Endless):
    """Synthetic examples of unlimited number; an epoch has ``size`` examples."""

    def seeded(self, seed: int) -> Self:
        return replace(self, seed=(*self.seed, seed))
