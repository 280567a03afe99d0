"""Pathfinder: are two circles joined by one dashed path?

By the definition of Linsley et al., "Learning long-range spatial dependencies with horizontal gated
recurrent units" (arXiv:1805.08315, section 4): two long dashed contours and several short distractors lie
in the image without touching; two circles mark both ends of one contour (class 1) or one end of each
(class 0). The images of the Long Range Arena are of this kind, with contours of 14 dashes.

A contour is a random walk that turns gently and steers clear of the border and of all dashes drawn
before. The walks of a whole block of images are made at once, one dash at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Style:
    """Measures of the drawing, in pixels and radians.

    Attributes:
        size: side of the image.
        dashes: dashes of each of the two contours.
        distractors: number of distractors, fewer where no room is left.
        distractor_dashes: dashes of a distractor.
        length, thickness: of a dash.
        gaps: an image draws its gap between dashes from these.
        turn: standard deviation of the turn between dashes.
        max_turn: largest turn.
        clearance: smallest distance of the axes of two dashes.
        border: smallest distance of an axis from the border.
        radius: of the circles.
    """

    size: int
    dashes: int
    distractors: int
    distractor_dashes: int
    length: float
    thickness: float
    gaps: tuple[float, ...]
    turn: float
    max_turn: float
    clearance: float
    border: float
    radius: float

    def __post_init__(self) -> None:
        if self.clearance >= min(self.gaps):
            raise ValueError("The clearance of a style must be smaller than its gaps, or no contour finds room.")


PATHFINDER32 = Style(
    size=32,
    dashes=14,
    distractors=5,
    distractor_dashes=4,
    length=2.0,
    thickness=0.8,
    gaps=(2.0,),
    turn=0.35,
    max_turn=1.0,
    clearance=1.2,
    border=2.0,
    radius=1.6,
)
PATHFINDER128 = Style(
    size=128,
    dashes=14,
    distractors=5,
    distractor_dashes=4,
    length=5.0,
    thickness=1.6,
    gaps=(4.0, 6.0),
    turn=0.3,
    max_turn=0.8,
    clearance=3.0,
    border=4.0,
    radius=3.2,
)
MINIATURE16 = Style(
    size=16,
    dashes=4,
    distractors=0,
    distractor_dashes=0,
    length=2.0,
    thickness=1.0,
    gaps=(1.6,),
    turn=0.3,
    max_turn=1.0,
    clearance=1.2,
    border=1.5,
    radius=1.6,
)
MINIATURE32 = Style(
    size=32,
    dashes=5,
    distractors=1,
    distractor_dashes=3,
    length=3.0,
    thickness=1.2,
    gaps=(2.5,),
    turn=0.3,
    max_turn=1.0,
    clearance=2.0,
    border=2.0,
    radius=2.0,
)

CELLS = 2  # cells of the occupancy grid per pixel
PROPOSALS = 16
ATTEMPTS = 40
DISTRACTOR_ATTEMPTS = 8
ALONG = np.array([-0.5, -0.25, 0.0, 0.25, 0.5])  # points of a dash that are checked, in its length


@dataclass
class _Walks:
    """Dashes of walks: centres (W, P, 2) as (row, column), directions (W, P) in radians."""

    centre: np.ndarray
    direction: np.ndarray

    def ends(self, style: Style) -> np.ndarray:
        """Outer ends of the first and last dash, (W, 2, 2)."""
        out = 0.5 * style.length * _unit(self.direction)
        return np.stack([self.centre[:, 0] - out[:, 0], self.centre[:, -1] + out[:, -1]], axis=1)


def generate(rng: np.random.Generator, count: int, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """``count`` images, (count, size, size) uint8, and their classes, (count,) uint8."""
    images, labels = [], []
    missing = count
    while missing > 0:
        image, label = _draw(rng, count, style)
        images.append(image)
        labels.append(label)
        missing -= len(label)
    return np.concatenate(images)[:count], np.concatenate(labels)[:count]


def _draw(rng: np.random.Generator, count: int, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """Up to ``count`` images: those in which both contours found room."""
    gap = rng.choice(style.gaps, count)
    grid = np.zeros((count, style.size * CELLS, style.size * CELLS), dtype=bool)
    first, found = _walk(rng, grid, gap, style.dashes, ATTEMPTS, style)
    second, found_too = _walk(rng, grid, gap, style.dashes, ATTEMPTS, style)
    keep = found & found_too
    canvas = np.zeros((count, style.size, style.size), dtype=np.float32)
    for walks in (first, second):
        _paint_dashes(canvas, walks, keep, style)
    for _ in range(style.distractors):
        walks, room = _walk(rng, grid, gap, style.distractor_dashes, DISTRACTOR_ATTEMPTS, style)
        _paint_dashes(canvas, walks, room & keep, style)
    label = rng.random(count) < 0.5
    end = rng.integers(0, 2, count)
    marked, other = first.ends(style), second.ends(style)
    rows = np.arange(count)
    partner = np.where(label[:, None], marked[rows, 1 - end], other[rows, end])
    for centre in (marked[rows, end], partner):
        _paint_circles(canvas, centre, style)
    images = np.rint(255 * canvas[keep]).astype(np.uint8)
    return images, label[keep].astype(np.uint8)


def _walk(
    rng: np.random.Generator, grid: np.ndarray, gap: np.ndarray, dashes: int, attempts: int, style: Style
) -> tuple[_Walks, np.ndarray]:
    """One walk in each image and where it succeeded; marks the successful ones in ``grid``."""
    count = len(grid)
    walks = _Walks(np.zeros((count, dashes, 2)), np.zeros((count, dashes)))
    pending = np.arange(count)
    for _ in range(attempts):
        trial = grid[pending]
        alive = np.ones(len(pending), dtype=bool)
        for i in range(dashes):
            if i == 0:
                centre = rng.uniform(style.border, style.size - style.border, (len(pending), PROPOSALS, 2))
                direction = rng.uniform(-np.pi, np.pi, (len(pending), PROPOSALS))
            else:
                centre, direction = _proposals(rng, walks, pending, i, gap, style)
            free = _free(trial, centre, direction, style)
            alive &= free.any(axis=1)
            if not alive.any():
                break
            pick = free.argmax(axis=1)
            rows = np.arange(len(pending))
            walks.centre[pending, i] = centre[rows, pick]
            walks.direction[pending, i] = direction[rows, pick]
            _mark(trial, centre[rows, pick], direction[rows, pick], style)
        grid[pending[alive]] = trial[alive]
        pending = pending[~alive]
        if not len(pending):
            break
    found = np.ones(count, dtype=bool)
    found[pending] = False
    return walks, found


def _proposals(
    rng: np.random.Generator, walks: _Walks, pending: np.ndarray, i: int, gap: np.ndarray, style: Style
) -> tuple[np.ndarray, np.ndarray]:
    """Places for the next dash, (W, proposals, 2) and (W, proposals)."""
    turn = rng.normal(0, style.turn, (len(pending), PROPOSALS)).clip(-style.max_turn, style.max_turn)
    before = walks.direction[pending, i - 1, None]
    step = style.length + gap[pending, None, None]
    return walks.centre[pending, i - 1, None] + step * _unit(before + turn / 2), before + turn


def _unit(direction: np.ndarray) -> np.ndarray:
    return np.stack([np.sin(direction), np.cos(direction)], axis=-1)


def _points(centre: np.ndarray, direction: np.ndarray, style: Style) -> np.ndarray:
    """Points along dashes, (..., 5, 2)."""
    along = style.length * ALONG[:, None]
    return centre[..., None, :] + along * _unit(direction)[..., None, :]


def _free(grid: np.ndarray, centre: np.ndarray, direction: np.ndarray, style: Style) -> np.ndarray:
    """Which proposals (W, proposals) touch neither the border nor what is marked in ``grid``."""
    points = _points(centre, direction, style)
    inside = ((points >= style.border) & (points <= style.size - style.border)).all(axis=(-1, -2))
    cell = (points.clip(0, style.size - 1e-6) * CELLS).astype(np.intp)
    rows = np.arange(len(grid))[:, None, None]
    taken = grid[rows, cell[..., 0], cell[..., 1]]
    return np.logical_and(inside, ~taken.any(axis=-1))


def _mark(grid: np.ndarray, centre: np.ndarray, direction: np.ndarray, style: Style) -> None:
    """Marks the surroundings of one dash in each grid."""
    reach = int(np.ceil(style.clearance * CELLS))
    offset = _square(reach)
    offset = offset[(offset**2).sum(axis=1) <= (style.clearance * CELLS) ** 2]
    cell = (_points(centre, direction, style) * CELLS).astype(np.intp)[..., None, :] + offset
    cell = cell.clip(0, grid.shape[1] - 1)
    rows = np.arange(len(grid))[:, None, None]
    grid[rows, cell[..., 0], cell[..., 1]] = True


def _paint_dashes(canvas: np.ndarray, walks: _Walks, where: np.ndarray, style: Style) -> None:
    """Draws the walks of the images ``where``, with soft edges of one pixel."""
    image = np.repeat(np.flatnonzero(where), walks.centre.shape[1])
    centre = walks.centre[where].reshape(-1, 2)
    axis = _unit(walks.direction[where].reshape(-1))[:, None]
    pixel, delta = _window(canvas, centre, 0.5 * style.length + 1)
    along = np.abs((delta * axis).sum(axis=-1))
    across = np.abs(delta[..., 0] * axis[..., 1] - delta[..., 1] * axis[..., 0])
    ink = _coverage(along, style.length) * _coverage(across, style.thickness)
    np.maximum.at(canvas, (image[:, None], pixel[..., 0], pixel[..., 1]), ink.astype(np.float32))


def _paint_circles(canvas: np.ndarray, centre: np.ndarray, style: Style) -> None:
    """Draws one filled circle in each image."""
    pixel, delta = _window(canvas, centre, style.radius + 1)
    ink = _coverage(np.hypot(delta[..., 0], delta[..., 1]), 2 * style.radius).astype(np.float32)
    image = np.arange(len(canvas))[:, None]
    np.maximum.at(canvas, (image, pixel[..., 0], pixel[..., 1]), ink)


def _window(canvas: np.ndarray, centre: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels around each centre, (K, W, 2), and their distance from it along rows and columns."""
    offset = _square(int(np.ceil(reach)))
    pixel = (np.floor(centre).astype(np.intp)[:, None] + offset).clip(0, canvas.shape[1] - 1)
    return pixel, pixel + 0.5 - centre[:, None]


def _square(reach: int) -> np.ndarray:
    """Offsets up to ``reach`` along both axes, (K, 2)."""
    row, column = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.stack([row.ravel(), column.ravel()], axis=-1)


def _coverage(distance: np.ndarray, width: float) -> np.ndarray:
    """Share of a pixel at ``distance`` from the axis that a bar of ``width`` covers."""
    return (np.minimum(distance + 0.5, width / 2) - np.maximum(distance - 0.5, -width / 2)).clip(0, 1)
