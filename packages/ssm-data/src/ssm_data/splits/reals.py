"""Splits of real numbers: images as sequences of pixels, signals, and series for forecasting."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ssm_data import cache
from ssm_data.splits.base import Labelled, Selection

DROP_SEED = 56789


@dataclass(frozen=True)
class Pixels(Labelled):
    """8-bit images (K, height, width) or (K, height, width, C) with one class each, as sequences of pixels.

    Values become ``(x / 255 - mean) / std``; ``mean`` and ``std`` are numbers, or arrays with one number per channel.
    Position i of the sequence holds pixel ``order[i]``; if ``order`` is None, the pixels follow row by row.
    """

    images: np.ndarray
    mean: float | np.ndarray = 0.0
    std: float | np.ndarray = 1.0
    order: np.ndarray | None = None

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Return pixels (L, C) float32 and the class."""
        row = self.index[index]
        image = self.images[row]
        pixels = image.reshape(image.shape[0] * image.shape[1], -1)
        pixels = (pixels if self.order is None else pixels[self.order]).astype(np.float32)
        pixels *= 1 / (255 * self.std)
        pixels -= self.mean / self.std
        return pixels, int(self.targets[row])


@dataclass(frozen=True)
class Signals(Labelled):
    """Real sequences (K, L) or (K, L, C) with a class or a real number each, standardised to ``(x - mean) / std``.

    ``dropped`` percent of the samples of each sequence are set to 0, always the same samples. An additional last
    channel marks the samples that remain (1) and the samples that were dropped (0). Then every ``step``-th sample is
    taken.
    """

    signals: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    dropped: float = 0.0
    step: int = 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, int | np.ndarray]:
        """Return samples (L / step, C) float32, and the class or a value (1,) float32."""
        row = self.index[index]
        signal = self.signals[row]
        samples = signal.reshape(len(signal), -1).astype(np.float32)
        samples -= self.mean
        samples /= self.std
        if self.dropped:
            samples = self._drop(samples, row)
        label = self.targets[row]
        target = np.array([label]) if self.targets.dtype.kind == "f" else int(label)
        return np.ascontiguousarray(samples[:: self.step]), target

    def _drop(self, samples: np.ndarray, row: int) -> np.ndarray:
        length = len(samples)
        lost = np.random.default_rng([DROP_SEED, row]).permutation(length)[: int(length * self.dropped / 100)]
        there = np.ones((length, 1), dtype=np.float32)
        samples[lost] = there[lost] = 0
        return np.concatenate([samples, there], axis=1)

    def downsampled(self, rate: int) -> Signals:
        """Return a split that takes every ``rate``-th sample, beginning with the first one, without a filter."""
        return replace(self, step=self.step * rate)

    def digest(self) -> str:
        return cache.digest([super().digest(), self.dropped])


@dataclass(frozen=True)
class Horizons(Selection):
    """A series (T,) and its time stamps (T, C); ``index`` holds the step at which each example begins.

    The input holds the values and stamps of ``past`` steps, then zeros for the ``future`` steps that are predicted.
    """

    values: np.ndarray
    stamps: np.ndarray
    past: int
    future: int

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return input (past + future, 1 + C) and target (future, 1), both float32."""
        start = self.index[index]
        now = start + self.past
        x = np.zeros((self.past + self.future, 1 + self.stamps.shape[1]), dtype=np.float32)
        x[: self.past, 0] = self.values[start:now]
        x[: self.past, 1:] = self.stamps[start:now]
        return x, np.array(self.values[now : now + self.future, None])

    def variance(self) -> float:
        """Return the variance of all targets of all examples."""
        counts = np.zeros(len(self.values))
        counts[self.index + self.past] = 1
        counts = np.convolve(counts, np.ones(self.future))[: len(self.values)]
        mean = np.average(self.values, weights=counts)
        return float(np.average((self.values - mean) ** 2, weights=counts))
