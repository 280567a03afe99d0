"""Sound to be generated sample by sample: spoken digits, piano music, any folder of sound files.

Goel et al., "It's Raw! Audio Generation with State-Space Models" (arXiv:2202.09729, section 5). Samples are
quantised to 8 bits, each file or clip in the range that it fills.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ssm_data import audio, cache, miniatures, parallel, speech_commands
from ssm_data.contract import SPLITS, Dataset, Place, Preparation, Prepared, Spec
from ssm_data.corpus import constant_guess
from ssm_data.errors import DataError
from ssm_data.splits import Generated, Ragged

RATE = 16_000
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PUBLISHED09 = {"train": 31_158, "val": 3_643, "test": 4_107}
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
SHARES = (0.88, 0.94)


@dataclass(frozen=True, kw_only=True)
class _Sound(Dataset):
    """What all share: the quantisation, and a miniature of tones.

    Args:
        quantization: ``mu-law`` or ``linear`` steps.
    """

    quantization: audio.Quantization = "mu-law"

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        for split, (waves, _) in miniatures.tones(len(DIGITS)).items():
            Ragged.store(writer, split, [audio.quantize(wave, self.quantization) for wave in waves])

    def _opened(self, entry: cache.Entry, *, l_max: int, lengths: bool) -> Prepared:
        splits = {}
        for split in SPLITS:
            tokens = Ragged.open(entry, split)
            index = self._subset(split, len(tokens.lengths()))
            splits[split] = Generated(index, tokens, audio.SILENCE)
        if self.miniature:
            l_max = int(splits["test"].lengths().max())
        spec = Spec(
            tokens=True,
            d_input=audio.MU + 1,
            d_output=audio.MU + 1,
            target="class",
            l_max=l_max,
            l_output=l_max,
            lengths=lengths,
            pair=False,
            stream=False,
            metric="bits",
            chance=constant_guess(splits["test"].tokens.flat, "bits"),
            sizes={name: len(split) for name, split in splits.items()},
            fingerprint=cache.digest([entry.fingerprint, *(split.digest() for split in splits.values())]),
        )
        return Prepared(spec, splits)


@dataclass(frozen=True, kw_only=True)
class SC09(_Sound):
    """The ten digits of Speech Commands in the official splits, up to 16,000 samples each."""

    name: ClassVar[str] = "sc09"
    title: ClassVar[str] = "SC09"

    def _preparation(self, place: Place) -> Preparation:
        key = {"quantization": self.quantization, "miniature": self.miniature}
        if self.miniature:
            return Preparation(key, self._write_miniature, "generates sounds", 5 << 20)
        found = speech_commands.find(place)
        sentence = f"reads {found}" if found else f"downloads {speech_commands.ORIGINAL.url}"
        size = sum(PUBLISHED09.values()) * RATE
        originals = speech_commands.originals(place, found, DIGITS)
        return Preparation(key, partial(self._write, place, found), sentence, size, originals=originals)

    def _write(self, place: Place, source: Path | None, writer: cache.Writer, progress: bool) -> None:
        if source is None:
            source = speech_commands.obtain(place, progress)
        clips: dict[str, np.ndarray] = {}
        lists: dict[str, set[str]] = {}
        files = speech_commands.files_of(source, DIGITS)
        for name, content in parallel.tracked(
            files, sum(PUBLISHED09.values()), title="SC09: reading", progress=progress
        ):
            if name in speech_commands.LISTS.values():
                lists[name] = set(content.decode().split())
            else:
                clips[name] = audio.quantize(speech_commands.samples_of(content, name), self.quantization)
        speech_commands.check_lists(lists, source)
        official = {split: lists[file] for split, file in speech_commands.LISTS.items()}
        names = {"train": clips.keys() - official["val"] - official["test"]}
        names |= {split: clips.keys() & members for split, members in official.items()}
        speech_commands.check_sizes(names, PUBLISHED09, source)
        for split, members in names.items():
            Ragged.store(writer, split, [clips[name] for name in sorted(members)])

    def _open(self, entry: cache.Entry) -> Prepared:
        return self._opened(entry, l_max=RATE, lengths=True)


@dataclass(frozen=True, kw_only=True)
class AudioFolder(_Sound):
    """Any folder of sound files, cut into pieces of one length; of the files 88, 6 and 6 percent are the splits.

    Args:
        folder: name of the folder below ``--data``; its files come in the order of their names and numbers.
        l_max: samples of a piece, at 16 kHz; what remains of a file is left out.
    """

    name: ClassVar[str] = "audio-folder"
    title: ClassVar[str] = "Folder of sounds"
    how_to: ClassVar[str] = ""

    folder: str = "audio"
    l_max: int = 131_072

    def _preparation(self, place: Place) -> Preparation:
        key: dict[str, Any] = {
            "quantization": self.quantization,
            "l_max": self.l_max,
            "miniature": self.miniature,
        }
        if self.miniature:
            return Preparation(key, self._write_miniature, "generates sounds", 5 << 20)
        root = (place.data or Path()) / self.folder
        files = sound_files(root) if place.data else []
        key["files"] = [[path.relative_to(root).as_posix(), path.stat().st_size] for path in files]
        missing = "" if files else self._missing(place)
        sentence = f"reads {len(files):,} files of {root}"
        return Preparation(key, partial(self._write, files), sentence, missing=missing, originals=files)

    def _missing(self, place: Place) -> str:
        where = f"{place.data} holds no folder {self.folder} of" if place.data else "No folder is named that holds"
        return f"{where} sound files ({', '.join(SUFFIXES)}). {self.how_to}Name the folder above it with --data."

    def _write(self, files: list[Path], writer: cache.Writer, progress: bool) -> None:
        pieces: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
        cuts = [int(share * len(files)) for share in SHARES]
        results = parallel.tracked(
            (self._pieces(path) for path in files), len(files), title=f"{self.title}: reading", progress=progress
        )
        for number, found in enumerate(results):
            pieces[SPLITS[np.searchsorted(cuts, number, side="right")]].extend(found)
        if empty := [split for split in SPLITS if not pieces[split]]:
            raise DataError(
                f"The {len(files):,} files of {self.folder} give no piece of {self.l_max:,} samples for "
                f"{', '.join(empty)}; give more or longer files, or a smaller l_max."
            )
        for split in SPLITS:
            Ragged.store(writer, split, pieces[split])

    def _pieces(self, path: Path) -> list[np.ndarray]:
        samples = audio.mono(path, RATE)
        starts = range(0, len(samples) - self.l_max + 1, self.l_max)
        return [audio.quantize(samples[start : start + self.l_max], self.quantization) for start in starts]

    def _open(self, entry: cache.Entry) -> Prepared:
        return self._opened(entry, l_max=self.l_max, lengths=False)


@dataclass(frozen=True, kw_only=True)
class Beethoven(AudioFolder):
    """The 32 piano sonatas in pieces of eight seconds, linear steps."""

    name: ClassVar[str] = "beethoven"
    title: ClassVar[str] = "Beethoven"
    how_to: ClassVar[str] = "Get its files (10 hours) from https://huggingface.co/datasets/krandiash/beethoven. "

    folder: str = "beethoven"
    l_max: int = 128_000
    quantization: audio.Quantization = "linear"


@dataclass(frozen=True, kw_only=True)
class YouTubeMix(AudioFolder):
    """Four hours of piano music in pieces of 131,072 samples."""

    name: ClassVar[str] = "youtubemix"
    title: ClassVar[str] = "YouTubeMix"
    how_to: ClassVar[str] = "Get its files (4 hours) from https://huggingface.co/datasets/krandiash/youtubemix. "

    folder: str = "youtubemix"


def sound_files(root: Path) -> list[Path]:
    """The sound files in a folder and below it, numbers in their names in numerical order."""
    files = [path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES]
    return sorted(files, key=lambda path: _natural(path.relative_to(root).as_posix()))


def _natural(name: str) -> list[tuple[bool, int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]
