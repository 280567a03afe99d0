"""Splits of tokens: sequences and pairs with a class, sequences for generation, and streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ssm_data.splits.base import Labelled, OnDisk, Ragged, Selection


@dataclass(frozen=True)
class Sequences(Labelled):
    """Token sequences with one class each."""

    tokens: Ragged

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return tokens (L,) and the class."""
        row = self.index[index]
        return self.tokens[row], int(self.targets[row])

    def lengths(self) -> np.ndarray:
        return self.tokens.lengths()[self.index]


@dataclass(frozen=True)
class Pairs(Labelled):
    """Pairs of token sequences with one class each; pair i consists of ``members[i, 0]`` and ``members[i, 1]``."""

    tokens: Ragged
    members: np.ndarray

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Return tokens (L1,), tokens (L2,) and the class."""
        row = self.index[index]
        first, second = self.members[row]
        return self.tokens[first], self.tokens[second], int(self.targets[row])

    def lengths(self) -> np.ndarray:
        return self.tokens.lengths()[self.members[self.index]].max(axis=1)


@dataclass(frozen=True)
class Generated(Selection):
    """Sequences of 8-bit samples; each sample is predicted from all previous samples, the first one from ``start``."""

    tokens: Ragged
    start: int

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the input samples (L,) and the samples to predict (L,)."""
        target = self.tokens[self.index[index]]
        return np.append(target.dtype.type(self.start), target[:-1]), target

    def lengths(self) -> np.ndarray:
        return self.tokens.lengths()[self.index]


class Window(NamedTuple):
    """A window of a stream: it begins at ``position`` of the row of ``length`` tokens that begins at ``start``.

    The row is rolled: it begins with its token number ``offset``, and its first ``offset`` tokens are moved to its end.
    """

    start: int
    length: int
    offset: int
    position: int


@dataclass(frozen=True)
class Stream(OnDisk):
    """The first ``size + 1`` tokens of a long sequence, read in windows of at most ``l_max``.

    Each token except the first is a target.
    """

    tokens: np.ndarray
    size: int
    l_max: int

    def __len__(self) -> int:
        """Return the number of targets."""
        return self.size

    def __getitem__(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of a window, and the token after each; both are empty past the end of the row."""
        start, length, offset, position = window
        stop = min(position + self.l_max + 1, length)
        row = self.tokens[start + (offset + np.arange(position, stop)) % length]
        return row[:-1], row[1:]

    def lengths(self) -> None:
        return None
