"""Splits of images and videos, decoded when they are read.

``source[row]`` is an image of pixels (h, w, C) uint8. A source is an array of pixels, an array of encoded files, or a
folder of files.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from ssm_data import cache
from ssm_data.errors import DataError
from ssm_data.splits.base import Endless, Labelled, OnDisk, Ragged

if TYPE_CHECKING:
    import torch

    from ssm_data.vision import Mix, View


class Source(Protocol):
    """A source of images: ``source[row]`` is the image of a row."""

    def __getitem__(self, row: Any, /) -> np.ndarray: ...


@dataclass(frozen=True)
class EncodedImages(OnDisk):
    """Images as the concatenated contents of their files."""

    files: Ragged

    def __getitem__(self, row: int) -> np.ndarray:
        return decoded(self.files[row].tobytes(), f"Image {row}")


@dataclass(frozen=True)
class ImageFiles(OnDisk):
    """Images in the files of a folder; ``names`` holds their paths relative to it."""

    folder: Path
    names: Ragged

    def __getitem__(self, row: int) -> np.ndarray:
        path = self.folder / os.fsdecode(self.names[row].tobytes())
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error}); put the original file back.") from error
        return decoded(content, str(path))


@dataclass(frozen=True)
class Images(Labelled):
    """Images transformed by a view, with one class each, or with yes or no for each of several labels.

    Args:
        source: the images.
        view: transforms the pixels of an image to the input of a model.
        rate: factor by which the resolution is lower than the resolution of the view.
    """

    source: Source
    view: View
    rate: int = 1

    def __getitem__(self, number: int) -> tuple[np.ndarray, Any]:
        """Return pixels (height, width, C) float32, and a class or labels (d_output,) float32."""
        row = self.index[number]
        return channels_last(self._seen(row)), self._target(row)

    def _seen(self, row: int) -> torch.Tensor:
        """Return pixels (C, height, width)."""
        import torch

        from ssm_data import vision

        pixels = torch.from_numpy(np.array(self.source[row]).transpose(2, 0, 1))
        return vision.downsampled(self.view(pixels), self.rate)

    def _target(self, row: int) -> Any:
        target = self.targets[row]
        return target.astype(np.float32) if self.targets.ndim == 2 else int(target)

    def downsampled(self, rate: int) -> Self:
        return replace(self, rate=self.rate * rate)


@dataclass(frozen=True)
class AugmentedImages(Images, Endless):
    """Augmented images for training. The view of example n is a function of (seed, n), so it differs between epochs.

    If images are mixed, the examples of a batch are mixed with each other, and the classes become probabilities. If
    several processes share a batch, each process mixes its own part.

    Args:
        mix: function that mixes the images of a batch, or None.
        repeats: number of times that an epoch reads an image; the number of different images of an epoch is divided by
            it ("MultiGrain", arXiv:1902.05509).
        seed: seed of everything that is drawn.
    """

    mix: Mix | None = None
    repeats: int = 1
    seed: int = 0

    def seeded(self, seed: int) -> Self:
        return replace(self, seed=seed)

    def __getitem__(self, number: int) -> tuple[np.ndarray, Any]:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[tuple[np.ndarray, Any]]:
        """Return the examples of a batch; torch's loader calls this method."""
        import torch

        from ssm_data import vision

        rows = [self.index[number % len(self)] for number in numbers]
        pixels = []
        for number, row in zip(numbers, rows, strict=True):
            with vision.seeded(self.seed, number):
                pixels.append(self._seen(row))
        targets = [self._target(row) for row in rows]
        if self.mix is not None:
            with vision.seeded(self.seed, *numbers):
                images, shares = self.mix(torch.stack(pixels), torch.tensor(targets))
            pixels, targets = list(images), list(shares.numpy())
        return [(channels_last(image), target) for image, target in zip(pixels, targets, strict=True)]


@dataclass(frozen=True)
class Videos(OnDisk):
    """Videos as the concatenated contents of their files, and the number of frames of each video."""

    files: Ragged
    counts: np.ndarray

    def frames(self, row: int, numbers: np.ndarray) -> np.ndarray:
        """Return frames (T, h, w, C) uint8 of video ``row``; their numbers must ascend and may repeat."""
        from av.video.reformatter import VideoReformatter

        reformatter = VideoReformatter()
        pixels = {}
        for number, frame in enumerate(film(self.files[row].tobytes(), f"Video {row}")):
            if number in numbers:
                pixels[number] = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
            if number == numbers[-1]:
                return np.stack([pixels[number] for number in numbers])
        raise DataError(f"Video {row} has fewer frames than it had when it was prepared; prepare the data again.")


@dataclass(frozen=True)
class Clips(Labelled):
    """Clips of videos with one class each; ``index`` holds the video of each clip.

    Args:
        videos: the videos from which the clips are cut.
        starts: number of the first frame of each clip.
        spans: number of frames that a clip covers, for each video.
        frames: number of frames that are taken from a clip, at equal distances.
        view: transforms the pixels of these frames to the input of a model.
    """

    videos: Videos
    starts: np.ndarray
    spans: np.ndarray
    frames: int
    view: View

    def digest(self) -> str:
        return cache.digest([super().digest(), self.starts.tolist(), self.frames])

    def __getitem__(self, number: int) -> tuple[np.ndarray, int]:
        """Return pixels (frames, height, width, C) float32 and the class."""
        row = self.index[number]
        return self._seen(row, self.starts[number]), int(self.targets[row])

    def _seen(self, row: int, start: int) -> np.ndarray:
        import torch

        last = min(start + self.spans[row], self.videos.counts[row]) - 1
        numbers = np.linspace(start, last, self.frames).astype(int)
        pixels = self.videos.frames(row, numbers).transpose(0, 3, 1, 2)
        return channels_last(self.view(torch.from_numpy(np.ascontiguousarray(pixels))))


@dataclass(frozen=True)
class AugmentedClips(Clips, Endless):
    """One clip of each video, at a random position. Position and view of example n are a function of (seed, n)."""

    seed: int = 0

    def seeded(self, seed: int) -> Self:
        return replace(self, seed=seed)

    def __getitem__(self, number: int) -> tuple[np.ndarray, int]:
        import torch

        from ssm_data import vision

        row = self.index[number % len(self)]
        with vision.seeded(self.seed, number):
            room = max(0, self.videos.counts[row] - self.spans[row])
            return self._seen(row, int(torch.randint(room + 1, ()))), int(self.targets[row])


def channels_last(pixels: torch.Tensor) -> np.ndarray:
    """Return pixels (..., C, h, w) as (..., h, w, C)."""
    return pixels.movedim(-3, -1).contiguous().numpy()


def decoded(content: bytes, name: str) -> np.ndarray:
    """Decode an image file to pixels (h, w, 3) uint8.

    Raises:
        DataError: the file is broken.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's PNG reader raises SyntaxError
        raise DataError(f"{name} cannot be read as an image ({error}); get the file again.") from error


def film(content: bytes, name: str) -> Iterator[Any]:
    """Yield the frames of a video file as ``av.VideoFrame``.

    Raises:
        DataError: the file is broken.
    """
    import av

    try:
        with av.open(io.BytesIO(content), "r") as container:
            stream = container.streams.video[0]
            if stream.codec_context is None:  # decoding would crash the process
                raise DataError(f"{name} cannot be read as a video (no codec is known); get the file again.")
            stream.thread_type = "NONE"
            yield from container.decode(stream)
    except (av.FFmpegError, IndexError) as error:
        raise DataError(f"{name} cannot be read as a video ({error}); get the file again.") from error
