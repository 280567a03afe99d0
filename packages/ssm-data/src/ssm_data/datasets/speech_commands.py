"""Speech Commands (sc35, sc10): one spoken word of one second, as samples or as cepstral coefficients.

The clips are version 0.02 of Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition"
(arXiv:1804.03209). SC10 is the task of Romero et al., "CKConv" (arXiv:2102.02611, section 5). SC35 is the task of Gu et
al., "On the Parameterization and Initialization of Diagonal State Space Models" (arXiv:2206.11893).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

import numpy as np

from ssm_data import archives, audio, cache, downloads, parallel
from ssm_data.contract import SPLITS, Dataset, Place, Preparation, Prepared, Spec
from ssm_data.errors import DataError
from ssm_data.generators import miniatures
from ssm_data.options import Range
from ssm_data.splits import Signals

ORIGINAL = downloads.Published(
    "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    2_428_923_189,
    "6b74f3901214cb2c2934e98196829835",
)
# fmt: off
WORDS = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go", "happy",
    "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six", "stop",
    "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)
# fmt: on
COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
LISTS = {"val": "validation_list.txt", "test": "testing_list.txt"}
PUBLISHED35 = {"train": 84_843, "val": 9_981, "test": 11_005}
PUBLISHED10 = 34_975
#: Sampling rate in Hz, and maximum number of samples of a clip.
RATE = LENGTH = 16_000
#: Number of cepstral coefficients of a frame.
COEFFICIENTS = 20
#: Number that is added to the standard deviation.
EPSILON = 1e-5
SPLIT_SEED = 0
#: Number of clips that are processed at once.
BLOCK = 256
HOW_TO = (
    f"Get {ORIGINAL.url} ({ORIGINAL.size:,} bytes) and name the folder that holds the archive, "
    "or speech_commands_v0.02 with its content, with --data."
)


class Clips(NamedTuple):
    """The clips of a source, sorted by name: classes, lengths, and rows of the official val and test splits."""

    source: Path
    labels: np.ndarray
    lengths: np.ndarray
    official: dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class _SpeechCommands(Dataset):
    """Base of both data sets: sources, features, and standardisation by the train split.

    Args:
        mfcc: use 161 frames of 20 cepstral coefficients, each standardised, instead of 16,000 samples.
        dropped: percentage of samples to drop, in [0, 100). Dropped samples are 0, and an additional last channel marks
            the remaining samples.
    """

    words: ClassVar[tuple[str, ...]]
    full_scale: ClassVar[int]

    published: ClassVar[dict[str, int]]

    mfcc: bool = False
    dropped: Annotated[float, Range(0, below=100)] = 0.0

    def expected(self) -> Spec:
        length = miniatures.SOUND if self.miniature else LENGTH
        return self._classification(
            miniatures.SIZES if self.miniature else self.published,
            tokens=False,
            d_input=(COEFFICIENTS if self.mfcc else 1) + (self.dropped > 0),
            d_output=len(self.words),
            l_max=frames(length) if self.mfcc else length,
            chance=1 / len(self.words),
        )

    def _preparation(self, place: Place) -> Preparation:
        key = {"mfcc": self.mfcc, "miniature": self.miniature}
        if self.miniature:
            return Preparation(key, self._write_miniature, "generates sounds", 10 << 20)
        found = find(place)
        sentence = f"reads {found}" if found else f"downloads {ORIGINAL.url}"
        clip = frames(LENGTH) * COEFFICIENTS * 4 if self.mfcc else LENGTH * 2
        size = sum(PUBLISHED35.values()) * clip
        return Preparation(
            key, partial(self._write, place, found), sentence, size, originals=originals(place, found, self.words)
        )

    def _write(self, place: Place, source: Path | None, writer: cache.Writer, progress: bool) -> None:
        if source is None:
            source = obtain(place, progress)
        names = names_of(source, self.words)
        rows = {name: row for row, name in enumerate(names)}
        labels = np.array([self.words.index(name.split("/")[0]) for name in names], dtype=np.uint8)
        signals = self._empty(writer, len(names), LENGTH)
        lengths = np.zeros(len(names), dtype=np.int64)
        lists: dict[str, list[str]] = {}
        files = files_of(source, self.words)
        tracked = parallel.tracked(files, len(names) + len(LISTS), title="Speech Commands: reading", progress=progress)
        while block := list(islice(tracked, BLOCK)):
            lists |= {name: listed(content, name, source) for name, content in block if name in LISTS.values()}
            clips = [(rows[name], samples_of(content, name)) for name, content in block if name in rows]
            waves = np.zeros((len(clips), LENGTH), dtype=np.int16)
            for wave, (row, samples) in zip(waves, clips, strict=True):
                wave[: len(samples)] = samples
                lengths[row] = len(samples)
            if clips:
                signals[[row for row, _ in clips]] = self._features(waves)
        check_lists(lists, source)
        official = {
            split: np.array([rows[name] for name in lists[file] if name in rows]) for split, file in LISTS.items()
        }
        self._store(writer, signals, labels, self._split(Clips(source, labels, lengths, official)))

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        waves, labels = zip(*miniatures.tones(len(self.words)).values(), strict=True)
        stacked = np.concatenate(waves)
        signals = self._empty(writer, *stacked.shape)
        signals[:] = self._features(stacked)
        ends = np.cumsum([len(part) for part in labels])
        splits = dict(zip(SPLITS, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
        self._store(writer, signals, np.concatenate(labels), splits)

    def _empty(self, writer: cache.Writer, count: int, length: int) -> np.ndarray:
        if self.mfcc:
            return writer.empty("signals", (count, frames(length), COEFFICIENTS), np.float32)
        return writer.empty("signals", (count, length), np.int16)

    def _features(self, waves: np.ndarray) -> np.ndarray:
        return audio.mfcc(waves, RATE) if self.mfcc else waves

    def _store(
        self, writer: cache.Writer, signals: np.ndarray, labels: np.ndarray, splits: dict[str, np.ndarray]
    ) -> None:
        unit = 1 if self.mfcc else self.full_scale
        mean, std = moments(signals, splits["train"])
        writer.array("mean", mean.astype(np.float32))
        writer.array("std", (std + EPSILON * unit).astype(np.float32))
        writer.array("labels", labels)
        for split, index in splits.items():
            writer.array(split, index)

    def _open(self, entry: cache.Entry) -> Prepared:
        signals, labels = entry.array("signals"), entry.array("labels")
        mean, std = (np.array(entry.array(name)) for name in ("mean", "std"))
        splits = {}
        for split in SPLITS:
            index = entry.array(split)
            index = index[self._subset(split, len(index))]
            splits[split] = Signals(index, labels, signals, mean, std, self.dropped)
        return self._classified(entry, splits, classes=self.words)

    @abstractmethod
    def _split(self, clips: Clips) -> dict[str, np.ndarray]:
        """Return the rows of each split."""


@dataclass(frozen=True, kw_only=True)
class SpeechCommands35(_SpeechCommands):
    """All 35 words and 105,829 clips in the official splits; shorter clips are padded with zeros at the end."""

    name: ClassVar[str] = "sc35"
    title: ClassVar[str] = "SC35"
    words: ClassVar[tuple[str, ...]] = WORDS
    published: ClassVar[dict[str, int]] = PUBLISHED35
    # The published results were obtained on samples that were divided by 2^15 twice. The standard deviation of such
    # samples is so small that adding EPSILON to it changes the result: the standardised inputs become smaller.
    full_scale: ClassVar[int] = 2**30

    def _split(self, clips: Clips) -> dict[str, np.ndarray]:
        held_out = np.concatenate(list(clips.official.values()))
        splits = {"train": np.setdiff1d(np.arange(len(clips.labels)), held_out)}
        splits |= {split: np.sort(index) for split, index in clips.official.items()}
        check_sizes(splits, PUBLISHED35, clips.source)
        return splits


@dataclass(frozen=True, kw_only=True)
class SpeechCommands10(_SpeechCommands):
    """Ten command words: all 34,975 clips of a whole second; the splits have 70, 15 and 15 percent of each class."""

    name: ClassVar[str] = "sc10"
    title: ClassVar[str] = "SC10"
    words: ClassVar[tuple[str, ...]] = COMMANDS
    published: ClassVar[dict[str, int]] = {"train": 24_482, "val": 5_246, "test": 5_247}
    full_scale: ClassVar[int] = 2**15

    def _split(self, clips: Clips) -> dict[str, np.ndarray]:
        whole = np.flatnonzero(clips.lengths == LENGTH)
        if len(whole) != PUBLISHED10:
            raise DataError(
                f"{clips.source} does not hold the published clips: {len(whole):,} of the ten commands last a whole "
                f"second, and {PUBLISHED10:,} should. {HOW_TO}"
            )
        return stratified(whole, clips.labels[whole])


def frames(length: int) -> int:
    """Return the number of frames of cepstral coefficients of ``length`` samples."""
    return length // 100 + 1


def stratified(rows: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Cut rows into 70, 15 and 15 percent of each class by a seeded permutation."""
    rng = np.random.default_rng(SPLIT_SEED)
    parts: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    for label in np.unique(labels):
        members = rng.permutation(rows[labels == label])
        cuts = (round(0.7 * len(members)), round(0.85 * len(members)))
        for split, part in zip(SPLITS, np.split(members, cuts), strict=True):
            parts[split].append(part)
    return {split: np.sort(np.concatenate(part)) for split, part in parts.items()}


