"""Splits of prepared data: examples by index, read from memory-mapped arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Sequences of different lengths, end to end: number i is ``flat[offsets[i]:offsets[i + 1]]``."""

    flat: np.ndarray
    offsets: np.ndarray

    def __getitem__(self, index: int) -> np.ndarray:
        return self.flat[self.offsets[index] : self.offsets[index + 1]]

    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Sequences:
    """Token sequences with a class each. ``index`` selects the examples of this split."""

    tokens: Ragged
    all_labels: np.ndarray
    index: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.all_labels[self.index]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Tokens (L,) and class."""
        row = self.index[index]
        return self.tokens[row], int(self.all_labels[row])

    def lengths(self) -> np.ndarray:
        return self.tokens.lengths()[self.index]


@dataclass(frozen=True)
class Pairs:
    """Pairs of token sequences with a class each; sequence ``members[i, 0]`` goes with ``members[i, 1]``."""

    tokens: Ragged
    members: np.ndarray
    all_labels: np.ndarray
    index: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.all_labels[self.index]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Tokens (L1,), tokens (L2,) and class."""
        row = self.index[index]
        first, second = self.members[row]
        return self.tokens[first], self.tokens[second], int(self.all_labels[row])

    def lengths(self) -> np.ndarray:
        return self.tokens.lengths()[self.members[self.index]].max(axis=1)


@dataclass(frozen=True)
class Pixels:
    """8-bit images as sequences of pixels, row by row, with a class each; scaled to ``(x/255 - mean) / std``."""

    images: np.ndarray
    all_labels: np.ndarray
    index: np.ndarray
    mean: float = 0.0
    std: float = 1.0

    @property
    def labels(self) -> np.ndarray:
        return self.all_labels[self.index]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Pixels (L, 1) float32 and class."""
        row = self.index[index]
        pixels = self.images[row].reshape(-1, 1).astype(np.float32)
        pixels *= 1 / (255 * self.std)
        pixels -= self.mean / self.std
        return pixels, int(self.all_labels[row])

    def lengths(self) -> None:
        return None
