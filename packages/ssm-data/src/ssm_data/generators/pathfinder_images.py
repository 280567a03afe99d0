"""Generate Pathfinder: are two circles joined by one dashed path?

The definition is by Linsley et al., "Learning long-range spatial dependencies with horizontal gated recurrent units"
(arXiv:1805.08315, section 4). An image has two long dashed contours and several short distractors, which do not touch
each other. Two circles mark both ends of one contour (class 1) or one end of each contour (class 0). The images of the
Long Range Arena are of this kind; their contours have 14 dashes.

A contour is a random walk with small turns. It keeps a distance from the border and from all earlier dashes. The walks
of a whole block of images are drawn at once, one dash at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Style:
    """Sizes and angles of a drawing, in pixels and radians.

    Attributes:
        size: side of the image.
        dashes: number of dashes of each of the two contours.
        distractors: possible numbers of distractors; each image draws one of them.
        distractor_dashes: number of dashes of a distractor.
        length: length of a dash.
        thickness, distractor_thickness: thickness of a dash of a contour, and of a distractor.
        blur: width of the soft edges.
        radius: radius of the circles.
        gaps: possible gaps between dashes; each image draws one of them.
        turn: standard deviation of the turn between two dashes; larger turns are tried if smaller ones are blocked.
        clearance: minimum distance between the axes of two dashes.
        border: minimum distance between an axis and the border.
        start: maximum distance between the image centre and the start of the first contour.
        cells: resolution of the occupancy grid, in cells per pixel.
    """

    size: int
    dashes: int
    distractors: tuple[int, ...]
    distractor_dashes: int
    length: float
    thickness: float
    distractor_thickness: float
    blur: float
    radius: float
    gaps: tuple[float, ...]
    turn: float
    clearance: float
    border: float
    start: float
    cells: int

    def __post_init__(self) -> None:
        if self.clearance >= min(self.gaps):
            raise ValueError("The clearance of a style must be smaller than its gaps, or no contour finds room.")


#: The values were measured on images made by the generator of Linsley et al. with the options of the release.
PATHFINDER32 = Style(
    size=32,
    dashes=14,
    distractors=(1, 2, 3),
    distractor_dashes=4,
    length=2.8,
    thickness=0.6,
    distractor_thickness=1.0,
    blur=1.0,
    radius=1.45,
    gaps=(1.2,),
    turn=0.4,
    clearance=0.9,
    border=2.2,
    start=9.0,
    cells=2,
)
#: The same for images of 128 x 128 pixels.
PATHFINDER128 = Style(
    size=128,
    dashes=14,
    distractors=(8,),
    distractor_dashes=4,
    length=5.8,
    thickness=1.25,
    distractor_thickness=1.25,
    blur=1.5,
    radius=3.3,
    gaps=(2.5, 4.4),
    turn=0.3,
    clearance=2.2,
    border=4.5,
    start=36.0,
    cells=1,
)
MINIATURE16 = Style(
    size=16,
    dashes=3,
    distractors=(0,),
    distractor_dashes=0,
    length=2.0,
    thickness=1.0,
    distractor_thickness=1.0,
    blur=1.0,
    radius=1.5,
    gaps=(1.5,),
    turn=0.3,
    clearance=1.2,
    border=1.5,
    start=4.0,
    cells=2,
)
MINIATURE32 = Style(
    size=32,
    dashes=4,
    distractors=(1,),
    distractor_dashes=3,
    length=3.0,
    thickness=1.2,
    distractor_thickness=1.2,
    blur=1.0,
    radius=2.0,
    gaps=(2.5,),
    turn=0.3,
    clearance=2.0,
    border=2.5,
    start=9.0,
    cells=2,
)

#: Number of places that are proposed for each dash.
PROPOSALS = 12
#: Factors on the turns of the proposals, in the order in which they are tried.
WIDEN = np.linspace(1, 3, PROPOSALS)
#: Maximum turn between two dashes, in radians.
MAX_TURN = 1.2
#: Number of attempts to draw a walk.
ATTEMPTS = 40
#: Points of a dash that are checked, relative to its centre, in units of its length.
ALONG = np.array([-0.5, -0.25, 0.0, 0.25, 0.5])


@dataclass
class _Walks:
    """The P dashes of each of W walks: centres (W, P, 2) as (row, column), directions (W, P) in radians."""

    centre: np.ndarray
    direction: np.ndarray

    def of(self, images: np.ndarray) -> _Walks:
        """Return the walks of some images."""
        return _Walks(self.centre[images], self.direction[images])

    def ends(self, style: Style) -> tuple[np.ndarray, np.ndarray]:
        """Return the outer ends of the first and of the last dash, (W, 2) each."""
        out = 0.5 * style.length * _unit(self.direction)
        return self.centre[:, 0] - out[:, 0], self.centre[:, -1] + out[:, -1]


def generate(rng: np.random.Generator, count: int, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """Generate ``count`` images (count, size, size) uint8, and their classes (count,) uint8."""
    images, labels = [], []
    missing = count
    while missing > 0:
        image, label = _draw(rng, missing + missing // 3 + 8, style)
        images.append(image)
        labels.append(label)
        missing -= len(label)
    return np.concatenate(images)[:count], np.concatenate(labels)[:count]


def _draw(rng: np.random.Generator, count: int, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``count`` images; return the images that have room for both contours and all distractors."""
    gap = rng.choice(style.gaps, count)
    last = 2 + rng.choice(style.distractors, count)
    grid = np.zeros((count, style.size * style.cells, style.size * style.cells), dtype=bool)
    drawn: list[_Walks] = []
    for number in range(last.max()):
        dashes = style.dashes if number < 2 else style.distractor_dashes
        walks, found = _walk(rng, grid, gap, dashes, style, central=number == 0)
        found |= number >= last
        grid, gap, last = grid[found], gap[found], last[found]
        drawn = [earlier.of(found) for earlier in drawn] + [walks.of(found)]
    canvas = np.zeros((len(gap), style.size, style.size), dtype=np.float32)
    for number, walks in enumerate(drawn):
        thickness = style.thickness if number < 2 else style.distractor_thickness
        _paint_dashes(canvas, walks, np.flatnonzero(number < last), thickness, style)
    label = rng.random(len(gap)) < 0.5
    start, end = drawn[0].ends(style)
    other = np.where(rng.random((len(gap), 1)) < 0.5, *drawn[1].ends(style))
    for centre in (start, np.where(label[:, None], end, other)):
        _paint_circles(canvas, centre, style)
    return np.rint(255 * canvas).astype(np.uint8), label.astype(np.uint8)


