"""CIFAR-10 in two dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ssm_data import cache
from ssm_data.contract import Prepared
from ssm_data.datasets.cifar10 import CIFAR10, MEAN, STD
from ssm_data.splits import AugmentedImages, Images

#: Maximum shift of an augmented image, in pixels.
MARGIN = 4


@dataclass(frozen=True, kw_only=True)
class CIFAR(CIFAR10):
    """Colour images of ten classes in two dimensions, 32 by 32 pixels; each channel is standardised.

    ``Prepared.downsampled`` returns them with 16 by 16 or 8 by 8 pixels, for tests at another resolution or for
    progressive resizing.

    Args:
        augment: shift train images by up to 4 pixels, and flip them with probability 1/2.
    """

    name: ClassVar[str] = "cifar"
    title: ClassVar[str] = "CIFAR-10"
    two_dimensional: ClassVar[bool] = True

    augment: bool = True

    def _open(self, entry: cache.Entry) -> Prepared:
        from ssm_data import vision

        moments = (MEAN.tolist(), STD.tolist())
        splits: dict[str, Images] = {}
        for split, (index, labels, images) in self._parts(entry):
            if split == "train" and self.augment:
                splits[split] = AugmentedImages(index, labels, images, vision.shifted(images.shape[1], MARGIN, moments))
            else:
                splits[split] = Images(index, labels, images, vision.plain(moments))
        return self._classified(entry, splits, classes=self._classes)
