"""What every data set is, and what a harness may rely on.

A :class:`Dataset` is a frozen set of options. ``prepare`` turns it into a :class:`Prepared`: arrays on
disk, memory-mapped, cut into splits that depend on a seed and never on the order of a directory.
Nothing here imports torch.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from ssm_data import cache, original_checksums
from ssm_data.errors import DataError
from ssm_data.splits import Labelled, Split

if TYPE_CHECKING:
    import torch

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Spec:
    """What a model must know of prepared data.

    Attributes:
        tokens: the input is integer tokens; otherwise real channels.
        d_input: vocabulary size, or number of channels.
        d_output: number of classes, or of real numbers in a target.
        target: what is to be predicted: a class, real numbers, or ``labels``, yes (1) or no (0) of each output.
        l_max: no sequence is longer.
        axes: sizes of (height, width) or (frames, height, width) of images and videos, ``l_max`` positions in all;
            empty where an input is a sequence.
        l_output: 0 where a sequence has one target; else its last ``l_output`` positions have one each.
        lengths: batches carry lengths, because sequences differ in length.
        pair: an example is two sequences (retrieval).
        stream: each row of a batch goes on where that row of the batch before ended, so that a model may carry
            its state; an epoch starts anew.
        metric: ``accuracy``, ``perplexity``, ``bits`` (a token, to base 2) or ``mse``.
        chance: metric of the best constant guess on the test split.
        sizes: examples per split; predicted tokens where it is a stream.
        fingerprint: hash of the prepared arrays and of what each split takes of them.
    """

    tokens: bool
    d_input: int
    d_output: int
    target: Literal["class", "value", "labels"]
    l_max: int
    l_output: int
    lengths: bool
    pair: bool
    stream: bool
    metric: str
    chance: float
    sizes: dict[str, int]
    fingerprint: str
    axes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where data lies: the user's folder of original files (if any) and the root of prepared caches."""

    data: Path | None
    cache: Path


def default_cache() -> Path:
    """``$SSM_DATA_CACHE``, else ``~/.cache/ssm-data``."""
    return Path(os.environ.get("SSM_DATA_CACHE") or Path.home() / ".cache" / "ssm-data").expanduser()


@dataclass(frozen=True)
class Status:
    """State of a data set at a place: ``ready``, ``preparable`` or ``missing``, with one sentence.

    ``size`` is in bytes on disk: measured where ready, estimated before, None where unknown.
    """

    state: Literal["ready", "preparable", "missing"]
    sentence: str
    size: int | None


class Batch(NamedTuple):
    """One batch.

    ``x``: tokens (B, L) int64, or real (B, L, d_input) float32, of images (B, *axes, d_input). ``y``: classes (B,)
    int64, or their probabilities (B, d_output) float32 where training images are mixed; values or labels
    (B, d_output) float32; where positions have targets, classes (B, l_output) with -100 for none, or values
    (B, l_output, d_output). ``lengths``: (B,) int64, or None where all sequences are equally long. For pairs
    ``x`` is (2B, L) and ``lengths`` (2B,), the first members before the second ones.
    """

    x: torch.Tensor
    y: torch.Tensor
    lengths: torch.Tensor | None


