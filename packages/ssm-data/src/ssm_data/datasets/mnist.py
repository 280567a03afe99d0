"""MNIST pixel by pixel: row by row (smnist), or in a fixed permutation (pmnist).

The images are by LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998). The sequential and
permuted tasks are by Le et al., "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units"
(arXiv:1504.00941, section 4.2).
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from functools import partial
from math import prod
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
#: MD5 of the same files after unpacking.
UNPACKED_MD5 = {
    "train_images": "6bbc9ace898e44ae57da46a324031adb",
    "train_labels": "a25bea736e30d166cdddb491f175f624",
    "test_images": "2646ac647ad5339dbf082846283269ea",
    "test_labels": "27ae3e4e09519cfbb04c329615203637",
}
FOLDERS = ("mnist", "MNIST/raw", "mnist/MNIST/raw", ".")
#: Share of the train images that becomes the validation split.
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
    """Digits as sequences of 784 pixels in [0, 1], row by row; the seeded split has 54,000 and 6,000 images."""

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
        found = find(place)
        sentence, warning = f"downloads {URL}", ""
        if len(found) == len(ORIGINALS):
            sentence = f"reads {next(iter(found.values())).parent}"
        elif found:
            lacking = ", ".join(ORIGINALS[part].name for part in ORIGINALS if part not in found)
            warning = f"{next(iter(found.values())).parent} lacks {lacking} and is not read"
            found = {}
        originals = [found.get(part, place.cache / original.name) for part, original in ORIGINALS.items()]
        write = partial(self._write, place, found)
        return Preparation(key, write, sentence, IMAGES * PIXELS, originals=originals, warning=warning)

    def _order_key(self) -> dict[str, str | int]:
        return {}

    def _order(self, pixels: int) -> np.ndarray:
        """Return the number of the pixel at each position of the sequence."""
        return np.arange(pixels)

    def _write(self, place: Place, files: dict[str, Path], writer: cache.Writer, progress: bool) -> None:
        if not files:
            attempts = {
                part: partial(downloads.download, file, place.cache, progress) for part, file in ORIGINALS.items()
            }
            files = {part: downloads.first_of([attempt], HOW_TO) for part, attempt in attempts.items()}
        arrays = {part: read(path, part) for part, path in files.items()}
        for split in ("train", "test"):
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
            if images.ndim != 3 or labels.shape != images.shape[:1] or labels.max(initial=0) > 9:
                raise DataError(
                    f"{files[f'{split}_images']} and {files[f'{split}_labels']} do not hold images and their digits: "
                    f"their shapes are {images.shape} and {labels.shape}, the greatest class is "
                    f"{labels.max(initial=0)}. {HOW_TO}"
                )
        self._store(writer, arrays)

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
        order: ``bit-reversal``, as in the published results of S4 and its relatives, or ``random``.
        seed: seed of the random permutation.
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
    """Return the bit-reversal permutation of the numbers 0 to ``size - 1``.

    If ``size`` is not a power of two, take the permutation of the next power and leave out the numbers that are too
    large.
    """
    digits = (size - 1).bit_length()
    numbers = np.arange(1 << digits)
    backwards = np.zeros_like(numbers)
    for digit in range(digits):
        backwards = 2 * backwards + (numbers >> digit & 1)
    return backwards[backwards < size]


def names_of(part: str) -> tuple[str, ...]:
    """Return the possible names of a file: as published, unpacked, and unpacked with ``.idx`` instead of ``-idx``."""
    packed = ORIGINALS[part].name
    unpacked = packed.removesuffix(".gz")
    return packed, unpacked, unpacked.replace("-idx", ".idx")


def find(place: Place) -> dict[str, Path]:
    """Return the files, packed or not, in the first folder that holds any of them; the keys are the parts."""
    for folder in FOLDERS if place.data else ():
        found = {}
        for part in ORIGINALS:
            paths = [place.data / folder / name for name in names_of(part)]  # type: ignore[operator]
            if present := next((path for path in paths if path.is_file()), None):
                found[part] = present
        if found:
            return found
    return {}


def read(path: Path, part: str) -> np.ndarray:
    """Return the uint8 array of an IDX file, packed or not.

    Raises:
        DataError: the file is not the published one.
    """
    content = archives.content_of(path)
    packed = path.suffix == ".gz"
    published = ORIGINALS[part].digest if packed else UNPACKED_MD5[part]
    if (found := hashlib.md5(content).hexdigest()) != published:
        raise DataError(f"{path} is not the published file: its md5 is {found}, not {published}. {HOW_TO}")
    try:
        return parsed(gzip.decompress(content) if packed else content)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path} is no IDX file of bytes ({error}). {HOW_TO}") from error


def parsed(content: bytes) -> np.ndarray:
    """Return the array of the content of an IDX file of bytes.

    The content begins with two zero bytes, the type (8 for bytes), the number of axes, and the length of each axis in
    four bytes.

    Raises:
        ValueError: the content has another form.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"it begins with {content[:4]!r}")
    axes = content[3]
    values = content[4 + 4 * axes :]
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, 4 + 4 * axes, 4)]
    if len(content) < 4 + 4 * axes or not axes:
        raise ValueError(f"it ends before the lengths of its {axes} axes")
    if prod(shape) != len(values):
        raise ValueError(f"it declares the shape {shape} and holds {len(values):,} values")
    return np.frombuffer(values, np.uint8).reshape(shape)
