"""Retrieval of the Long Range Arena: does a citation link two papers? Read character by character.

The papers are from Radev et al., "The ACL anthology network corpus" (2013); the task is by Tay et al., "Long Range
Arena" (arXiv:2011.04006, section 2.2.3).
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ssm_data import archives, cache, parallel, vocabulary
from ssm_data.contract import SPLITS, Dataset, Place, Preparation, Prepared, Spec
from ssm_data.datasets import lra_release
from ssm_data.errors import DataError
from ssm_data.generators import miniatures
from ssm_data.options import TextLength
from ssm_data.splits import Pairs, Ragged

FILES = {
    "train": "new_aan_pairs.train.tsv",
    "val": "new_aan_pairs.eval.tsv",
    "test": "new_aan_pairs.test.tsv",
}
FOLDERS = (*lra_release.folders("tsv_data"), "aan", "aan/tsv_data", ".")
PAIRS = {"train": 147_086, "val": 18_090, "test": 17_437}
#: Vocabulary size with the default options, including the special symbols.
SYMBOLS = 98

#: Number of columns: class, two names, two texts.
COLUMNS = 5
LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}

#: Class and both texts.
Row = tuple[int, str, str]


@dataclass(frozen=True, kw_only=True)
class Retrieval(Dataset):
    """Pairs of papers as characters: unrelated (0) or linked by a citation (1).

    Args:
        l_max: maximum length of a sequence, including the end symbol; longer sequences are cut.
    """

    name: ClassVar[str] = "retrieval"
    title: ClassVar[str] = "Retrieval"

    l_max: TextLength = 4000

    def expected(self) -> Spec:
        return self._classification(
            miniatures.SIZES if self.miniature else PAIRS,
            tokens=True,
            d_input=miniatures.PAPER_SYMBOLS if self.miniature else SYMBOLS,
            d_output=2,
            l_max=min(self.l_max, miniatures.LONGEST_PAPER) if self.miniature else self.l_max,
            pair=True,
            chance=0.5,
        )

    def _preparation(self, place: Place) -> Preparation:
        key: dict[str, Any]
        if self.miniature:
            key = {"l_max": self.l_max, "miniature": True}
            return Preparation(key, self._write_miniature, "generates papers", 1 << 20)
        folder = archives.folder_with(place.data, FOLDERS, FILES.values())
        if folder is None:
            where = f"It was looked for in {place.data}" if place.data else "No folder was named with --data"
            missing = (
                f"Retrieval needs the files {', '.join(FILES.values())}. {where} ({', '.join(FOLDERS)}). "
                f"Get {lra_release.URL} (7.7 GB), unpack lra_release/tsv_data and name its folder with --data."
            )
            return Preparation({"l_max": self.l_max, "release": None}, _nothing, "", None, missing)
        sizes = {split: (folder / name).stat().st_size for split, name in FILES.items()}
        key = {"l_max": self.l_max, "release": sizes}
        originals = [folder / name for name in FILES.values()]
        size = sum(sizes.values()) // 8
        return Preparation(key, partial(self._write_release, folder), f"reads {folder}", size, originals=originals)

    def _write_release(self, folder: Path, writer: cache.Writer, progress: bool) -> None:
        rows = {
            split: parallel.tracked(
                read_release(folder / name), PAIRS[split], title=f"Retrieval, {split}", progress=progress
            )
            for split, name in FILES.items()
        }
        for split, pairs in self._store(writer, rows).items():
            if pairs != PAIRS[split]:
                raise DataError(
                    f"{folder / FILES[split]} holds {pairs:,} pairs, but the release has {PAIRS[split]:,}; "
                    f"take it from {lra_release.URL}."
                )

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        self._store(writer, {split: iter(rows) for split, rows in miniatures.papers().items()})

    def _store(self, writer: cache.Writer, splits: dict[str, Iterator[Row]]) -> dict[str, int]:
        """Store the splits and return their sizes."""
        symbols: list[str] = []
        sizes = {}
        for split in SPLITS:
            number: dict[str, int] = {}  # a paper occurs in many pairs and is stored once
            members, labels = [], []
            for label, *texts in splits[split]:
                members.append([number.setdefault(text[: self.l_max - 1], len(number)) for text in texts])
                labels.append(label)
            symbols = symbols or vocabulary.characters(list(number), min_freq=1)
            Ragged.store(writer, split, vocabulary.encode(number, symbols, self.l_max))
            writer.array(f"{split}_members", np.array(members))
            writer.array(f"{split}_labels", np.array(labels))
            sizes[split] = len(labels)
        writer.meta["vocabulary"] = symbols
        return sizes

    def _open(self, entry: cache.Entry) -> Prepared:
        splits = {}
        for split in SPLITS:
            labels = entry.array(f"{split}_labels")
            index = self._subset(split, len(labels))
            splits[split] = Pairs(index, labels, Ragged.open(entry, split), entry.array(f"{split}_members"))
        symbols = entry.meta["vocabulary"]
        return self._classified(
            entry,
            splits,
            d_input=len(symbols),
            classes=("unrelated", "linked"),
            symbols=symbols,
            writing="characters",
        )


def read_release(path: Path) -> Iterator[Row]:
    """Yield class and both texts of each row of a ``new_aan_pairs.*.tsv``.

    Raises:
        DataError: a row has another form.
    """
    csv.field_size_limit(sys.maxsize)
    remedy = f"take the file from {lra_release.URL}."
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file, delimiter="\t")
            for row in rows:
                if len(row) != COLUMNS or row[0] not in LABELS:
                    raise DataError(
                        f"Line {rows.line_num} of {path} is not a pair of papers of the Long Range Arena: it has "
                        f"{len(row)} columns instead of {COLUMNS}, or its class {row[:1]!r:.40} is not one of "
                        f"{', '.join(LABELS)}; {remedy}"
                    )
                yield LABELS[row[0]], row[3], row[4]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a file of pairs of the Long Range Arena ({error}); {remedy}") from error


def _nothing(writer: cache.Writer, progress: bool) -> None:
    raise AssertionError("a preparation without a source is never carried out")