def moments(signals: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel over rows of (K, L) or (K, L, C), both (C,) float64."""
    channels = signals.shape[2] if signals.ndim == 3 else 1
    count, total, squares = 0, np.zeros(channels), np.zeros(channels)
    for start in range(0, len(index), BLOCK):
        block = signals[index[start : start + BLOCK]].reshape(-1, channels).astype(np.float64)
        count += len(block)
        total += block.sum(axis=0)
        squares += np.square(block).sum(axis=0)
    mean = total / count
    return mean, np.sqrt(squares / count - mean**2)


def find(place: Place) -> Path | None:
    """Return the folder of words, or an archive of it, or None."""
    stems = ("speech_commands_v0.02", "speech_commands", "SpeechCommands/speech_commands_v0.02", "sc09")
    return archives.folder_with(place.data, (*stems, "."), LISTS.values()) or archives.archive(place.data, stems)


def obtain(place: Place, progress: bool) -> Path:
    """Download the archive of the release."""
    return downloads.first_of([lambda: downloads.download(ORIGINAL, place.cache, progress)], HOW_TO)


def originals(place: Place, found: Path | None, words: tuple[str, ...]) -> list[Path]:
    """Return the files to read: files of the folder ``found``, or the archive that was found or will be downloaded."""
    if found is None or found.is_file():
        return [found or place.cache / ORIGINAL.name]
    return [found / name for name in (*words, *LISTS.values())]


def names_of(source: Path, words: tuple[str, ...]) -> list[str]:
    """Return the sorted names of the words' clips in a folder or an archive, in the form ``word/file.wav``."""
    if source.is_dir():
        return sorted(f"{word}/{path.name}" for word in words for path in archives.files(source / word, "*.wav"))
    names = (_short(name) for name in archives.archive_names(source, "*.wav"))
    return sorted(name for name in names if name.split("/")[0] in words)


def files_of(source: Path, words: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the words' clips and of the official lists."""
    if source.is_dir():
        for pattern in ("*_list.txt", *(f"{word}/*.wav" for word in words)):
            yield from archives.read_folder(source, pattern)
        return
    for name, content in archives.read_archive(source, "*"):
        short = _short(name)
        if short.split("/")[0] in words or short in LISTS.values():
            yield short, content


def _short(name: str) -> str:
    """Return the last two parts of the path of a clip, or the last part of the path of a list."""
    return "/".join(name.split("/")[-2:] if name.endswith(".wav") else name.split("/")[-1:])


def listed(content: bytes, name: str, source: Path) -> list[str]:
    """Return the clips of an official list, in the form ``word/file.wav``.

    Raises:
        DataError: a line has another form.
    """
    clips = content.decode(errors="replace").split()
    for number, clip in enumerate(clips, 1):
        word, _, file = clip.partition("/")
        if word not in WORDS or not file.endswith(".wav") or "/" in file:
            raise DataError(f"Line {number} of {name} in {source} is {clip!r:.80}, which names no clip. {HOW_TO}")
    return clips


def samples_of(content: bytes, name: str) -> np.ndarray:
    """Return the samples of a clip, (L,) int16.

    Raises:
        DataError: the clip is broken, or longer than any clip of the release.
    """
    samples = audio.decode(content, name, RATE)
    if len(samples) > LENGTH:
        raise DataError(f"{name} lasts {len(samples):,} samples; no published clip has more than {LENGTH:,}.")
    return samples


def check_lists(lists: Mapping[str, Sized], source: Path) -> None:
    """Check that both official lists are there.

    Raises:
        DataError: a list is missing.
    """
    if missing := LISTS.values() - lists.keys():
        raise DataError(f"{source} lacks {', '.join(sorted(missing))}. {HOW_TO}")


def check_sizes(splits: Mapping[str, Sized], published: dict[str, int], source: Path) -> None:
    """Check that the splits have their published sizes.

    Raises:
        DataError: a size differs.
    """
    sizes = {split: len(members) for split, members in splits.items()}
    if sizes != published:
        counts = ", ".join(f"{sizes[split]:,} in {split} (not {published[split]:,})" for split in SPLITS)
        raise DataError(f"{source} does not hold the published clips: {counts}. {HOW_TO}")
