"""enwik8 and text8: the first 10^8 bytes of Wikipedia, predicted character by character.

Train, val and test are the first 90, the next 5 and the last 5 million bytes. Source: Mahoney, "About the Test Data"
(mattmahoney.net/dc/textdata.html).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from ssm_data import archives, cache, downloads
from ssm_data.contract import SPLITS, Place, Preparation
from ssm_data.datasets.corpus import Corpus
from ssm_data.errors import DataError
from ssm_data.generators import miniatures
from ssm_data.options import Length

SIZE = 100_000_000
#: Bytes at which the train split and the validation split end.
CUTS = (90_000_000, 95_000_000)


@dataclass(frozen=True, kw_only=True)
class Enwik8(Corpus):
    """The text with its markup, byte by byte."""

    name: ClassVar[str] = "enwik8"
    title: ClassVar[str] = "enwik8"
    metric: ClassVar[Literal["bits"]] = "bits"
    original: ClassVar[downloads.Published] = downloads.Published(
        "http://mattmahoney.net/dc/enwik8.zip",
        36_445_475,
        "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
    )
    md5: ClassVar[str] = "a1fa5ffddb56f4953e226637dabbb36a"

    vocabulary: ClassVar[int] = 205
    published: ClassVar[dict[str, int]] = {"train": 90_000_000, "val": 5_000_000, "test": 5_000_000}
    miniature_vocabulary: ClassVar[int] = miniatures.SENTENCE_BYTES
    miniature_predictions: ClassVar[dict[str, int]] = miniatures.STREAM_BYTES

    l_max: Length = 2048

    def _preparation(self, place: Place) -> Preparation:
        key = {"miniature": self.miniature}
        if self.miniature:
            return Preparation(key, self._write_miniature, "generates sentences", 1 << 17)
        found = self._find(place)
        sentence = f"reads {found}" if found else f"downloads {self.original.url}"
        originals = [found or place.cache / self.original.name]
        return Preparation(key, partial(self._write, place, found), sentence, SIZE, originals=originals)

    def _find(self, place: Place) -> Path | None:
        """Return the unpacked file, or the archive of it, or None."""
        if place.data is None:
            return None
        paths = (place.data / folder / self.name for folder in (".", self.name))
        return next((path for path in paths if path.is_file()), None) or archives.archive(
            place.data, (self.name, f"{self.name}/{self.name}")
        )

    def _write(self, place: Place, found: Path | None, writer: cache.Writer, progress: bool) -> None:
        how_to = (
            f"Get {self.original.url} ({self.original.size:,} bytes) and name the folder that holds it with --data."
        )
        if found is None:
            found = downloads.first_of([lambda: downloads.download(self.original, place.cache, progress)], how_to)
        if found.name == self.name:
            content = found.read_bytes()
        else:
            content = dict(archives.read_archive(found, self.name)).get(self.name, b"")
        if (md5 := hashlib.md5(content).hexdigest()) != self.md5:
            raise DataError(
                f"{found} does not hold the published {self.name}: its md5 is {md5}, not {self.md5}. {how_to}"
            )
        self._store_text(writer, dict(zip(SPLITS, np.split(np.frombuffer(content, np.uint8), CUTS), strict=True)))

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        texts = {split: " ".join(lines) for split, lines in miniatures.sentences().items()}
        self._store_text(writer, {split: np.frombuffer(text.encode(), np.uint8) for split, text in texts.items()})

    def _store_text(self, writer: cache.Writer, texts: dict[str, np.ndarray]) -> None:
        """Number the byte values that occur in any text, in ascending order, and store the texts as these numbers."""
        symbols = np.flatnonzero(sum(np.bincount(text, minlength=256) for text in texts.values()))
        numbers = np.zeros(256, dtype=np.uint8)
        numbers[symbols] = np.arange(len(symbols))
        self._store(
            writer, [str(symbol) for symbol in symbols], {split: numbers[text] for split, text in texts.items()}
        )


@dataclass(frozen=True, kw_only=True)
class Text8(Enwik8):
    """The text without its markup; it consists of the letters a to z and spaces."""

    name: ClassVar[str] = "text8"
    title: ClassVar[str] = "text8"
    original: ClassVar[downloads.Published] = downloads.Published(
        "http://mattmahoney.net/dc/text8.zip",
        31_344_016,
        "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
    )
    md5: ClassVar[str] = "3bea1919949baf155f99411df5fada7e"
    vocabulary: ClassVar[int] = 27
