"""MNIST pixel by pixel, row by row or in a fixed permutation.

LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998). The sequential and permuted
tasks are those of Le et al., "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units"
(arXiv:1504.00941, section 4.2).
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from ssm_data import archives, cache, downloads
from ssm_data.contract import Dataset, Place, Preparation, Prepared, Spec
from ssm_data.errors import DataError
from ssm_data.generators import miniatures
from ssm_data.options import Seed
from ssm_data.splits import Pixels, shuffled

URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
ORIGINALS = {
    "train_images": downloads.Published(
        f"{URL}train-images-idx3-ubyte.gz", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"
    ),
    "train_labels": downloads.Published(f"{URL}train-labels-idx1-ubyte.gz", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
    "test_images": downloads.Published(
        f"{URL}t10k-images-idx3-ubyte.gz", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"
    ),
    "test_labels": downloads.Published(f"{URL}t10k-labels-idx1-ubyte.gz", 4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
}
VALIDATION = 0.1
SPLIT_SEED = 42
IMAGES, PIXELS = 70_000, 784
SIZES = {"train": 54_000, "val": 6_000, "test": 10_000}
HOW_TO = (
    f"Get {', '.join(original.name for original in ORIGINALS.values())} from {URL} (12 MB) "
    "and name the folder that holds them with --data."
)


@dataclass(frozen=True, kw_only=True)
class SequentialMNIST(Dataset):
    """Digits as 784 pixels in [0, 1], row by row; the seeded split of 54,000 and 6,000."""

    name: ClassVar[str] = "smnist"
    title: ClassVar[str] = "sMNIST"

    def expected(self) -> Spec:
        return self._classification(
            miniatures.HELD_OUT_SIZES if self.miniature else SIZES,
            tokens=False,
            d_input=1,
            d_output=10,
            l_max=miniatures.SIDE**2 if self.miniature else PIXELS,
            chance=0.1 if self.miniature else 0.1135,
        )

    def _preparation(self, place: Place) -> Preparation:
        key = {"miniature": self.miniature, **self._order_key()}
        if self.miniature:
            return Preparation(key, self._write_miniature, "generates images", 1 << 20)
        found = _find(place)
        sentence = f"reads {found}" if found else f"downloads {URL}"
        originals = [(found or place.cache) / original.name for original in ORIGINALS.values()]
        return Preparation(key, partial(self._write, place, found), sentence, IMAGES * PIXELS, originals=originals)

    def _order_key(self) -> dict[str, str | int]:
        return {}

    def _order(self, pixels: int) -> np.ndarray:
        """Which pixel stands at each place of the sequence."""
        return np.arange(pixels)

    def _write(self, place: Place, found: Path | None, writer: cache.Writer, progress: bool) -> None:
        files = {name: found / original.name for name, original in ORIGINALS.items()} if found else {}
        if not files:
            for name, original in ORIGINALS.items():
                attempt = partial(downloads.download, original, place.cache, progress)
                files[name] = downloads.first_of([attempt], HOW_TO)
        self._store(writer, {name: read(path, ORIGINALS[name].digest) for name, path in files.items()})

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        arrays: dict[str, np.ndarray] = {}
        for split, (images, labels) in miniatures.textures().items():
            arrays |= {f"{split}_images": images, f"{split}_labels": labels}
        self._store(writer, arrays)

    def _store(self, writer: cache.Writer, arrays: dict[str, np.ndarray]) -> None:
        for name, values in arrays.items():
            writer.array(name, values)
        writer.array("train_order", shuffled(len(arrays["train_labels"]), SPLIT_SEED))
        writer.array("pixel_order", self._order(arrays["train_images"][0].size))

    def _open(self, entry: cache.Entry) -> Prepared:
        order, pixel_order = entry.array("train_order"), entry.array("pixel_order")
        cut = len(order) - int(VALIDATION * len(order))
        chosen = {
            "train": ("train", order[:cut]),
            "val": ("train", order[cut:]),
            "test": ("test", np.arange(len(entry.array("test_labels")))),
        }
        splits = {}
        for split, (stored, index) in chosen.items():
            images, labels = entry.array(f"{stored}_images"), entry.array(f"{stored}_labels")
            splits[split] = Pixels(index[self._subset(split, len(index))], labels, images, order=pixel_order)
        return self._classified(entry, splits)


@dataclass(frozen=True, kw_only=True)
class PermutedMNIST(SequentialMNIST):
    """The same pixels in one fixed permutation.

    Args:
        order: ``bit-reversal``, as the numbers of the S4 family were obtained, or ``random``.
        seed: of the random permutation.
    """

    name: ClassVar[str] = "pmnist"
    title: ClassVar[str] = "pMNIST"

    order: Literal["bit-reversal", "random"] = "bit-reversal"
    seed: Seed = 0

    def _order_key(self) -> dict[str, str | int]:
        return {"order": self.order, **({"seed": self.seed} if self.order == "random" else {})}

    def _order(self, pixels: int) -> np.ndarray:
        return bit_reversal(pixels) if self.order == "bit-reversal" else shuffled(pixels, self.seed)


def bit_reversal(size: int) -> np.ndarray:
    """0 to ``size - 1`` in the order of their binary digits read backwards.

    Where ``size`` is no power of two, the order of the next one without the numbers that are too large.
    """
    digits = (size - 1).bit_length()
    numbers = np.arange(1 << digits)
    backwards = np.zeros_like(numbers)
    for digit in range(digits):
        backwards = 2 * backwards + (numbers >> digit & 1)
    return backwards[backwards < size]


def _find(place: Place) -> Path | None:
    """The folder of the four files."""
    names = [original.name for original in ORIGINALS.values()]
    return archives.folder_with(place.data, ("mnist", "MNIST/raw", "."), names)


def read(path: Path, md5: str) -> np.ndarray:
    """The array of an IDX file, uint8.

    Raises:
        DataError: it is not the published file.
    """
    compressed = path.read_bytes()
    if (found := hashlib.md5(compressed).hexdigest()) != md5:
        raise DataError(f"{path} is not the published file: its md5 is {found}, not {md5}. {HOW_TO}")
    content = gzip.decompress(compressed)
    # Two zero bytes, the type (8 for uint8), the number of axes, and the length of each in four bytes.
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