@dataclass(frozen=True)
class Prepared:
    """A data set that is ready to be read.

    For people there are the names of the ``classes``, or of the attributes, and what the ``symbols`` stand for and how
    they read: as ``characters``, as ``bytes`` of UTF-8, as ``words``, or as a nested ``expression``.
    """

    spec: Spec
    splits: Mapping[str, Split]
    classes: Sequence[str] = ()
    symbols: Sequence[str] = ()
    writing: Literal["", "characters", "bytes", "words", "expression"] = ""

    def split(self, name: str) -> Split:
        """The map-style data set of ``train``, ``val`` or ``test``."""
        return self.splits[name]

    def lengths(self, name: str) -> np.ndarray | None:
        """Length of each example of a split, or None where all are equally long."""
        return self.splits[name].lengths()

    def downsampled(self, rate: int) -> Prepared:
        """The same data with ``rate`` times fewer samples along each axis: signals without a filter, images with one.

        So a model is trained or tested at a sampling rate or a resolution of its own; it is told ``rate``.

        Raises:
            ValueError: the examples are neither signals nor images.
        """
        splits = {name: split.downsampled(rate) for name, split in self.splits.items()}
        axes = tuple(-(-size // rate) for size in self.spec.axes)
        spec = replace(
            self.spec,
            l_max=prod(axes) if axes else -(-self.spec.l_max // rate),
            axes=axes,
            fingerprint=cache.digest([self.spec.fingerprint, rate]),
        )
        return replace(self, spec=spec, splits=splits)


@dataclass(frozen=True)
class Preparation:
    """How a data set would be prepared at a place, found without network and without heavy work.

    ``key`` holds what decides the prepared arrays and so names the cache entry; ``write`` fills the
    entry; ``sentence`` says what it will do; ``missing``, if not empty, says why it cannot. ``originals`` are the
    files and folders that are read, as far as they are there in the end.
    """

    key: dict[str, Any]
    write: Callable[[cache.Writer, bool], None]
    sentence: str
    size: int | None = None
    missing: str = ""
    originals: Sequence[Path] = ()


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """Options of a data set; the defaults are the published ones.

    Args:
        miniature: a generated tiny stand-in of the same kind, for trying a pipeline offline.
        limit: sizes of seeded subsets per split; a split that is not named stays whole.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    # Raise it in a class if its prepared arrays change under the same options; the other data sets stay prepared.
    cache_format: ClassVar[int] = 3

    miniature: bool = False
    limit: dict[str, int] | None = field(default=None)

    def __post_init__(self) -> None:
        for split, size in (self.limit or {}).items():
            if split not in SPLITS:
                raise ValueError(f"limit names the split {split!r}; the splits are {', '.join(SPLITS)}.")
            if size < 1:
                raise ValueError(f"limit of {split} is {size}; it must be at least 1.")

    def status(self, place: Place) -> Status:
        """Say what is there and what :meth:`prepare` would do. Read little, and nothing from the network."""
        try:
            preparation = self._planned(place)
        except DataError as error:
            return Status("missing", str(error), None)
        entry = cache.find(self._folder(place, preparation))
        if entry is not None:
            return Status("ready", f"prepared in {entry.folder}", entry.size)
        if preparation.missing:
            return Status("missing", preparation.missing, preparation.size)
        return Status("preparable", preparation.sentence, preparation.size)

    def prepare(self, place: Place, progress: bool = True) -> Prepared:
        """Obtains, verifies and converts what is not prepared yet, and opens it.

        The only step that may touch the network. Safe to repeat and to run many times at once.

        Raises:
            DataError: a source is missing, broken or not the published one.
        """
        preparation = self._planned(place)
        folder = self._folder(place, preparation)
        entry = cache.find(folder)
        if entry is None:
            if preparation.missing:
                raise DataError(preparation.missing)

            def write(writer: cache.Writer) -> None:
                preparation.write(writer, progress)
                original_checksums.record(writer.folder, preparation.originals, progress)

            entry = cache.build(folder, preparation.key, write)
        return self._open(entry)

    def verify(self, place: Place, progress: bool = True) -> list[str]:
        """A sentence for each prepared or original file that is not what it was at preparation; reads them all.

        Raises:
            DataError: the data are not prepared.
        """
        folder = self._folder(place, self._planned(place))
        entry = cache.find(folder)
        if entry is None:
            state = "not whole" if folder.exists() else "not there"
            raise DataError(f"{folder} is {state}; prepare the data and verify them again.")
        return [*entry.verify(), *original_checksums.verify(entry.folder, progress)]

    def _planned(self, place: Place) -> Preparation:
        """Return the preparation at a place.

        Raises:
            DataError: a file or folder that decides it cannot be read.
        """
        try:
            return self._preparation(place)
        except OSError as error:
            raise DataError(
                f"The files of {self.title} cannot be looked for: {error}; mend it and try again."
            ) from error

    def _folder(self, place: Place, preparation: Preparation) -> Path:
        return place.cache / self.name / cache.digest(preparation.key, self.cache_format)

    def _generated_sizes(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """How much of generated splits is needed."""
        limit = self.limit or {}
        return {split: min(limit.get(split, size), size) for split, size in sizes.items()}

    def _subset(self, split: str, size: int) -> np.ndarray:
        """Indices of the seeded subset of a split that ``limit`` asks for, ascending, or of all."""
        wanted = (self.limit or {}).get(split, size)
        if wanted >= size:
            return np.arange(size)
        return np.sort(np.random.default_rng(SPLITS.index(split)).permutation(size)[:wanted])

    def _prepared(
        self,
        entry: cache.Entry,
        splits: Mapping[str, Labelled],
        *,
        tokens: bool,
        d_input: int,
        d_output: int,
        l_max: int = 0,
        axes: tuple[int, ...] = (),
        target: Literal["class", "labels"] = "class",
        pair: bool = False,
        classes: Sequence[str] = (),
        symbols: Sequence[str] = (),
        writing: Literal["", "characters", "expression"] = "",
        view: Mapping[str, Any] | None = None,
    ) -> Prepared:
        """Return opened splits of a classification task with their spec.

        Args:
            l_max, axes: size of an input; give one of them.
            view: options that decide how the stored arrays are read; they become part of the fingerprint.
        """
        seen = [] if view is None else [dict(view)]
        labels = splits["test"].labels
        shares = labels.mean(axis=0) if target == "labels" else np.bincount(labels) / len(labels)
        if self.miniature and tokens:
            lengths = [split.lengths() for split in splits.values()]
            l_max = max(int(length.max()) for length in lengths if length is not None)
        spec = Spec(
            tokens=tokens,
            d_input=d_input,
            d_output=d_output,
            target=target,
            l_max=prod(axes) if axes else l_max,
            l_output=0,
            lengths=tokens,
            pair=pair,
            stream=False,
            metric="accuracy",
            chance=float(np.maximum(shares, 1 - shares).mean() if target == "labels" else shares.max()),
            sizes={name: len(split) for name, split in splits.items()},
            fingerprint=cache.digest([entry.fingerprint, *(split.digest() for split in splits.values()), *seen]),
            axes=axes,
        )
        return Prepared(spec, splits, classes, symbols, writing)

    @abstractmethod
    def _preparation(self, place: Place) -> Preparation: ...

    @abstractmethod
    def _open(self, entry: cache.Entry) -> Prepared: ...
