"""Interface of the data sets: the classes that every data set and every harness uses.

A :class:`Dataset` is a frozen set of options. ``prepare`` turns it into a :class:`Prepared`: arrays on
disk, memory-mapped, cut into splits that depend on a seed and never on the order of a directory.
Nothing here imports torch.
"""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from ssm_data import cache, options, recorded_checksums
from ssm_data.errors import DataError, DataWarning
from ssm_data.splits import Labelled, Split

if TYPE_CHECKING:
    import torch

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Spec:
    """Properties of a data set that a model needs.

    Attributes:
        tokens: the input consists of integer tokens; otherwise it consists of real channels.
        d_input: vocabulary size, or number of channels.
        d_output: number of classes, or number of real numbers in a target.
        target: what a model predicts: a ``class``, real numbers (``value``), or ``labels``: yes (1) or no (0) for each
            output.
        l_max: maximum length of a sequence.
        l_output: 0 if a sequence has one target; otherwise its last ``l_output`` positions have one target each.
        lengths: batches carry lengths, because sequences differ in length.
        pair: an example is two sequences (retrieval).
        stream: each row of a batch continues the same row of the previous batch, so that a model can carry its state;
            the state must not be carried into the next epoch.
        metric: ``accuracy``, ``perplexity``, ``bits`` (cross entropy of a token, to base 2) or ``mse``.
        chance: metric of the best constant prediction on the test split.
        sizes: number of examples in each split; number of predicted tokens if the data are a stream.
        fingerprint: hash of the prepared arrays and of the examples that each split selects; empty if the data are not
            prepared.
        axes: sizes of (height, width) or (frames, height, width) of images and videos, with ``l_max`` positions in all;
            empty if an input is a sequence.
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
    fingerprint: str = ""
    axes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Place:
    """Two folders: ``data`` holds the user's original files (None: there are none), ``cache`` the prepared arrays."""

    data: Path | None
    cache: Path


def default_cache() -> Path:
    """Return ``$SSM_DATA_CACHE``, or ``~/.cache/ssm-data`` if that variable is not set."""
    return Path(os.environ.get("SSM_DATA_CACHE") or Path.home() / ".cache" / "ssm-data").expanduser()


@dataclass(frozen=True)
class Status:
    """State of a data set at a place, with one sentence.

    Attributes:
        state: ``ready``, ``preparable``, or ``missing``.
        sentence: where the prepared data are, what preparation would do, or what is missing and how to get it.
        size: bytes on disk: measured if the state is ``ready``, otherwise estimated; None if unknown.
    """

    state: Literal["ready", "preparable", "missing"]
    sentence: str
    size: int | None


class Batch(NamedTuple):
    """One batch.

    Attributes:
        x: tokens (B, L) int64, or real numbers (B, L, d_input) float32; images and videos are (B, *axes, d_input). For
            pairs ``x`` is (2B, L): all first members, then all second members.
        y: classes (B,) int64, or their probabilities (B, d_output) float32 if training images are mixed; values or
            labels (B, d_output) float32. If positions have targets: classes (B, l_output), with -100 for a position
            without a target, or values (B, l_output, d_output).
        lengths: (B,) int64, for pairs (2B,); None if all sequences have the same length.
    """

    x: torch.Tensor
    y: torch.Tensor
    lengths: torch.Tensor | None


