"""ImageNet-1k: images of a thousand classes, read from the folder of the original files when they are needed.

Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge" (arXiv:1409.0575).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np

from ssm_data import archives, cache, parallel
from ssm_data.contract import Dataset, Place, Preparation, Prepared, Spec
from ssm_data.errors import DataError
from ssm_data.generators import miniatures
from ssm_data.options import Range, Side
from ssm_data.splits import AugmentedImages, ImageFiles, Images, Ragged

PLACES = ("imagenet", "imagenet-1k", "ILSVRC2012", "ILSVRC/Data/CLS-LOC", ".")
PARTS = ("train", "val")
CLASSES = 1000
MINIATURE_CLASSES = 10
PUBLISHED = {"train": 1_281_167, "val": 50_000}
#: Side of the crop in evaluation, as a share of the shorter side of the image.
CROP = 0.9
SUFFIXES = (".jpeg", ".jpg", ".png")
HOW_TO = (
    "Get ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar (144 GB) from https://image-net.org, which asks for an "
    "account, unpack them to imagenet/train/<class>/ and imagenet/val/<class>/ with one folder for each of the "
    "1,000 classes (n01440764, ...), and name the folder that holds imagenet with --data."
)


@dataclass(frozen=True, kw_only=True)
class ImageNet(Dataset):
    """Squares of colour images; both val and test are the official validation images, as in all published results.

    Preparation lists the files and does not copy them; therefore the folder must not be moved.

    Args:
        size: height and width of an image, in pixels.
        augment: train on random parts of images with RandAugment, erasing, and mixup or CutMix; otherwise train on the
            central squares of images.
        repeats: number of times that an epoch augments an image; the number of different images of an epoch is divided
            by it.
    """

    name: ClassVar[str] = "imagenet"
    title: ClassVar[str] = "ImageNet-1k"

    size: Side = 224
    augment: bool = True
    repeats: Annotated[int, Range(1, 1000)] = 3

    def expected(self) -> Spec:
        size = miniatures.SIDE if self.miniature else self.size
        sizes = miniatures.SIZES if self.miniature else {**PUBLISHED, "test": PUBLISHED["val"]}
        classes = MINIATURE_CLASSES if self.miniature else CLASSES
        return self._classification(
            sizes, tokens=False, d_input=3, d_output=classes, axes=(size, size), chance=1 / classes
        )

    def _preparation(self, place: Place) -> Preparation:
        if self.miniature:
            return Preparation({"miniature": True}, self._write_miniature, "generates images", 6 << 20)
        folder = archives.folder_with(place.data, PLACES, PARTS)
        if folder is None:
            where = f"{place.data} holds no folder with train and val" if place.data else "No folder is named"
            return Preparation({}, partial(self._write, Path()), "", missing=f"{where} of {self.title}. {HOW_TO}")
        root = folder.resolve()
        return Preparation({"root": str(root)}, partial(self._write, root), f"lists the files of {root}", 80 << 20)

    def _write(self, root: Path, writer: cache.Writer, progress: bool) -> None:
        classes = sorted(path.name for path in (root / PARTS[0]).iterdir() if path.is_dir())
        if len(classes) != CLASSES:
            raise DataError(f"{root / PARTS[0]} has {len(classes):,} folders of classes, not {CLASSES:,}. {HOW_TO}")
        for part in PARTS:
            names: list[str] = []
            labels = []
            title = f"ImageNet: {part}"
            for label, name in enumerate(parallel.tracked(classes, CLASSES, title=title, progress=progress)):
                paths = archives.files(root / part / name, "*")
                found = [path.name for path in paths if path.suffix.lower() in SUFFIXES]
                names.extend(f"{part}/{name}/{file}" for file in found)
                labels += [label] * len(found)
            if len(names) != PUBLISHED[part]:
                raise DataError(f"{root / part} holds {len(names):,} images, not {PUBLISHED[part]:,}. {HOW_TO}")
            Ragged.store(writer, part, [np.frombuffer(os.fsencode(name), np.uint8) for name in names])
            writer.array(f"{part}_labels", np.array(labels))
        writer.meta |= {"root": str(root), "classes": classes}

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        for part, (images, labels) in zip(PARTS, miniatures.coloured_textures().values(), strict=True):
            writer.array(f"{part}_images", images)
            writer.array(f"{part}_labels", labels)
        writer.meta["classes"] = [f"texture {number}" for number in range(MINIATURE_CLASSES)]

    def _open(self, entry: cache.Entry) -> Prepared:
        from ssm_data import vision

        classes = entry.meta["classes"]
        stored = {part: self._source(entry, part) for part in PARTS}
        size = stored["val"][0].shape[0] if self.miniature else self.size
        seen = vision.centred(size, round(size / CROP), vision.IMAGENET)
        splits: dict[str, Images] = {}
        for split, part in (("train", "train"), ("val", "val"), ("test", "val")):
            labels = entry.array(f"{part}_labels")
            index = self._subset(split, len(labels))
            if split == "train" and self.augment:
                view, mix = vision.strong(size, vision.IMAGENET), vision.mixed(len(classes))
                splits[split] = AugmentedImages(index, labels, stored[part], view, mix=mix, repeats=self.repeats)
            else:
                splits[split] = Images(index, labels, stored[part], seen)
        return self._classified(entry, splits, classes=classes, view={"size": size})

    def _source(self, entry: cache.Entry, part: str) -> np.ndarray | ImageFiles:
        if self.miniature:
            return entry.array(f"{part}_images")
        return ImageFiles(Path(entry.meta["root"]), Ragged.open(entry, part))
