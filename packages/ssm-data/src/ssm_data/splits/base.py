"""Base of all splits: their interface, and memory-mapped arrays that every process opens from disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol

import numpy as np

from ssm_data.cache import Entry, Writer
from ssm_data.errors import DataError


class Split(Protocol):
    """The examples of one split, by index."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...
    def lengths(self) -> np.ndarray | None:
        """Return the length of each example (for pairs: of the longer member), or None if all lengths are equal."""

    def downsampled(self, rate: int) -> Split:
        """Return the same examples with ``rate`` times fewer samples along each axis.

        Raises:
            ValueError: the examples are neither signals nor images.
        """


class Endless:
    """Base of splits with an unlimited number of examples: every epoch reads new, randomly drawn examples.

    Attributes:
        repeats: number of times that an epoch reads each example that it takes; the copies of example n have the
            indices n + length, n + 2 length, and so on.
    """

    repeats: int = 1

    def seeded(self, seed: int) -> Split:
        """Return the split whose examples are drawn with another seed."""
        raise NotImplementedError


class OnDisk:
    """A dataclass that pickles its memory-mapped arrays as paths, so that other processes open the same files."""

    def __reduce__(self) -> Any:
        values = [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]
        return _restore, (type(self), [_Path(v.filename) if isinstance(v, np.memmap) else v for v in values])

    def downsampled(self, rate: int) -> Split:
        raise ValueError("Only signals and images can be taken at a lower sampling rate; these data are neither.")


class _Path(NamedTuple):
    path: Any


def _restore(kind: type, values: list[Any]) -> Any:
    return kind(*(np.load(v.path, mmap_mode="r") if isinstance(v, _Path) else v for v in values))


@dataclass(frozen=True)
class Ragged(OnDisk):
    """Concatenated sequences of different lengths: sequence i is ``flat[offsets[i]:offsets[i + 1]]``."""

    flat: np.ndarray
    offsets: np.ndarray

    def __getitem__(self, index: int) -> np.ndarray:
        return self.flat[self.offsets[index] : self.offsets[index + 1]]

    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    @staticmethod
    def store(writer: Writer, name: str, sequences: Sequence[np.ndarray]) -> None:
        """Write sequences under a name."""
        writer.array(f"{name}_flat", np.concatenate(sequences))
        writer.array(f"{name}_offsets", np.cumsum([0, *map(len, sequences)]))

    @staticmethod
    def empty(writer: Writer, name: str, sizes: Sequence[int], dtype: np.typing.DTypeLike) -> Ragged:
        """Create sequences of the given sizes on disk; the caller fills them one by one."""
        offsets = np.cumsum([0, *sizes])
        writer.array(f"{name}_offsets", offsets)
        return Ragged(writer.empty(f"{name}_flat", (int(offsets[-1]),), dtype), offsets)

    @staticmethod
    def open(entry: Entry, name: str) -> Ragged:
        """Open the sequences that :meth:`store` wrote.

        Raises:
            DataError: the two arrays do not fit together, so one of them is damaged.
        """
        flat, offsets = entry.array(f"{name}_flat"), entry.array(f"{name}_offsets")
        right = offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) > 0
        if not (right and offsets[0] == 0 and offsets[-1] == len(flat) and (offsets[:-1] <= offsets[1:]).all()):
            raise DataError(
                f"{entry.folder}/{name}_offsets.npy is damaged; delete the folder {entry.folder} and prepare the data "
                "again."
            )
        return Ragged(flat, offsets)


@dataclass(frozen=True)
class Selection(OnDisk):
    """A selection of the stored examples: ``index`` holds the row of each example."""

    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int, /) -> Any:
        raise NotImplementedError

    def lengths(self) -> np.ndarray | None:
        return None

    def digest(self) -> str:
        """Return the hash of the rows that the split selects from the stored arrays."""
        return hashlib.sha256(self.index.astype("<i8").tobytes()).hexdigest()


@dataclass(frozen=True)
class Labelled(Selection):
    """Examples with one target each, a class or a number; ``targets`` has one row for each stored example."""

    targets: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Return the targets of the examples of this split."""
        return self.targets[self.index]


def shuffled(size: int, seed: int) -> np.ndarray:
    """Return the permutation that ``torch.utils.data.random_split`` uses with a generator of this seed."""
    import torch

    return torch.randperm(size, generator=torch.Generator().manual_seed(seed)).numpy()
