"""Text of the Long Range Arena: classify the sentiment of film reviews, read character by character.

The 50,000 labelled reviews are by Maas et al., "Learning Word Vectors for Sentiment Analysis" (ACL 2011); the task is
by Tay et al., "Long Range Arena" (arXiv:2011.04006, section 2.2.2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np

from ssm_data import archives, cache, downloads, parallel, vocabulary
from ssm_data.contract import Dataset, Place, Preparation, Prepared, Spec
from ssm_data.errors import DataError
from ssm_data.generators import miniatures
from ssm_data.options import MOST_STEPS, Range, TextLength
from ssm_data.splits import Ragged, Sequences, shuffled

ORIGINAL = downloads.Published(
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    84_125_825,
    "7c2ac02c03563afcf9b574c7e56c153a",
)
HUB = "stanfordnlp/imdb"
CLASSES = ("neg", "pos")
PARTS = [(split, label) for split in ("train", "test") for label in CLASSES]
#: SHA-256 of all reviews of a split, sorted; each review is its class, its UTF-8 text and a zero byte.
PUBLISHED = {
    "train": "a4f2bd19f5900f9787c9931c0e2761ac36fe9575fe06eed2669973392baab239",
    "test": "0d355db8049f382b9938738287aabc0f8f78ccc492c42df1fd895af483ad2b7b",
}
REVIEWS = 50_000
#: Vocabulary size with the default options: 131 characters and three special symbols.
SYMBOLS = 134
#: Share of the train reviews that becomes the validation split.
HELD_OUT = 0.1
SPLIT_SEED = 42
HOW_TO = (
    f"Get {ORIGINAL.url} ({ORIGINAL.size:,} bytes) and name the folder that holds the archive, "
    "or aclImdb unpacked from it, with --data."
)

#: Class and text of each review.
Reviews = list[tuple[int, str]]


@dataclass(frozen=True, kw_only=True)
class Text(Dataset):
    """Reviews as characters, negative (0) or positive (1).

    Args:
        l_max: maximum length of a sequence, including the end symbol; longer sequences are cut.
        min_freq: characters that occur less often in the train reviews become the unknown symbol.
        validation: the release has no validation split. ``held-out`` validates on a seeded tenth of the train reviews.
            ``test`` validates on the test reviews and trains on all train reviews, as in the published results. In both
            cases the vocabulary is built from all train reviews.
    """

    name: ClassVar[str] = "text"
    title: ClassVar[str] = "Text"

    l_max: TextLength = 4096
    min_freq: Annotated[int, Range(1, MOST_STEPS)] = 15
    validation: Literal["held-out", "test"] = "held-out"

    def expected(self) -> Spec:
        train, test = (miniatures.TRAIN, miniatures.TEST) if self.miniature else (REVIEWS // 2, REVIEWS // 2)
        held_out = int(HELD_OUT * train) if self.validation == "held-out" else 0
        return self._classification(
            {"train": train - held_out, "val": held_out or test, "test": test},
            tokens=True,
            d_input=miniatures.REVIEW_SYMBOLS if self.miniature else SYMBOLS,
            d_output=2,
            l_max=min(self.l_max, miniatures.LONGEST_REVIEW) if self.miniature else self.l_max,
            chance=0.5,
        )

    def _preparation(self, place: Place) -> Preparation:
        key = {"l_max": self.l_max, "min_freq": self.min_freq, "miniature": self.miniature}
        if self.miniature:
            return Preparation(key, self._write_miniature, "generates reviews", 1 << 20)
        found = find(place)
        sentence = f"reads {found}" if found else f"downloads {HUB} from the hub, or else {ORIGINAL.url}"
        originals = [found or place.cache / ORIGINAL.name]
        if found and found.is_dir():
            originals = [found / split / label for split, label in PARTS]
        return Preparation(key, partial(self._write, place, found), sentence, 70 << 20, originals=originals)

    def _write(self, place: Place, found: Path | None, writer: cache.Writer, progress: bool) -> None:
        if found:
            reviews = verified(read(found, progress), str(found))
        else:
            reviews = downloads.first_of(
                [
                    lambda: verified(read_hub(), HUB),
                    lambda: verified(read(downloads.download(ORIGINAL, place.cache, progress), progress), ORIGINAL.url),
                ],
                HOW_TO,
            )
        self._store(writer, reviews)

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        self._store(writer, miniatures.reviews())

    def _store(self, writer: cache.Writer, reviews: dict[str, Reviews]) -> None:
        cut = [text[: self.l_max - 1] for _, text in reviews["train"]]
        symbols = vocabulary.characters(cut, self.min_freq)
        for split, rows in reviews.items():
            Ragged.store(writer, split, vocabulary.encode((text for _, text in rows), symbols, self.l_max))
            writer.array(f"{split}_labels", np.array([label for label, _ in rows]))
        writer.array("train_order", shuffled(len(reviews["train"]), SPLIT_SEED))
        writer.meta["vocabulary"] = symbols

    def _open(self, entry: cache.Entry) -> Prepared:
        order = entry.array("train_order")
        held_out = int(HELD_OUT * len(order)) if self.validation == "held-out" else 0
        train, val = np.sort(order[held_out:]), np.sort(order[:held_out])
        test = np.arange(len(entry.array("test_labels")))
        chosen = {
            "train": ("train", train),
            "val": ("train", val) if held_out else ("test", test),
            "test": ("test", test),
        }
        splits = {}
        for split, (stored, index) in chosen.items():
            tokens, labels = Ragged.open(entry, stored), entry.array(f"{stored}_labels")
            splits[split] = Sequences(index[self._subset(split, len(index))], labels, tokens)
        symbols = entry.meta["vocabulary"]
        return self._classified(
            entry,
            splits,
            d_input=len(symbols),
            classes=("negative", "positive"),
            symbols=symbols,
            writing="characters",
        )


def find(place: Place) -> Path | None:
    """Return the folder ``aclImdb``, or an archive of it, or None."""
    folder = archives.folder_with(place.data, ("aclImdb", "."), map("/".join, PARTS))
    return folder or archives.archive(place.data, ("aclImdb", "aclImdb_v1"))


def read(source: Path, progress: bool) -> dict[str, Reviews]:
    """Return the reviews of a folder or an archive, by split.

    Raises:
        DataError: the archive is broken, or a review is not UTF-8 text.
    """
    files = _files(source)
    reviews: dict[str, Reviews] = {"train": [], "test": []}
    for name, content in parallel.tracked(files, REVIEWS, title="Text: reading", progress=progress):
        *_, split, label, _ = name.split("/")
        try:
            reviews[split].append((CLASSES.index(label), content.decode()))
        except UnicodeDecodeError as error:
            raise DataError(f"{name} in {source} is not UTF-8 text ({error}). {HOW_TO}") from error
    return reviews


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for split, label in PARTS:
            yield from archives.read_folder(source, f"{split}/{label}/*.txt")
    else:
        for name, content in archives.read_archive(source, "*.txt"):
            if tuple(name.split("/")[-3:-1]) in PARTS:
                yield name, content


def read_hub() -> dict[str, Reviews]:
    """Return the reviews from the hub, by split."""
    splits = {split: downloads.hub(HUB, split, ("label", "text")) for split in ("train", "test")}
    return {split: list(zip(rows["label"], rows["text"], strict=True)) for split, rows in splits.items()}


def verified(reviews: dict[str, Reviews], source: str) -> dict[str, Reviews]:
    """Check that reviews are the published ones, and return them sorted by class and text.

    Raises:
        DataError: the reviews differ from the published ones.
    """
    for split, rows in reviews.items():
        encoded = sorted((label, text.encode()) for label, text in rows)
        digest = hashlib.sha256(b"".join(bytes([label]) + text + b"\0" for label, text in encoded))
        if digest.hexdigest() != PUBLISHED[split]:
            raise DataError(f"{source} does not hold the published reviews: {len(rows):,} in {split}. {HOW_TO}")
        rows[:] = [(label, text.decode()) for label, text in encoded]
    return reviews
