"""Views of images and videos: the augmentations, sizes and standardisations of the recipes, built from torchvision.

A view maps pixels (..., C, h, w) uint8 to pixels (..., C, height, width) float32. Views for training draw from torch's
generator, which :func:`seeded` seeds for one example. Other modules import this one only when they open data,
because it imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from ssm_data.rand_augment import RandAugment

#: Mean and standard deviation of each channel of ImageNet, in [0, 1].
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

View = Callable[[torch.Tensor], torch.Tensor]
Mix = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
Moments = tuple[Sequence[float], Sequence[float]]


def plain(moments: Moments) -> View:
    """Make a view of the whole image, standardised by mean and standard deviation of each channel in [0, 1]."""
    return v2.Compose(_standardised(moments))


def centred(size: int, shorter: int, moments: Moments) -> View:
    """Make a view that resizes the shorter side of an image to ``shorter`` and crops the square at its centre."""
    return v2.Compose([_resized(shorter), v2.CenterCrop(size), *_standardised(moments)])


def shifted(size: int, margin: int, moments: Moments) -> View:
    """Make a view that adds a mirrored margin to an image, crops a random square, and flips it with probability 1/2."""
    crop = v2.RandomCrop(size, padding=margin, padding_mode="symmetric")
    return v2.Compose([crop, v2.RandomHorizontalFlip(), *_standardised(moments)])


def strong(size: int, moments: Moments) -> View:
    """Make a view that resizes a random part of an image, flips it with probability 1/2, and augments it strongly.

    The augmentations are two operations of RandAugment (magnitude 9 ± 0.5), and random erasing with probability 1/4.
    """
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
    """Make a view of frames: one operation of RandAugment, a resize, a random crop, and a flip with probability 1/2."""
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
    """Make a function that mixes images (B, C, height, width) by mixup or CutMix; classes become probabilities.

    It draws one of the two methods for each batch: mixup with alpha 0.8, or CutMix with alpha 1.
    """
    return v2.RandomChoice([v2.MixUp(alpha=0.8, num_classes=classes), v2.CutMix(alpha=1.0, num_classes=classes)])


def downsampled(pixels: torch.Tensor, rate: int) -> torch.Tensor:
    """Resize pixels (..., height, width) to ``rate`` times lower resolution (bilinear, with a low-pass filter)."""
    size = [-(-side // rate) for side in pixels.shape[-2:]]
    return pixels if rate == 1 else functional.resize(pixels, size, antialias=True)


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Seed torch's generator with ``numbers`` for the block, and restore its state after the block."""
    seed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        yield


def _resized(shorter: int) -> v2.Transform:
    return v2.Resize(shorter, antialias=True)


def _grey_levels(moments: Moments) -> list[float]:
    """Return the mean of each channel, from 0 to 255."""
    return [255 * mean for mean in moments[0]]


def _standardised(moments: Moments) -> list[v2.Transform]:
    mean, std = moments
    return [v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std))]