def _walk(
    rng: np.random.Generator, grid: np.ndarray, gap: np.ndarray, dashes: int, style: Style, *, central: bool
) -> tuple[_Walks, np.ndarray]:
    """Try to draw one walk in each image, and mark it in ``grid``. Return the walks and whether each one succeeded."""
    walks = _Walks(np.zeros((len(grid), dashes, 2)), np.zeros((len(grid), dashes)))
    found = np.zeros(len(grid), dtype=bool)
    for _ in range(ATTEMPTS):
        image = np.flatnonzero(~found)
        trial = grid[image]
        for i in range(dashes):
            if i == 0:
                centre, direction = _starts(rng, len(image), style, central=central)
            else:
                before, angle = walks.centre[image, i - 1], walks.direction[image, i - 1]
                centre, direction = _steps(rng, before, angle, gap[image], style)
            free = _free(trial, centre, direction, style)
            alive = free.any(axis=1)
            if not alive.all():
                image, trial = image[alive], trial[alive]
            pick = np.flatnonzero(alive), free[alive].argmax(axis=1)
            walks.centre[image, i] = centre[pick]
            walks.direction[image, i] = direction[pick]
            _mark(trial, centre[pick], direction[pick], style)
        grid[image] = trial
        found[image] = True
    return walks, found


def _starts(rng: np.random.Generator, count: int, style: Style, *, central: bool) -> tuple[np.ndarray, np.ndarray]:
    """Propose places for the first dash of walks: centres (W, PROPOSALS, 2) and directions (W, PROPOSALS)."""
    shape = (count, PROPOSALS)
    if central:
        distance = rng.uniform(0, style.start, (*shape, 1))
        centre = style.size / 2 + distance * _unit(rng.uniform(-np.pi, np.pi, shape))
    else:
        centre = rng.uniform(style.border, style.size - style.border, (*shape, 2))
    return centre, rng.uniform(-np.pi, np.pi, shape)


