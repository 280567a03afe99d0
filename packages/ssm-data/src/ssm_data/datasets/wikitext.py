"""WikiText-103 and WikiText-2, predicted word by word.

Merity et al., "Pointer Sentinel Mixture Models" (arXiv:1609.07843, section 4).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from ssm_data import archives, cache, downloads, parallel, vocabulary
from ssm_data.contract import SPLITS, Place, Preparation
from ssm_data.datasets.corpus import Corpus
from ssm_data.errors import DataError
from ssm_data.generators import miniatures

HUB = "Salesforce/wikitext"
ORIGINALS = "https://wikitext.smerity.com/"
HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}
STEMS = {"train": "train", "val": "valid", "test": "test"}
#: Names of the files in the release, and in the scripts of Transformer-XL.
NAMINGS = ("wiki.{}.tokens", "{}.txt")


@dataclass(frozen=True, kw_only=True)
class WikiText103(Corpus):
    """Articles of Wikipedia: 103 million words, and a vocabulary of 267,735 words, including the end of a line."""

    name: ClassVar[str] = "wikitext-103"
    title: ClassVar[str] = "WikiText-103"
    metric: ClassVar[Literal["perplexity"]] = "perplexity"
    folders: ClassVar[tuple[str, ...]] = ("wikitext-103", "wt103", "wt103/wikitext-103")
    published: ClassVar[dict[str, int]] = {"train": 103_227_021, "val": 217_646, "test": 245_569}
    vocabulary: ClassVar[int] = 267_735
    megabytes: ClassVar[float] = 181
    miniature_vocabulary: ClassVar[int] = miniatures.SENTENCE_WORDS
    miniature_predictions: ClassVar[dict[str, int]] = miniatures.STREAM_WORDS

    def _preparation(self, place: Place) -> Preparation:
        key = {"miniature": self.miniature}
        if self.miniature:
            return Preparation(key, self._write_miniature, "generates sentences", 1 << 18)
        found = self._find(place)
        sentence = f"reads {found}" if found else f"downloads {HUB} ({self.name}-v1) from the hub"
        originals = [found] if found and found.is_file() else []
        if found and found.is_dir():
            originals = [found / naming.format(stem) for naming in NAMINGS for stem in STEMS.values()]
        size = 4 * sum(self.published.values())
        return Preparation(key, partial(self._write, found), sentence, size, originals=originals)

    def _find(self, place: Place) -> Path | None:
        """Return the folder of the three files, or an archive of it, or None."""
        for naming in NAMINGS:
            folder = archives.folder_with(place.data, self.folders, map(naming.format, STEMS.values()))
            if folder:
                return folder
        return archives.archive(place.data, (f"{self.name}-v1", *self.folders))

    @property
    def _how_to(self) -> str:
        names = ", ".join(map(NAMINGS[0].format, STEMS.values()))
        return (
            f"Get {ORIGINALS}{self.name}-v1.zip ({self.megabytes} MB), which holds {names}, "
            "and name the folder that holds it with --data."
        )

    def _write(self, found: Path | None, writer: cache.Writer, progress: bool) -> None:
        attempt = partial(read, found) if found else partial(read_hub, f"{self.name}-v1")
        contents = downloads.first_of([attempt], self._how_to)
        source = found or HUB
        if missing := [stem for split, stem in STEMS.items() if split not in contents]:
            raise DataError(f"{source} lacks the text of {', '.join(missing)}. {self._how_to}")
        texts = {split: lines(text, f"{STEMS[split]} in {source}") for split, text in contents.items()}
        try:
            words, tokens = encoded(texts, progress)
        except KeyError as error:
            raise DataError(
                f"{source} does not hold the published text: the word {error} is not in the train text. {self._how_to}"
            ) from error
        sizes = {split: len(part) for split, part in tokens.items()}
        if sizes != self.published or len(words) != self.vocabulary:
            counts = ", ".join(
                f"{size:,} words in {split} (not {self.published[split]:,})" for split, size in sizes.items()
            )
            raise DataError(
                f"{source} does not hold the published text: {counts}, "
                f"a vocabulary of {len(words):,} (not {self.vocabulary:,}). {self._how_to}"
            )
        self._store(writer, words, tokens)

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        self._store(writer, *encoded(miniatures.sentences(), progress))


@dataclass(frozen=True, kw_only=True)
class WikiText2(WikiText103):
    """Articles of Wikipedia: two million words, and a vocabulary of 33,278 words, including the end of a line."""

    name: ClassVar[str] = "wikitext-2"
    title: ClassVar[str] = "WikiText-2"
    folders: ClassVar[tuple[str, ...]] = ("wikitext-2", "wt2", "wt2/wikitext-2")
    published: ClassVar[dict[str, int]] = {"train": 2_088_628, "val": 217_646, "test": 245_569}
    vocabulary: ClassVar[int] = 33_278
    published_chance: ClassVar[float] = 715.44
    megabytes: ClassVar[float] = 4.3


def read(source: Path) -> dict[str, bytes]:
    """Return the texts of a folder or an archive, by split.

    Raises:
        DataError: the archive is broken.
    """
    files = archives.read_folder(source, "*.*") if source.is_dir() else archives.read_archive(source, "*.*")
    splits = {naming.format(stem): split for split, stem in STEMS.items() for naming in NAMINGS}
    named = ((name.rsplit("/", 1)[-1], content) for name, content in files)
    return {splits[name]: content for name, content in named if name in splits}


def read_hub(configuration: str) -> dict[str, bytes]:
    """Return the texts from the hub, by split; a row of the hub is a line of a text.

    Raises:
        DataError: the hub cannot be reached.
    """
    contents = {}
    for split, name in HUB_SPLITS.items():
        rows = downloads.hub(HUB, name, ("text",), configuration)["text"]
        contents[split] = "".join(f"{row.rstrip()}\n" for row in rows).encode()
    return contents


def lines(content: bytes, name: str) -> list[str]:
    """Return the lines of a text; only a line feed ends a line.

    Raises:
        DataError: the text is not UTF-8.
    """
    try:
        return io.TextIOWrapper(io.BytesIO(content), "utf-8", newline="\n").readlines()
    except UnicodeDecodeError:
        for number, line in enumerate(content.split(b"\n"), 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise DataError(f"Line {number} of {name} is not UTF-8 text ({error}); get the file again.") from error
        raise


def encoded(texts: Mapping[str, Iterable[str]], progress: bool) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the vocabulary of the train text, and each split encoded with it.

    Raises:
        KeyError: a split has a word that the train text lacks.
    """
    words = vocabulary.words(texts["train"])
    splits = parallel.tracked(SPLITS, len(SPLITS), title="WikiText: encoding", progress=progress)
    return words, {split: vocabulary.encode_words(texts[split], words) for split in splits}