@dataclass(frozen=True)
class Prepared:
    """A data set that is ready to be read.

    Attributes:
        spec: properties of the data set that a model needs.
        splits: the map-style data sets ``train``, ``val`` and ``test``.
        classes: names of the classes or of the attributes, for display.
        symbols: symbol of each token, for display.
        writing: kind of text that the symbols form: ``characters``, ``bytes`` of UTF-8, ``words``, or a nested
            ``expression``.
    """

    spec: Spec
    splits: Mapping[str, Split]
    classes: Sequence[str] = ()
    symbols: Sequence[str] = ()
    writing: Literal["", "characters", "bytes", "words", "expression"] = ""

    def split(self, name: str) -> Split:
        """Return the map-style data set ``train``, ``val`` or ``test``."""
        return self.splits[name]

    def lengths(self, name: str) -> np.ndarray | None:
        """Return the length of each example of a split, or None if all have the same length."""
        return self.splits[name].lengths()

    def downsampled(self, rate: int) -> Prepared:
        """Return the same data with ``rate`` times fewer samples along each axis.

        Images are low-pass filtered before; signals are not. Use this to train or test a model at another sampling rate
        or resolution; the model must be given ``rate``.

        Raises:
            ValueError: the examples are neither signals nor images, or the rate is below 1.
        """
        if rate < 1:
            raise ValueError(f"rate is {rate}; it must be at least 1.")
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
    """How a data set would be prepared at a place. Finding this needs neither the network nor heavy work.

    Attributes:
        key: everything that determines the prepared arrays; its digest is the name of the cache entry.
        write: fills the cache entry; its arguments are the writer and whether to draw progress bars.
        sentence: what ``write`` will do.
        size: estimated bytes on disk, or None.
        missing: a sentence that says why ``write`` cannot be called; empty if it can.
        warning: a sentence without a full stop that warns the user about data that can be prepared; may be empty.
        originals: the files and folders that ``write`` reads; some may not exist yet.
    """

    key: dict[str, Any]
    write: Callable[[cache.Writer, bool], None]
    sentence: str
    size: int | None = None
    missing: str = ""
    warning: str = ""
    originals: Sequence[Path] = ()


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """Options of a data set; the defaults are the published values.

    Numeric options declare their range (:class:`ssm_data.options.Range`); a value outside raises ValueError.

    Args:
        miniature: generate a tiny data set of the same kind, for trying a pipeline offline.
        limit: sizes of seeded subsets of splits; a split that is not named stays whole.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    #: Increase this in a class if its prepared arrays change with the same options; other data sets stay prepared.
    cache_format: ClassVar[int] = 3

    miniature: bool = False
    limit: dict[str, int] | None = field(default=None)

    def __post_init__(self) -> None:
        options.check(self)
        for split, size in (self.limit or {}).items():
            if split not in SPLITS:
                raise ValueError(f"limit names the split {split!r}; the splits are {', '.join(SPLITS)}.")
            if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
                raise ValueError(f"limit of {split} is {size!r}; it must be a whole number of at least 1.")

    @abstractmethod
    def expected(self) -> Spec:
        """Return the spec that :meth:`prepare` gives with these options, without reading any file.

        The fingerprint is empty. These fields may differ from the fields of the prepared data:

        - ``chance`` is the value of the whole published test split. It is approximate with ``limit``, for generated
          data, for miniatures, and for ``sc35``, ``sc10`` and ``hmdb51``. It is NaN if it must be measured on the
          original files.
        - ``d_input`` is the value of the default options if the vocabulary is built from the data.
        - ``sizes`` are unknown if the number of examples must be read from the original files: they are 0 for
          ``audio-folder``, ``beethoven`` and ``youtubemix``, and approximate for ``bidmc``, ``sc10`` and ``hmdb51``.
        """

    def status(self, place: Place) -> Status:
        """Return what is prepared and what :meth:`prepare` would do. Read little, and use no network."""
        try:
            preparation = self._planned(place)
        except DataError as error:
            return Status("missing", str(error), None)
        entry = cache.find(self._folder(place, preparation))
        also = f"; {preparation.warning}" if preparation.warning else ""
        if entry is not None:
            return Status("ready", f"prepared in {entry.folder}{also}", entry.size)
        if preparation.missing:
            return Status("missing", preparation.missing, preparation.size)
        return Status("preparable", f"{preparation.sentence}{also}", preparation.size)

    def prepare(self, place: Place, progress: bool = True) -> Prepared:
        """Obtain, verify and convert the data unless they are already prepared, and open them.

        Only this method may use the network. It is safe to call it again, and in many processes at once. It issues a
        :class:`DataWarning` if, for example, data are generated although a folder of original files was named.

        Raises:
            DataError: a source is missing, broken or not the published one.
        """
        preparation = self._planned(place)
        if preparation.warning:
            warnings.warn(f"{self.title}: {preparation.warning}.", DataWarning, stacklevel=2)
        folder = self._folder(place, preparation)
        entry = cache.find(folder)
        if entry is None:
            if preparation.missing:
                raise DataError(preparation.missing)

            def write(writer: cache.Writer) -> None:
                preparation.write(writer, progress)
                recorded_checksums.record(writer.folder, preparation.originals, progress)

            entry = cache.build(folder, preparation.key, write)
        return self._open(entry)

    def verify(self, place: Place, progress: bool = True) -> list[str]:
        """Read all prepared and original files; return a sentence for each that changed since the preparation.

        Raises:
            DataError: the data are not prepared.
        """
        folder = self._folder(place, self._planned(place))
        entry = cache.find(folder)
        if entry is None:
            state = "not whole" if folder.exists() else "not there"
            raise DataError(f"{folder} is {state}; prepare the data and verify them again.")
        return [*entry.verify(), *recorded_checksums.verify(entry.folder, progress)]

    def _planned(self, place: Place) -> Preparation:
        """Return the preparation at a place.

        Raises:
            DataError: a file or folder that must be looked at cannot be read.
        """
        try:
            return self._preparation(place)
        except OSError as error:
            raise DataError(
                f"The files of {self.title} cannot be searched: {error}; remove the cause and try again."
            ) from error

    def _folder(self, place: Place, preparation: Preparation) -> Path:
        return place.cache / self.name / cache.digest(preparation.key, self.cache_format)

    def _sizes(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return the sizes of the splits, cut by ``limit``."""
        limit = self.limit or {}
        return {split: min(limit.get(split, size), size) for split, size in sizes.items()}

    def _subset(self, split: str, size: int) -> np.ndarray:
        """Return the ascending indices of the seeded subset that ``limit`` asks for, or all indices of the split."""
        wanted = (self.limit or {}).get(split, size)
        if wanted >= size:
            return np.arange(size)
        return np.sort(np.random.default_rng(SPLITS.index(split)).permutation(size)[:wanted])

    def _classification(
        self,
        sizes: Mapping[str, int],
        *,
        tokens: bool,
        d_input: int,
        d_output: int,
        chance: float,
        l_max: int = 0,
        axes: tuple[int, ...] = (),
        target: Literal["class", "labels"] = "class",
        pair: bool = False,
    ) -> Spec:
        """Return the spec of a task with one class, or one set of labels, for each input.

        Args:
            sizes: sizes of the whole splits; ``limit`` cuts them here.
            l_max, axes: size of an input; give exactly one of the two.
        """
        return Spec(
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
            chance=chance,
            sizes=self._sizes(sizes),
            axes=axes,
        )

    def _classified(
        self,
        entry: cache.Entry,
        splits: Mapping[str, Labelled],
        *,
        d_input: int | None = None,
        classes: Sequence[str] = (),
        symbols: Sequence[str] = (),
        writing: Literal["", "characters", "expression"] = "",
        view: Mapping[str, Any] | None = None,
    ) -> Prepared:
        """Return opened splits of a classification task, with the expected spec and its measured fields filled in.

        Args:
            d_input: vocabulary size, if the vocabulary is built from the data.
            view: options that determine how the stored arrays are read; they become part of the fingerprint.
        """
        spec = self.expected()
        for split in splits.values():
            _check_labels(entry, split, spec)
        labels = splits["test"].labels
        if spec.target == "labels":
            shares = labels.mean(axis=0)
            chance = float(np.maximum(shares, 1 - shares).mean())
        else:
            chance = float((np.bincount(labels) / len(labels)).max())
        seen = [] if view is None else [dict(view)]
        spec = replace(
            spec,
            d_input=spec.d_input if d_input is None else d_input,
            chance=chance,
            sizes={name: len(split) for name, split in splits.items()},
            fingerprint=cache.digest([entry.fingerprint, *(split.digest() for split in splits.values()), *seen]),
        )
        return Prepared(spec, splits, classes, symbols, writing)

    @abstractmethod
    def _preparation(self, place: Place) -> Preparation:
        """Return how the data would be prepared at a place; use no network and do no heavy work."""

    @abstractmethod
    def _open(self, entry: cache.Entry) -> Prepared:
        """Open a complete cache entry that :attr:`Preparation.write` wrote."""


def _check_labels(entry: cache.Entry, split: Labelled, spec: Spec) -> None:
    """Check that the classes of a split are in range: a damaged file of the right size opens without an error.

    Raises:
        DataError: the prepared data are damaged.
    """
    most = 1 if spec.target == "labels" else spec.d_output - 1
    try:
        labels = split.labels
        right = labels.dtype.kind in "iub" and (not labels.size or (labels.min() >= 0 and labels.max() <= most))
    except IndexError:
        right = False
    if not right:
        raise DataError(
            f"{entry.folder} is damaged: it holds classes or examples that do not exist; delete the folder and prepare "
            "the data again."
        )
