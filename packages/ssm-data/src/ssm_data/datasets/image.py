"""Image of the Long Range Arena: CIFAR-10 in grey, pixel by pixel.

Tay et al., "Long Range Arena" (arXiv:2011.04006, section 2.2.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ssm_data.datasets.cifar10 import CIFAR10, grey
from ssm_data.generators import miniatures

#: Mean and standard deviation of the grey pixels in [0, 1], as in the code of the authors of S4.
MEAN, STD = 122.6 / 255, 61 / 255


@dataclass(frozen=True, kw_only=True)
class Image(CIFAR10):
    """Grey images of ten classes as sequences of 1,024 standardised pixels."""

    name: ClassVar[str] = "image"
    title: ClassVar[str] = "Image"
    mean: ClassVar[float] = MEAN
    std: ClassVar[float] = STD
    channels: ClassVar[int] = 1

    def _picture(self, images: np.ndarray) -> np.ndarray:
        return grey(images)

    def _textures(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return miniatures.textures()