def _steps(
    rng: np.random.Generator, centre: np.ndarray, direction: np.ndarray, gap: np.ndarray, style: Style
) -> tuple[np.ndarray, np.ndarray]:
    """Propose places for the next dash after ``centre``: centres (W, PROPOSALS, 2), directions (W, PROPOSALS)."""
    turn = WIDEN * rng.normal(0, style.turn, (len(gap), PROPOSALS))
    turn = turn.clip(-MAX_TURN, MAX_TURN)
    step = (style.length + gap)[:, None, None]
    return centre[:, None] + step * _unit(direction[:, None] + turn / 2), direction[:, None] + turn


def _unit(direction: np.ndarray) -> np.ndarray:
    return np.stack([np.sin(direction), np.cos(direction)], axis=-1)


def _points(centre: np.ndarray, direction: np.ndarray, style: Style) -> np.ndarray:
    """Return five points along each dash, (..., 5, 2)."""
    along = style.length * ALONG[:, None]
    return centre[..., None, :] + along * _unit(direction)[..., None, :]


def _free(grid: np.ndarray, centre: np.ndarray, direction: np.ndarray, style: Style) -> np.ndarray:
    """Return which proposals (W, PROPOSALS) touch neither the border nor a marked cell of ``grid``."""
    points = _points(centre, direction, style)
    inside = ((points >= style.border) & (points <= style.size - style.border)).all(axis=(-1, -2))
    cell = (points.clip(0, style.size - 1e-6) * style.cells).astype(np.intp)
    rows = np.arange(len(grid))[:, None, None]
    taken = grid[rows, cell[..., 0], cell[..., 1]]
    return np.logical_and(inside, ~taken.any(axis=-1))


def _mark(grid: np.ndarray, centre: np.ndarray, direction: np.ndarray, style: Style) -> None:
    """Mark the cells within the clearance of one dash in each grid."""
    reach = int(np.ceil(style.clearance * style.cells))
    offset = _square(reach)
    offset = offset[(offset**2).sum(axis=1) <= (style.clearance * style.cells) ** 2]
    cell = (_points(centre, direction, style) * style.cells).astype(np.intp)[..., None, :] + offset
    cell = cell.clip(0, grid.shape[1] - 1)
    rows = np.arange(len(grid))[:, None, None]
    grid[rows, cell[..., 0], cell[..., 1]] = True


def _paint_dashes(canvas: np.ndarray, walks: _Walks, images: np.ndarray, thickness: float, style: Style) -> None:
    """Draw the walks of some images."""
    image = np.repeat(images, walks.centre.shape[1])[:, None]
    walks = walks.of(images)
    axis = _unit(walks.direction.reshape(-1))[:, None]
    pixel, delta = _window(canvas, walks.centre.reshape(-1, 2), (style.length + style.blur) / 2)
    along = (delta * axis).sum(axis=-1)
    across = delta[..., 0] * axis[..., 1] - delta[..., 1] * axis[..., 0]
    ink = _coverage(along, style.length, style.blur) * _coverage(across, thickness, style.blur)
    np.maximum.at(canvas, (image, pixel[..., 0], pixel[..., 1]), ink.astype(np.float32))


def _paint_circles(canvas: np.ndarray, centre: np.ndarray, style: Style) -> None:
    """Draw one filled circle in each image."""
    pixel, delta = _window(canvas, centre, style.radius + style.blur / 2)
    ink = _coverage(np.hypot(delta[..., 0], delta[..., 1]), 2 * style.radius, style.blur)
    image = np.arange(len(canvas))[:, None]
    np.maximum.at(canvas, (image, pixel[..., 0], pixel[..., 1]), ink.astype(np.float32))


def _window(canvas: np.ndarray, centre: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels around each centre, (K, W, 2), and their row and column distances from it, (K, W, 2)."""
    offset = _square(int(np.ceil(reach)))
    pixel = (np.floor(centre).astype(np.intp)[:, None] + offset).clip(0, canvas.shape[1] - 1)
    return pixel, pixel + 0.5 - centre[:, None]


def _square(reach: int) -> np.ndarray:
    """Return the offsets up to ``reach`` along both axes, (K, 2)."""
    row, column = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.stack([row.ravel(), column.ravel()], axis=-1)


def _coverage(distance: np.ndarray, width: float, blur: float) -> np.ndarray:
    """Return the share of a window of width ``blur``, at ``distance`` from the axis of a bar, that the bar covers."""
    overlap = np.minimum(distance + blur / 2, width / 2) - np.maximum(distance - blur / 2, -width / 2)
    return (overlap / blur).clip(0, 1)
