"""HMDB-51: clips of training and evaluation, faults."""

import io

import av
import numpy as np
import pytest
from PIL import Image as Picture
from ssm_data import DataError, Place, parallel, rand_augment
from ssm_data.datasets import celeba, hmdb51
from ssm_data.datasets.hmdb51 import HMDB51

RNG = np.random.default_rng(0)


def smooth(height, width):
    """A coloured picture that JPEG keeps nearly as it is."""
    y, x = np.mgrid[:height, :width]
    phases = RNG.uniform(0, 3, 3)
    return np.stack([128 + 90 * np.sin(y / 23 + x / 31 + phase) for phase in phases], axis=2).astype(np.uint8)


def jpeg(pixels):
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def grey_levels(x, moments):
    """8-bit values from standardised ones."""
    mean, std = moments
    return (x * np.array(std) + np.array(mean)) * 255


FACES = {f"{number:06d}.jpg": jpeg(smooth(218, 178)) for number in range(1, 9)}


def unpack(folder, faces=FACES):
    (folder / celeba.IMAGES).mkdir()
    for name, content in faces.items():
        (folder / celeba.IMAGES / name).write_bytes(content)


RATE = 10


LENGTHS = [45, 20, 7, 30, 61, 12]  # of the videos of a class in frames; the last one is in no split


def write_video(path, frames):
    """A film whose frame i is grey of level 4 i."""
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.qmin = stream.codec_context.qmax = 1
        for number in range(frames):
            picture = np.full((48, 64, 3), 4 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    data = tmp_path_factory.mktemp("films")
    (data / "hmdb51" / "splits").mkdir(parents=True)
    for name in ("wave", "brush_hair"):
        folder = data / "hmdb51" / "videos" / name
        folder.mkdir(parents=True)
        tags = [2, 1, 1, 2, 1, 0]
        lines = []
        for number, (length, tag) in enumerate(zip(LENGTHS, tags, strict=True)):
            write_video(folder / f"{name} #{number}.avi", length)
            lines.append(f"{name} #{number}.avi {tag} \n")
        (data / "hmdb51" / "splits" / f"{name}_test_split1.txt").write_text("".join(lines))
    return data


@pytest.fixture
def _tiny_films(monkeypatch):
    monkeypatch.setattr(hmdb51, "CLASSES", 2)
    monkeypatch.setattr(hmdb51, "PUBLISHED", {"train": 6, "test": 4})
    monkeypatch.setattr(parallel, "FEW", 100)


def levels(clip):
    """Mean level of each frame of a clip (T, H, W, 3)."""
    return grey_levels(clip, hmdb51.MOMENTS).mean(axis=(1, 2, 3))


@pytest.mark.usefixtures("_tiny_films")
def test_clips_of_evaluation_cover_each_video(films, tmp_path):
    dataset = HMDB51(size=28, frames=5, seconds=1.5, validation="test")
    prepared = dataset.prepare(Place(films, tmp_path), progress=False)
    assert prepared.spec.axes == (5, 28, 28)
    # Clips of 15 frames: three of 45 frames, two of 30, for each class.
    assert prepared.spec.sizes == {"train": 6, "val": 10, "test": 10}
    split = prepared.split("test")
    assert split.labels.tolist() == [0] * 5 + [1] * 5
    videos, counts = np.unique(split.index, return_counts=True)
    assert counts.tolist() == [3, 2, 3, 2]
    assert len(videos) == 4
    for number, start in enumerate([0, 15, 30, 0, 15] * 2):
        x, _ = split[number]
        assert x.shape == (5, 28, 28, 3)
        expected = 4 * (start + np.linspace(0, 14, 5).astype(int))
        np.testing.assert_allclose(levels(x), expected, atol=2.5)


@pytest.mark.usefixtures("_tiny_films")
def test_clips_of_training_lie_anywhere_in_a_video(films, tmp_path, monkeypatch):
    monkeypatch.setattr(rand_augment, "OPERATIONS", {"nothing": lambda pixels, magnitude, fill: pixels})
    prepared = HMDB51(size=28, frames=4, seconds=1.5).prepare(Place(films, tmp_path), progress=False)
    split = prepared.split("train")
    assert prepared.spec.sizes["train"] == len(split) == 6
    videos = sorted(set(split.index))
    starts = {video: set() for video in videos}
    for number in range(72):
        video = split.index[number % 6]
        x, label = split[number]
        assert x.shape == (4, 28, 28, 3)
        assert label == video // 3
        found = levels(x) / 4
        start = round(found[0])
        starts[video].add(start)
        last = min(start + 14, split.videos.counts[video] - 1)
        np.testing.assert_allclose(found, np.linspace(start, last, 4).astype(int), atol=0.7)
    for video in videos:
        room = max(0, split.videos.counts[video] - 15)
        assert min(starts[video]) <= room // 2 <= max(starts[video]) <= room


@pytest.mark.usefixtures("_tiny_films")
def test_missing_or_broken_videos_are_named(films, tmp_path):
    cache = tmp_path / "cache"
    (tmp_path / "rar").mkdir()
    (tmp_path / "rar" / "hmdb51_org.rar").write_bytes(b"Rar!")
    with pytest.raises(DataError, match=r"hmdb51_org\.rar cannot be read: unpack .* with unrar"):
        HMDB51().prepare(Place(tmp_path / "rar", cache), progress=False)
    with pytest.raises(DataError, match=r"holds no videos .*serre-lab"):
        HMDB51().prepare(Place(None, cache), progress=False)
    video = films / "hmdb51" / "videos" / "wave" / "wave #4.avi"
    content = video.read_bytes()
    try:
        video.write_bytes(b"<html>" * 100)
        with pytest.raises(DataError, match=r"wave #4\.avi cannot be read as a video"):
            HMDB51().prepare(Place(films, cache), progress=False)
        video.unlink()
        with pytest.raises(DataError, match=r"lacks 1 videos, .*wave #4\.avi"):
            HMDB51().prepare(Place(films, cache), progress=False)
    finally:
        video.write_bytes(content)
    assert HMDB51(validation="test").prepare(Place(films, cache), progress=False).spec.sizes["train"] == 6
