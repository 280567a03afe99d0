"""CelebA: forty attributes of faces, each yes or no.

Liu et al., "Deep Learning Face Attributes in the Wild" (arXiv:1411.7766).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from ssm_data import archives, cache, parallel
from ssm_data.contract import SPLITS, Dataset, Place, Preparation, Prepared, Spec
from ssm_data.errors import DataError
from ssm_data.generators import miniatures
from ssm_data.options import Side
from ssm_data.splits import EncodedImages, Images, Ragged
from ssm_data.splits.pictures import decoded

ATTRIBUTES, PARTITION, IMAGES = "list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba"
MD5 = {ATTRIBUTES: "75e246fa4810816ffd6ee81facbd244c", PARTITION: "d32c9cbf5e040fd4025c592c306e6668"}
PUBLISHED = {"train": 162_770, "val": 19_867, "test": 19_962}
#: Number of attributes.
LABELS = 40
#: Upper bound of the size of all files together, in bytes.
BYTES = 1 << 31
HOW_TO = (
    f"Get {IMAGES}.zip (1.4 GB), {ATTRIBUTES} and {PARTITION} by the link to Google Drive in "
    "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, put them into celeba, the images unpacked or not, and name "
    "the folder that holds celeba with --data."
)


@dataclass(frozen=True, kw_only=True)
class CelebA(Dataset):
    """Central squares of aligned faces; the files are packed into one array and decoded when they are read.

    Args:
        size: height and width of an image, in pixels.
    """

    name: ClassVar[str] = "celeba"
    title: ClassVar[str] = "CelebA"

    size: Side = 128

    def expected(self) -> Spec:
        size = miniatures.SIDE if self.miniature else self.size
        return self._classification(
            miniatures.FACES if self.miniature else PUBLISHED,
            tokens=False,
            d_input=3,
            d_output=LABELS,
            axes=(size, size),
            target="labels",
            chance=math.nan,
        )

    def _preparation(self, place: Place) -> Preparation:
        key = {"miniature": self.miniature}
        if self.miniature:
            return Preparation(key, self._write_miniature, "generates images", 6 << 20)
        folder = archives.folder_with(place.data, ("celeba", "CelebA", "."), MD5)
        images = _images(folder) if folder else None
        if folder is None or images is None:
            wanted = f"{IMAGES} or {IMAGES}.zip" if folder else f"{ATTRIBUTES} and {PARTITION}"
            where = folder or place.data or "a folder that is named with --data"
            return Preparation(
                key, partial(self._write, Path(), Path()), "", missing=f"{wanted} not in {where}. {HOW_TO}"
            )
        originals = [folder / ATTRIBUTES, folder / PARTITION, images]
        return Preparation(key, partial(self._write, folder, images), f"reads {folder}", BYTES, originals=originals)

    def _write(self, folder: Path, images: Path, writer: cache.Writer, progress: bool) -> None:
        labels = dict(read_list(folder / ATTRIBUTES, header=2))
        writer.meta["attributes"] = (folder / ATTRIBUTES).read_text(encoding="utf-8").splitlines()[1].split()
        parts = dict(read_list(folder / PARTITION, header=0))
        if parts.keys() != labels.keys():
            raise DataError(f"{folder / ATTRIBUTES} and {folder / PARTITION} do not name the same images. {HOW_TO}")
        names = sorted(labels)
        splits = {split: [i for i, name in enumerate(names) if parts[name] == [n]] for n, split in enumerate(SPLITS)}
        if (sizes := {split: len(index) for split, index in splits.items()}) != PUBLISHED:
            raise DataError(f"{folder / PARTITION} has {sizes}, not {PUBLISHED}. {HOW_TO}")
        rows = {name: row for row, name in enumerate(names)}
        lengths = np.zeros(len(names), dtype=np.int64)
        for name, size in sizes_of(images):
            if name in rows:
                lengths[rows[name]] = size
        if lacking := np.flatnonzero(lengths == 0).tolist():
            raise DataError(f"{images} lacks {len(lacking):,} images, {names[lacking[0]]} among them. {HOW_TO}")
        packed = Ragged.empty(writer, "files", lengths.tolist(), np.uint8)
        files = archives.read_folder(images, "*.jpg") if images.is_dir() else archives.read_archive(images, "*.jpg")
        for name, content in parallel.tracked(files, len(names), title="CelebA: reading", progress=progress):
            decoded(content, f"{name} in {images}")  # finds a broken image now
            packed[rows[name.rsplit("/", 1)[-1]]][:] = np.frombuffer(content, np.uint8)
        writer.array("labels", np.array([labels[name] for name in names]) > 0)
        for split, index in splits.items():
            writer.array(split, np.array(index))

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        images, labels = zip(*miniatures.faces(LABELS).values(), strict=True)
        writer.meta["attributes"] = [f"attribute {number}" for number in range(LABELS)]
        writer.array("images", np.concatenate(images))
        writer.array("labels", np.concatenate(labels))
        ends = np.cumsum([len(part) for part in labels])
        for split, index in zip(SPLITS, np.split(np.arange(ends[-1]), ends[:-1]), strict=True):
            writer.array(split, index)

    def _open(self, entry: cache.Entry) -> Prepared:
        from ssm_data import vision

        source = entry.array("images") if self.miniature else EncodedImages(Ragged.open(entry, "files"))
        size = source[0].shape[0] if self.miniature else self.size
        view, labels = vision.centred(size, size, vision.IMAGENET), entry.array("labels")
        splits = {}
        for split in SPLITS:
            index = entry.array(split)
            splits[split] = Images(index[self._subset(split, len(index))], labels, source, view)
        return self._classified(entry, splits, classes=entry.meta["attributes"], view={"size": size})


def _images(folder: Path) -> Path | None:
    """Return the folder of images, or the archive of it, or None."""
    inner = next((folder / name for name in (f"{IMAGES}/{IMAGES}", IMAGES) if (folder / name).is_dir()), None)
    return inner or archives.archive(folder, [IMAGES])


def sizes_of(images: Path) -> Iterator[tuple[str, int]]:
    """Yield name and size in bytes of each image in a folder or an archive."""
    if images.is_dir():
        yield from ((path.name, path.stat().st_size) for path in archives.files(images, "*.jpg"))
    else:
        yield from ((name.rsplit("/", 1)[-1], size) for name, size in archives.archive_sizes(images, "*.jpg"))


def read_list(path: Path, header: int) -> Iterator[tuple[str, list[int]]]:
    """Yield name and numbers of each line of a list after its header.

    Raises:
        DataError: the file is not the published list.
    """
    content = archives.content_of(path)
    if (found := hashlib.md5(content).hexdigest()) != MD5[path.name]:
        raise DataError(f"{path} is not the published file: its md5 is {found}, not {MD5[path.name]}. {HOW_TO}")
    for number, line in enumerate(content.decode(errors="replace").splitlines()[header:], header + 1):
        try:
            name, *numbers = line.split()
            yield name, [int(each) for each in numbers]
        except ValueError as error:
            raise DataError(f"Line {number} of {path} is not a name and its numbers ({error}). {HOW_TO}") from error
