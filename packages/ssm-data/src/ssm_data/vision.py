"""Views of images and videos: the augmentations, sizes and standardisations of the recipes, made of torchvision's.

A view maps pixels (..., C, h, w) uint8 to (..., C, height, width) float32; that of training draws from torch's
generator, which :func:`seeded` sets for one example. Imported when data are opened, because it imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from ssm_data.rand_augment import RandAugment

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

View = Callable[[torch.Tensor], torch.Tensor]
Mix = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
Moments = tuple[Sequence[float], Sequence[float]]


def plain(moments: Moments) -> View:
    """Make the view of all pixels, standardised by mean and deviation of each channel in [0, 1]."""
    return v2.Compose(_standardised(moments))


def centred(size: int, shorter: int, moments: Moments) -> View:
    """Make the view of the square in the middle of a picture, after its shorter side is resized."""
    return v2.Compose([_resized(shorter), v2.CenterCrop(size), *_standardised(moments)])


def shifted(size: int, margin: int, moments: Moments) -> View:
    """Make the view of a random square of the picture with a mirrored margin, flipped with probability 1/2."""
    crop = v2.RandomCrop(size, padding=margin, padding_mode="symmetric")
    return v2.Compose([crop, v2.RandomHorizontalFlip(), *_standardised(moments)])


def strong(size: int, moments: Moments) -> View:
    """Make the view of a random part, flipped with probability 1/2, with RandAugment (9 ± 0.5) and erasing (1/4)."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, interpolation=InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            RandAugment(operations=2, magnitude=9, spread=0.5, fill=_grey_levels(moments)),
            *_standardised(moments),
            v2.RandomErasing(p=0.25, value="random"),
        ]
    )


def filmed(size: int, shorter: int, magnitude: float, moments: Moments) -> View:
    """Make the view of a random square of the resized frames, flipped with probability 1/2, with one RandAugment."""
    return v2.Compose(
        [
            RandAugment(operations=1, magnitude=magnitude, spread=0, fill=_grey_levels(moments)),
            _resized(shorter),
            v2.RandomCrop(size),
            v2.RandomHorizontalFlip(),
            *_standardised(moments),
        ]
    )


def mixed(classes: int) -> Mix:
    """Make the mix of images (B, C, height, width) by mixup (0.8) or CutMix (1.0); classes become probabilities."""
    return v2.RandomChoice([v2.MixUp(alpha=0.8, num_classes=classes), v2.CutMix(alpha=1.0, num_classes=classes)])


def downsampled(pixels: torch.Tensor, rate: int) -> torch.Tensor:
    """Resize pixels (..., height, width) to ``rate`` times less resolution, bilinear, with a filter."""
    size = [-(-side // rate) for side in pixels.shape[-2:]]
    return pixels if rate == 1 else functional.resize(pixels, size, antialias=True)


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Seed torch's generator with the numbers inside the block, and restore it after the block."""
    seed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        yield


def _resized(shorter: int) -> v2.Transform:
    return v2.Resize(shorter, antialias=True)


def _grey_levels(moments: Moments) -> list[float]:
    """Return the mean of each channel, 0 to 255."""
    return [255 * mean for mean in moments[0]]


def _standardised(moments: Moments) -> list[v2.Transform]:
    mean, std = moments
    return [v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std))]
