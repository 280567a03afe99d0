"""Splits of prepared data: examples by index, read from memory-mapped arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from ssm_data.cache import Entry, Writer

DROP_SEED = 56789


class _OnDisk:
    """A dataclass whose memory-mapped arrays travel to other processes as paths and not as contents."""

    def __reduce__(self) -> Any:
        values = [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]
        return _restore, (type(self), [_Path(v.filename) if isinstance(v, np.memmap) else v for v in values])


class _Path(NamedTuple):
    path: Any


def _restore(kind: type, values: list[Any]) -> Any:
    return kind(*(np.load(v.path, mmap_mode="r") if isinstance(v, _Path) else v for v in values))


@dataclass(frozen=True)
class Ragged(_OnDisk):
    """Sequences of different lengths, end to end: number i is ``flat[offsets[i]:offsets[i + 1]]``."""

    flat: np.ndarray
    offsets: np.ndarray

    def __getitem__(self, index: int) -> np.ndarray:
        return self.flat[self.offsets[index] : self.offsets[index + 1]]

    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    @staticmethod
    def store(writer: Writer, name: str, sequences: Sequence[np.ndarray]) -> None:
        """Writes sequences under a name."""
        writer.array(f"{name}_flat", np.concatenate(sequences))
        writer.array(f"{name}_offsets", np.cumsum([0, *map(len, sequences)]))

    @staticmethod
    def open(entry: Entry, name: str) -> Ragged:
        """Reads what :meth:`store` wrote."""
        return Ragged(entry.array(f"{name}_flat"), entry.array(f"{name}_offsets"))


@dataclass(frozen=True)
class Sequences(_OnDisk):
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
class Pairs(_OnDisk):
    """Pairs of token sequences with a class each; sequences ``members[i, 0]`` and ``members[i, 1]``."""

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
class Pixels(_OnDisk):
    """8-bit images (K, height, width) or (K, height, width, C) with a class each, as sequences of pixels.

    Values become ``(x / 255 - mean) / std``, numbers or one for each channel. Pixels come row by row, or
    position i of the sequence holds pixel ``order[i]``.
    """

    images: np.ndarray
    all_labels: np.ndarray
    index: np.ndarray
    mean: float | np.ndarray = 0.0
    std: float | np.ndarray = 1.0
    order: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        return self.all_labels[self.index]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Pixels (L, C) float32 and class."""
        row = self.index[index]
        image = self.images[row]
        pixels = image.reshape(image.shape[0] * image.shape[1], -1)
        pixels = (pixels if self.order is None else pixels[self.order]).astype(np.float32)
        pixels *= 1 / (255 * self.std)
        pixels -= self.mean / self.std
        return pixels, int(self.all_labels[row])

    def lengths(self) -> None:
        return None


@dataclass(frozen=True)
class Signals(_OnDisk):
    """Real sequences (K, L) or (K, L, C) with a class or a real number each, as ``(x - mean) / std``.

    ``dropped`` percent of the samples of each sequence are lost, always the same: they read 0, and a last
    channel says which samples are there (1) and which are lost (0). Of what results every ``step``-th sample
    is taken.
    """

    signals: np.ndarray
    all_labels: np.ndarray
    index: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    dropped: float = 0.0
    step: int = 1

    @property
    def labels(self) -> np.ndarray:
        return self.all_labels[self.index]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int | np.ndarray]:
        """Samples (L / step, C) float32 and class, or value (1,) float32."""
        row = self.index[index]
        signal = self.signals[row]
        samples = signal.reshape(len(signal), -1).astype(np.float32)
        samples -= self.mean
        samples /= self.std
        if self.dropped:
            samples = self._drop(samples, row)
        label = self.all_labels[row]
        target = np.array([label]) if self.all_labels.dtype.kind == "f" else int(label)
        return np.ascontiguousarray(samples[:: self.step]), target

    def _drop(self, samples: np.ndarray, row: int) -> np.ndarray:
        length = len(samples)
        lost = np.random.default_rng([DROP_SEED, row]).permutation(length)[: int(length * self.dropped / 100)]
        there = np.ones((length, 1), dtype=np.float32)
        samples[lost] = there[lost] = 0
        return np.concatenate([samples, there], axis=1)

    def lengths(self) -> None:
        return None


@dataclass(frozen=True)
class Horizons(_OnDisk):
    """A series (T,) and its time stamps (T, C); an example begins at each place of ``index``.

    Its input has the values and stamps of ``past`` steps, and zeros in the ``future`` ones that are asked for.
    """

    values: np.ndarray
    stamps: np.ndarray
    index: np.ndarray
    past: int
    future: int

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Input (past + future, 1 + C) and target (future, 1), both float32."""
        start = self.index[index]
        now = start + self.past
        x = np.zeros((self.past + self.future, 1 + self.stamps.shape[1]), dtype=np.float32)
        x[: self.past, 0] = self.values[start:now]
        x[: self.past, 1:] = self.stamps[start:now]
        return x, np.array(self.values[now : now + self.future, None])

    def lengths(self) -> None:
        return None

    def variance(self) -> float:
        """Of all targets of all examples."""
        counts = np.zeros(len(self.values))
        counts[self.index + self.past] = 1
        counts = np.convolve(counts, np.ones(self.future))[: len(self.values)]
        mean = np.average(self.values, weights=counts)
        return float(np.average((self.values - mean) ** 2, weights=counts))


@dataclass(frozen=True)
class Generated(_OnDisk):
    """Sequences of 8-bit samples to be generated one by one, each from those before it; the first from ``start``."""

    tokens: Ragged
    index: np.ndarray
    start: int

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """What is known (L,) and what is to be predicted (L,)."""
        target = self.tokens[self.index[index]]
        return np.append(target.dtype.type(self.start), target[:-1]), target

    def lengths(self) -> np.ndarray:
        return self.tokens.lengths()[self.index]


@dataclass(frozen=True)
class Synthetic:
    """Examples that ``make`` draws when they are read; each is a function of (seed, its number)."""

    make: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
    size: int
    seed: tuple[int, ...]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Input and target."""
        return self.make(np.random.default_rng([*self.seed, index]))

    def lengths(self) -> None:
        return None


class Endless(Synthetic):
    """Such examples of which there is no last one; ``size`` make an epoch."""


class Window(NamedTuple):
    """Where a piece of a stream lies: from ``position`` on in a row of ``length`` tokens from ``start`` on.

    The row is rolled: it begins with its token number ``offset`` and goes round.
    """

    start: int
    length: int
    offset: int
    position: int


@dataclass(frozen=True)
class Stream(_OnDisk):
    """The first ``size + 1`` of a long sequence of tokens, read in windows of at most ``l_max``.

    Each token but the first is a target.
    """

    tokens: np.ndarray
    size: int
    l_max: int

    def __len__(self) -> int:
        """Number of targets."""
        return self.size

    def __getitem__(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of the window, and after each of them the next one; both empty past the end of its row."""
        start, length, offset, position = window
        stop = min(position + self.l_max + 1, length)
        row = self.tokens[start + (offset + np.arange(position, stop)) % length]
        return row[:-1], row[1:]

    def lengths(self) -> None:
        return None


def shuffled(size: int, seed: int) -> np.ndarray:
    """The permutation by which ``torch.utils.data.random_split`` cuts a data set with a seeded generator."""
    import torch

    return torch.randperm(size, generator=torch.Generator().manual_seed(seed)).numpy()
