"""CIFAR-10: its original files, and the base class of the data sets ``image``, ``scifar`` and ``cifar``.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
"""

from __future__ import annotations

import hashlib
import io
import pickle
import pickletools
from collections.abc import Iterator, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ssm_data import archives, cache, downloads, parallel
from ssm_data.contract import Dataset, Place, Preparation, Prepared, Spec
from ssm_data.errors import DataError
from ssm_data.generators import miniatures
from ssm_data.splits import Pixels, shuffled

ORIGINAL = downloads.Published(
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    170_498_071,
    "c58f30108f718f92721af3b95e74349a",
)
HUB = "uoft-cs/cifar10"
FOLDER = "cifar-10-batches-py"
PARENTS = ("cifar", "cifar10")
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = "test_batch"
#: MD5 of the published files.
MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
#: Published file by the SHA-256 of its content: pixels (10,000 x 3,072 uint8), then classes (uint8).
CONTENT = {
    "ba52cb2d72c412975d7556bb26bd094956f1c002d1937053f6f1252f2ac17114": "data_batch_1",
    "350ff9000489d02f2568c0dcf4912ffdbae9e50932147905fb1b8159ad54f0ac": "data_batch_2",
    "a2b8653fc457df407af6c38b7e0d1a12530f3b5f81fce9f81516efd065daf722": "data_batch_3",
    "133e6292c377755074c305db8a684d48d5397372cb0aba34f52b4335eab35d97": "data_batch_4",
    "eb08cdc11fd1267ef871cf4790f193684b3f556d13317be68f4eb374a078ea87": "data_batch_5",
    "9a4c74f5c8b6f2c4e13d3a1dfb43a5a8cda8a9da515e99fd620d2013a1a6287a": "test_batch",
}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
#: Limits of the pickle of a batch. A published batch has 10,013 numbered objects, and operations of protocol 2.
MOST_OBJECTS, PROTOCOL = 1_000_000, 3
#: Exceptions that unpickling raises for damaged or forged content.
UNPICKLING = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    SystemError,
    TypeError,
    UnicodeDecodeError,
    ValueError,
)
#: Number of images in a batch file.
BATCH = 10_000
#: Height and width of an image, in pixels.
SIDE = 32
SIZES = {"train": 45_000, "val": 5_000, "test": 10_000}
#: Share of the train images that becomes the validation split.
VALIDATION = 0.1
SPLIT_SEED = 42
MEAN, STD = np.array([0.4914, 0.4822, 0.4465]), np.array([0.247, 0.243, 0.261])
HOW_TO = (
    f"Get {ORIGINAL.url} ({ORIGINAL.size:,} bytes) and name the folder that holds the archive, "
    f"or {FOLDER} unpacked from it, with --data."
)

#: Images (K, 3, 32, 32) uint8 and classes (K,) uint8.
Arrays = tuple[np.ndarray, np.ndarray]


