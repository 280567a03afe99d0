"""Sound files of a folder, predicted sample by sample: any folder, the Beethoven sonatas, and YouTubeMix.

Goel et al., "It's Raw! Audio Generation with State-Space Models" (arXiv:2202.09729, section 5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any, ClassVar

import numpy as np

from ssm_data import archives, audio, cache, parallel
from ssm_data.contract import SPLITS, Place, Preparation
from ssm_data.datasets.quantized_sound import QuantizedSound
from ssm_data.errors import DataError
from ssm_data.options import Length
from ssm_data.splits import Ragged

RATE = 16_000
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
#: Shares of the files at which the train split and the validation split end.
SHARES = (0.88, 0.94)


@dataclass(frozen=True, kw_only=True)
class AudioFolder(QuantizedSound):
    """Pieces of equal length, cut from the sound files of a folder.

    Train, val and test take 88, 6 and 6 percent of the files.

    Args:
        folder: name of the folder below ``--data``; its files are sorted by name, and numbers in names by value.
        l_max: number of samples of a piece, at 16 kHz; a shorter rest of a file is left out.
    """

    name: ClassVar[str] = "audio-folder"
    title: ClassVar[str] = "Folder of sounds"
    how_to: ClassVar[str] = ""

    folder: str = "audio"
    l_max: Length = 131_072

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.folder or PurePath(self.folder).is_absolute() or ".." in PurePath(self.folder).parts:
            raise ValueError(f"folder is {self.folder!r}; it must be the name of a folder below --data.")

    @property
    def _longest(self) -> int:
        return self.l_max

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


@dataclass(frozen=True, kw_only=True)
class Beethoven(AudioFolder):
    """The 32 piano sonatas of Beethoven in pieces of eight seconds, quantised linearly."""

    name: ClassVar[str] = "beethoven"
    title: ClassVar[str] = "Beethoven"
    how_to: ClassVar[str] = "Get its files (10 hours) from https://huggingface.co/datasets/krandiash/beethoven. "

    folder: str = "beethoven"
    l_max: Length = 128_000
    quantization: audio.Quantization = "linear"


@dataclass(frozen=True, kw_only=True)
class YouTubeMix(AudioFolder):
    """Four hours of piano music in pieces of 131,072 samples."""

    name: ClassVar[str] = "youtubemix"
    title: ClassVar[str] = "YouTubeMix"
    how_to: ClassVar[str] = "Get its files (4 hours) from https://huggingface.co/datasets/krandiash/youtubemix. "

    folder: str = "youtubemix"


def sound_files(root: Path) -> list[Path]:
    """Return the sound files of a folder and its subfolders, sorted by name, and numbers in names by value."""
    files = [path for path in archives.files(root, "**/*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    return sorted(files, key=lambda path: _natural(path.relative_to(root).as_posix()))


def _natural(name: str) -> list[tuple[bool, int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]
