"""RandAugment as the recipes for ImageNet use it: random operations on an image, made of torchvision's.

Operations and magnitudes are those that the recipes' code calls ``inc1``. torchvision's own class has others: it may do
nothing and always does what it draws, keeps four bits at least, inverts nothing, and fills with black.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

LEVELS = 10  # magnitudes of the recipes are tenths of the strongest


def moved(
    x: Tensor,
    fill: Sequence[float],
    *,
    angle: float = 0.0,
    slopes: tuple[float, float] = (0.0, 0.0),
    shift: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """Rotate pixels about the middle (in degrees), shear them from the corner, or shift them (by shares)."""
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
"""Of pixels (..., C, h, w) uint8, at a magnitude from -1 to 1; some do not depend on it, or on its sign."""


class RandAugment(torch.nn.Module):
    """Draw operations, and carry out each with probability 1/2 at a random magnitude of at most 10.

    Cubuk et al., "RandAugment" (arXiv:1909.13719), in the form of the recipes; they move pixels by bilinear or bicubic
    interpolation, here by the first alone.

    Args:
        operations: how many are drawn.
        magnitude: 0 to 10.
        spread: its deviation.
        fill: level of each channel, 0 to 255, for pixels that are moved in from outside.
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