class CIFAR10(Dataset):
    """Base of the three data sets: sources, standardised pixels, and a seeded split of 45,000 and 5,000 images."""

    mean: ClassVar[float | np.ndarray] = MEAN
    std: ClassVar[float | np.ndarray] = STD
    channels: ClassVar[int] = 3
    two_dimensional: ClassVar[bool] = False

    def expected(self) -> Spec:
        axes = (miniatures.SIDE,) * 2 if self.miniature else (SIDE,) * 2
        return self._classification(
            miniatures.HELD_OUT_SIZES if self.miniature else SIZES,
            tokens=False,
            d_input=self.channels,
            d_output=len(CLASSES),
            chance=1 / len(CLASSES),
            l_max=prod(axes),
            axes=axes if self.two_dimensional else (),
        )

    def _preparation(self, place: Place) -> Preparation:
        size = 60_000 * 1024 * self.channels
        if self.miniature:
            return Preparation({"miniature": True}, self._write_miniature, "generates images", size // 30)
        found = _find(place)
        sentence = f"reads {found}" if found else f"downloads {HUB} from the hub, or else {ORIGINAL.url}"
        originals = [found or place.cache / ORIGINAL.name]
        if found and found.is_dir():
            originals = [found / name for name in MD5]
        return Preparation(
            {"miniature": False}, partial(self._write, place, found), sentence, size, originals=originals
        )

    def _write(self, place: Place, found: Path | None, writer: cache.Writer, progress: bool) -> None:
        if found:
            batches = read(found, progress)
        else:
            batches = downloads.first_of(
                [read_hub, lambda: read(downloads.download(ORIGINAL, place.cache, progress), progress)], HOW_TO
            )
        train = [batches[name] for name in TRAIN]
        self._store(writer, "train", *(np.concatenate(parts) for parts in zip(*train, strict=True)))
        self._store(writer, "test", *batches[TEST])
        writer.array("train_order", shuffled(len(TRAIN) * BATCH, SPLIT_SEED))

    def _store(self, writer: cache.Writer, name: str, images: np.ndarray, labels: np.ndarray) -> None:
        writer.array(f"{name}_images", self._picture(images))
        writer.array(f"{name}_labels", labels)

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        for name, (images, labels) in self._textures().items():
            writer.array(f"{name}_images", images)
            writer.array(f"{name}_labels", labels)
        writer.array("train_order", shuffled(miniatures.TRAIN, SPLIT_SEED))

    def _open(self, entry: cache.Entry) -> Prepared:
        splits = {split: Pixels(*part, self.mean, self.std) for split, part in self._parts(entry)}
        return self._classified(entry, splits, classes=self._classes)

    @property
    def _classes(self) -> Sequence[str]:
        return () if self.miniature else CLASSES

    def _parts(self, entry: cache.Entry) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray, np.ndarray]]]:
        """Yield each split and three arrays: rows of its images, all stored classes, and all stored images."""
        order = entry.array("train_order")
        cut = len(order) - int(VALIDATION * len(order))
        test = entry.array("test_labels")
        chosen = {
            "train": ("train", order[:cut]),
            "val": ("train", order[cut:]),
            "test": ("test", np.arange(len(test))),
        }
        for split, (stored, index) in chosen.items():
            images, labels = entry.array(f"{stored}_images"), entry.array(f"{stored}_labels")
            yield split, (index[self._subset(split, len(index))], labels, images)

    def _picture(self, images: np.ndarray) -> np.ndarray:
        """Convert colour images (K, 3, 32, 32) to the stored form: (K, 32, 32, 3) uint8, or (K, 32, 32) if grey."""
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1))

    def _textures(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return images and classes of the miniature, by split."""
        return miniatures.coloured_textures()


def grey(images: np.ndarray) -> np.ndarray:
    """Return the luminance (K, 32, 32) uint8 of images (K, 3, 32, 32), by ITU-R 601-2 and as Pillow computes it."""
    red, green, blue = (images[:, channel].astype(np.uint32) for channel in range(3))
    return ((19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16).astype(np.uint8)


def _find(place: Place) -> Path | None:
    """Return the folder of batches, or an archive of it, or None."""
    places = (FOLDER, *(f"{parent}/{FOLDER}" for parent in PARENTS), ".")
    stems = ("cifar-10-python", *(f"{parent}/cifar-10-python" for parent in PARENTS))
    return archives.folder_with(place.data, places, MD5) or archives.archive(place.data, stems)


def read(source: Path, progress: bool) -> dict[str, Arrays]:
    """Return all six batches of a folder or an archive.

    Raises:
        DataError: a batch is missing or is not the published file.
    """
    pattern = "*_batch*"
    files = archives.read_folder(source, pattern) if source.is_dir() else archives.read_archive(source, pattern)
    batches: dict[str, Arrays] = {}
    for path, content in parallel.tracked(files, len(MD5), title="CIFAR-10: reading", progress=progress):
        name = path.rsplit("/", 1)[-1]
        if name not in MD5:
            continue
        if (found := hashlib.md5(content).hexdigest()) != MD5[name]:
            raise DataError(
                f"{name} in {source} is not the published file: its md5 is {found}, not {MD5[name]}. {HOW_TO}"
            )
        batches[name] = unpickled(content, f"{name} in {source}")
    if missing := sorted(MD5.keys() - batches.keys()):
        raise DataError(f"{source} lacks {', '.join(missing)}. {HOW_TO}")
    return batches


def unpickled(content: bytes, name: str) -> Arrays:
    """Return images and classes of a pickled batch, without executing any code of the pickle.

    Raises:
        DataError: the content is not a batch of CIFAR-10.
    """
    try:
        _check_operations(content)
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        labels = np.array(batch[b"labels"])
        images = batch[b"data"]
        right = (
            images.dtype == np.uint8
            and images.shape == (len(labels), 3 * SIDE**2)
            and labels.dtype.kind == "i"
            and ((labels >= 0) & (labels < len(CLASSES))).all()
        )
    except (*UNPICKLING, MemoryError) as error:
        raise DataError(f"{name} is no batch of CIFAR-10 ({error!r:.200}). {HOW_TO}") from error
    if not right:
        raise DataError(f"{name} is no batch of CIFAR-10: its images or classes have another form. {HOW_TO}")
    return images.reshape(-1, 3, SIDE, SIDE), labels.astype(np.uint8)


def _check_operations(content: bytes) -> None:
    """Refuse a pickle that would fill the memory: Python allocates memory up to the largest object number in it.

    Raises:
        ValueError: an object number is too large, or an operation is newer than the published files.
    """
    for operation, argument, _ in pickletools.genops(content):
        if operation.proto > PROTOCOL or (operation.name.endswith("PUT") and argument > MOST_OBJECTS):  # type: ignore[operator]
            raise ValueError(f"its operation {operation.name} {argument} is in no batch")


def read_hub() -> dict[str, Arrays]:
    """Return all six batches from the hub. The hub stores them in another order; identify each by its content.

    Raises:
        DataError: the hub cannot be reached, or holds other images.
    """
    batches: dict[str, Arrays] = {}
    for split in ("train", "test"):
        rows = downloads.hub(HUB, split, ("img", "label"))
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            images = np.stack([np.asarray(image).transpose(2, 0, 1) for image in part["img"]])
            labels = np.array(part["label"], dtype=np.uint8)
            name = CONTENT.get(hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest())
            if name is None:
                raise DataError(f"{HUB} on the hub does not hold the published images of CIFAR-10.")
            batches[name] = images, labels
    if missing := sorted(MD5.keys() - batches.keys()):
        raise DataError(f"{HUB} on the hub lacks {', '.join(missing)}.")
    return batches


class _Unpickler(pickle.Unpickler):
    """Read only pickled arrays, because a pickle can name any function for the reader to call."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        raise DataError(f"The pickle asks for {module}.{name}, which no batch of CIFAR-10 contains; it was not read.")
