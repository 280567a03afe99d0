"""What the kinds of splits share: their contract, and arrays that every process reads from disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol

import numpy as np

from ssm_data.cache import Entry, Writer
from ssm_data.errors import DataError


class Split(Protocol):
    """Examples of one split by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...
    def lengths(self) -> np.ndarray | None:
        """Return the length of each example (of the longer member of a pair), or None if all are equal."""

    def downsampled(self, rate: int) -> Split:
        """Return the same examples with ``rate`` times fewer samples along each axis.

        Raises:
            ValueError: the examples are neither signals nor images.
        """


class Endless:
    """Base of splits whose examples have numbers without end: every epoch reads others, drawn anew.

    Attributes:
        repeats: number of times that an epoch reads each example that it takes; the copies of example n have the
            numbers n plus the length, n plus twice the length, and so on.
    """

    repeats: int = 1

    def seeded(self, seed: int) -> Split:
        """Return the split whose examples are drawn with another seed."""
        raise NotImplementedError


class OnDisk:
    """A dataclass whose memory-mapped arrays travel to other processes as paths and not as contents."""

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
    """Sequences of different lengths, end to end: number i is ``flat[offsets[i]:offsets[i + 1]]``."""

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
        """Create sequences of the given sizes on disk, to be filled one by one."""
        offsets = np.cumsum([0, *sizes])
        writer.array(f"{name}_offsets", offsets)
        return Ragged(writer.empty(f"{name}_flat", (int(offsets[-1]),), dtype), offsets)

    @staticmethod
    def open(entry: Entry, name: str) -> Ragged:
        """Open what :meth:`store` wrote.

        Raises:
            DataError: the two arrays do not belong together, so that one of them is damaged.
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
    """The examples that are stored at the places ``index``."""

    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int, /) -> Any:
        raise NotImplementedError

    def lengths(self) -> np.ndarray | None:
        return None

    def digest(self) -> str:
        """Return the hash of what the split takes of the stored arrays."""
        return hashlib.sha256(self.index.astype("<i8").tobytes()).hexdigest()


@dataclass(frozen=True)
class Labelled(Selection):
    """Examples with a class or a number each; ``targets`` holds those of all stored examples."""

    targets: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Return the targets of the examples of this split."""
        return self.targets[self.index]


def shuffled(size: int, seed: int) -> np.ndarray:
    """Return the permutation by which ``torch.utils.data.random_split`` cuts a data set with a seeded generator."""
    import torch

    return torch.randperm(size, generator=torch.Generator().manual_seed(seed)).numpy()
