"""RandAugment as the recipes for ImageNet use it: random operations on an image, built from torchvision's functions.

The operations and magnitudes are called ``inc1`` in the code of the recipes. torchvision's own RandAugment differs: it
has an identity operation, it always applies an operation that it draws, ``posterize`` keeps at least four bits, there
is no ``invert``, and it fills with black by default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

#: Maximum magnitude; the recipes count magnitudes in tenths of the strongest one.
LEVELS = 10


def moved(
    x: Tensor,
    fill: Sequence[float],
    *,
    angle: float = 0.0,
    slopes: tuple[float, float] = (0.0, 0.0),
    shift: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """Rotate pixels about the image centre, shear them from the corner, or shift them.

    Args:
        fill: value of each channel for pixels that are moved in from outside.
        angle: in degrees.
        slopes: horizontal and vertical slope of the shear.
        shift: horizontal and vertical shift, as shares of width and height.
    """
    height, width = x.shape[-2:]
    return functional.affine(
        x,
        angle=angle,
        translate=[int(shift[0] * width), int(shift[1] * height)],
        scale=1.0,
        shear=[math.degrees(math.atan(slope)) for slope in slopes],
        interpolation=InterpolationMode.BILINEAR,
        fill=list(fill),
        center=[0.0, 0.0] if any(slopes) else None,
    )


#: Operations by name; each maps pixels (..., C, h, w) uint8, a magnitude m from -1 to 1, and the fill values to pixels.
#: Some operations ignore the magnitude or its sign.
OPERATIONS: dict[str, Callable[[Tensor, float, Sequence[float]], Tensor]] = {
    "autocontrast": lambda x, m, fill: functional.autocontrast(x),
    "equalize": lambda x, m, fill: functional.equalize(x),
    "invert": lambda x, m, fill: functional.invert(x),
    "posterize": lambda x, m, fill: functional.posterize(x, 4 - int(4 * abs(m))),
    "solarize": lambda x, m, fill: torch.where(x.int() < 256 - int(256 * abs(m)), x, 255 - x),
    "lighten": lambda x, m, fill: torch.where(x < 128, x + int(110 * abs(m)), x),
    "saturation": lambda x, m, fill: functional.adjust_saturation(x, 1 + 0.9 * m),
    "contrast": lambda x, m, fill: functional.adjust_contrast(x, 1 + 0.9 * m),
    "brightness": lambda x, m, fill: functional.adjust_brightness(x, 1 + 0.9 * m),
    "sharpness": lambda x, m, fill: functional.adjust_sharpness(x, 1 + 0.9 * m),
    "rotate": lambda x, m, fill: moved(x, fill, angle=30 * m),
    "shear x": lambda x, m, fill: moved(x, fill, slopes=(0.3 * m, 0.0)),
    "shear y": lambda x, m, fill: moved(x, fill, slopes=(0.0, 0.3 * m)),
    "translate x": lambda x, m, fill: moved(x, fill, shift=(0.45 * m, 0.0)),
    "translate y": lambda x, m, fill: moved(x, fill, shift=(0.0, 0.45 * m)),
}


class RandAugment(torch.nn.Module):
    """Draw operations, and apply each with probability 1/2 at a random magnitude of at most 10.

    The method is by Cubuk et al., "RandAugment" (arXiv:1909.13719), with the changes of the recipes. The recipes draw
    bilinear or bicubic interpolation for moved pixels; this class always uses bilinear interpolation.

    Args:
        operations: number of operations that are drawn for an image.
        magnitude: mean magnitude, 0 to 10.
        spread: standard deviation of the magnitude.
        fill: value of each channel, 0 to 255, for pixels that are moved in from outside.
    """

    def __init__(self, operations: int, magnitude: float, spread: float, fill: Sequence[float]) -> None:
        super().__init__()
        self.operations = operations
        self.magnitude = magnitude
        self.spread = spread
        self.fill = fill

    def forward(self, image: Tensor) -> Tensor:
        kinds = list(OPERATIONS.values())
        for _ in range(self.operations):
            kind = kinds[int(torch.randint(len(kinds), ()))]
            done, positive = torch.rand(2) < 0.5
            magnitude = min(max(self.magnitude + self.spread * float(torch.randn(())), 0), LEVELS) / LEVELS
            if done:
                image = kind(image, magnitude if positive else -magnitude, self.fill)
        return image
