"""Pathfinder images: classes read from the drawing itself, likeness to the original's images."""

import dataclasses

import numpy as np
import pytest
from ssm_data.generators.pathfinder_images import MINIATURE16, PATHFINDER32, PATHFINDER128, generate


def components(mask):
    """Number of the connected component of each marked pixel, from 1; 0 elsewhere."""
    number = np.zeros(mask.shape, dtype=int)
    found = 0
    for start in zip(*np.nonzero(mask), strict=True):
        if number[start]:
            continue
        found += 1
        stack = [start]
        while stack:
            row, column = stack.pop()
            if mask[row, column] and not number[row, column]:
                number[row, column] = found
                for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                    if 0 <= row + down < mask.shape[0] and 0 <= column + right < mask.shape[1]:
                        stack.append((row + down, column + right))
    return number


def widened(mask, radius):
    out = np.zeros_like(mask)
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            if np.hypot(down, right) <= radius + 0.5:
                out |= np.roll(mask, (down, right), (0, 1))
    return out


def narrowed(mask, radius):
    return ~widened(~mask, radius)


def test_class_says_whether_a_path_joins_the_circles():
    """Joins the dashes by widening, in drawings so sparse that contours rarely come near each other."""
    style = dataclasses.replace(PATHFINDER128, dashes=6, distractors=(0,), gaps=(3.0,), clearance=2.9, turn=0.1)
    images, labels = generate(np.random.default_rng(0), 60, style)
    judged = {0: 0, 1: 0}
    for image, label in zip(np.pad(images, ((0, 0), (8, 8), (8, 8))), labels, strict=True):
        contours = components(widened(image > 60, 3))
        circles = components(narrowed(image > 200, 2))
        if contours.max() != 2 or circles.max() != 2:
            continue  # they come too near for this simple judge
        joined = len({contours[circles == circle].max() for circle in (1, 2)}) == 1
        assert joined == bool(label)
        judged[int(label)] += 1
    assert min(judged.values()) >= 10


@pytest.mark.parametrize(
    ("style", "ink", "bright", "spread"),
    [(PATHFINDER32, 20.17, 0.127, 2.08), (PATHFINDER128, 7.94, 0.042, None)],
    ids=["32", "128"],
)
def test_images_are_like_those_of_the_original_generator(style, ink, bright, spread):
    """Mean grey value, share of pixels above 60, and the spread of the mean over images.

    The figures are those of 400 images of 32 and 60 of 128 pixels that the original generator made.
    """
    images, labels = generate(np.random.default_rng(0), 200 if style.size == 32 else 50, style)
    assert images.dtype == np.uint8
    assert images.mean() == pytest.approx(ink, rel=0.05)
    assert (images > 60).mean() == pytest.approx(bright, rel=0.16)
    if spread:
        assert images.mean(axis=(1, 2)).std() == pytest.approx(spread, rel=0.2)
    assert 0.3 < labels.mean() < 0.7
    assert (images.reshape(len(images), -1).max(axis=1) == 255).all()


def test_classes_do_not_differ_in_ink():
    images, labels = generate(np.random.default_rng(5), 400, PATHFINDER32)
    ink = images.mean(axis=(1, 2))
    difference = ink[labels == 1].mean() - ink[labels == 0].mean()
    assert abs(difference) < 3.3 * ink.std() * np.sqrt(1 / (labels == 1).sum() + 1 / (labels == 0).sum())


def test_generator_is_a_function_of_its_seed():
    first, again, other = (generate(np.random.default_rng(seed), 20, MINIATURE16) for seed in (1, 1, 2))
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()
    assert (first[0] != other[0]).any()


def test_style_without_room_is_refused():
    with pytest.raises(ValueError, match="clearance"):
        dataclasses.replace(MINIATURE16, clearance=5.0)
