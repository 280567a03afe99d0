"""Splits of real numbers: images as sequences of pixels, signals, series to be forecast."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ssm_data import cache
from ssm_data.splits.base import Labelled, Selection

DROP_SEED = 56789


@dataclass(frozen=True)
class Pixels(Labelled):
    """8-bit images (K, height, width) or (K, height, width, C) with a class each, as sequences of pixels.

    Values become ``(x / 255 - mean) / std``, numbers or one for each channel. Pixels come row by row, or
    position i of the sequence holds pixel ``order[i]``.
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
    """Real sequences (K, L) or (K, L, C) with a class or a real number each, as ``(x - mean) / std``.

    ``dropped`` percent of the samples of each sequence are lost, always the same: they read 0, and a last
    channel says which samples are there (1) and which are lost (0). Of what results every ``step``-th sample
    is taken.
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
        """Return the split that takes every ``rate``-th sample, the first one included, without a filter."""
        return replace(self, step=self.step * rate)

    def digest(self) -> str:
        return cache.digest([super().digest(), self.dropped])


@dataclass(frozen=True)
class Horizons(Selection):
    """A series (T,) and its time stamps (T, C); an example begins at each place of ``index``.

    Its input has the values and stamps of ``past`` steps, and zeros in the ``future`` ones that are asked for.
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
