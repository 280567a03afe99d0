"""RandAugment: its operations are those of Pillow, done in half of the cases."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from PIL import ImageEnhance, ImageOps
from ssm_data import vision
from ssm_data.rand_augment import OPERATIONS, RandAugment

RNG = np.random.default_rng(0)


def smooth(height, width):
    """A coloured picture that JPEG keeps nearly as it is."""
    y, x = np.mgrid[:height, :width]
    phases = RNG.uniform(0, 3, 3)
    return np.stack([128 + 90 * np.sin(y / 23 + x / 31 + phase) for phase in phases], axis=2).astype(np.uint8)


def test_randaugment_does_half_of_its_operations_at_its_magnitude():
    image = torch.from_numpy(smooth(32, 32).transpose(2, 0, 1).copy())
    weak, strong = RandAugment(1, 1.0, 0.0, (0, 0, 0)), RandAugment(1, 9.0, 0.5, (0, 0, 0))
    changed, change = 0, {weak: 0.0, strong: 0.0}
    for seed in range(200):
        for augment in (weak, strong):
            with vision.seeded(seed):
                difference = (augment(image).int() - image.int()).abs().float().mean()
            change[augment] += float(difference)
            changed += augment is strong and difference > 0
    assert 75 < changed < 125
    assert change[weak] < 0.7 * change[strong]
    pickle.loads(pickle.dumps(strong))(image)  # it goes to other processes


FILL = (90, 120, 60)


def affine(*matrix):
    def operation(picture):
        return picture.transform(
            picture.size, Picture.Transform.AFFINE, matrix, Picture.Resampling.BILINEAR, fillcolor=FILL
        )

    return operation


PILLOW = {
    "autocontrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "invert": ImageOps.invert,
    "posterize": lambda picture: ImageOps.posterize(picture, 1),
    "solarize": lambda picture: ImageOps.solarize(picture, 26),
    "lighten": lambda picture: picture.point(lambda level: level + 99 if level < 128 else level),
    "saturation": lambda picture: ImageEnhance.Color(picture).enhance(1.81),
    "contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.81),
    "brightness": lambda picture: ImageEnhance.Brightness(picture).enhance(1.81),
    "sharpness": lambda picture: ImageEnhance.Sharpness(picture).enhance(1.81),
    "rotate": lambda picture: picture.rotate(-27, Picture.Resampling.BILINEAR, fillcolor=FILL),
    "shear x": affine(1, 0.27, 0, 0, 1, 0),
    "shear y": affine(1, 0, 0, 0.27, 1, 0),
    "translate x": affine(1, 0, -16, 0, 1, 0),
    "translate y": affine(1, 0, 0, 0, 1, -12),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_of_randaugment_are_those_of_pillow(name):
    moves = name in ("rotate", "shear x", "shear y", "translate x", "translate y")
    pixels = smooth(30, 40) if moves else RNG.integers(20, 230, (30, 40, 3), dtype=np.uint8)
    expected = np.asarray(PILLOW[name](Picture.fromarray(pixels))).astype(int)
    found = OPERATIONS[name](torch.from_numpy(pixels.transpose(2, 0, 1).copy()), 0.9, FILL)
    assert found.dtype == torch.uint8
    difference = np.abs(found.numpy().transpose(1, 2, 0).astype(int) - expected)
    assert np.mean(difference > 2) < (0.1 if moves else 0.01)  # along the borders
    assert np.abs(expected - pixels.astype(int)).mean() > 1
