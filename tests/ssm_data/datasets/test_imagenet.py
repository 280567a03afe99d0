"""ImageNet: files of a folder, augmented epochs, faults."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Picture
from ssm_data import DataError, Place, vision
from ssm_data.batches import loader
from ssm_data.datasets import imagenet
from ssm_data.datasets.imagenet import ImageNet

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


def opened(content):
    return np.asarray(Picture.open(io.BytesIO(content)).convert("RGB"))


def centre(pixels, size, shorter):
    """What evaluation should see, by Pillow and numpy."""
    height, width = pixels.shape[:2]
    scale = shorter / min(height, width)
    picture = Picture.fromarray(pixels).resize((int(width * scale), int(height * scale)), Picture.Resampling.BILINEAR)
    resized = np.asarray(picture, dtype=np.float64)
    top, left = round((resized.shape[0] - size) / 2), round((resized.shape[1] - size) / 2)
    return resized[top : top + size, left : left + size]


def grey_levels(x, moments):
    """8-bit values from standardised ones."""
    mean, std = moments
    return (x * np.array(std) + np.array(mean)) * 255


@pytest.fixture
def imagenet_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(imagenet, "CLASSES", 3)
    monkeypatch.setattr(imagenet, "PUBLISHED", {"train": 6, "val": 3})
    root = tmp_path / "data" / "imagenet"
    for part, each in (("train", 2), ("val", 1)):
        for name in ("n03", "n01", "n02"):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in reversed(range(each)):
                shape = (60, 80) if i else (90, 50)
                (folder / f"{name}_{i}.JPEG").write_bytes(jpeg(smooth(*shape)))
    return root


def test_imagenet_is_read_from_its_folder(imagenet_folder, tmp_path):
    place = Place(imagenet_folder.parent, tmp_path / "cache")
    prepared = ImageNet(size=36).prepare(place, progress=False)
    spec = prepared.spec
    assert spec.sizes == {"train": 6, "val": 3, "test": 3}
    assert (spec.axes, spec.l_max, spec.d_input, spec.d_output) == ((36, 36), 1296, 3, 3)
    assert prepared.split("train").labels.tolist() == [0, 0, 1, 1, 2, 2]
    for number, name in enumerate(("n01", "n02", "n03")):
        x, label = prepared.split("val")[number]
        assert label == number
        original = opened((imagenet_folder / "val" / name / f"{name}_0.JPEG").read_bytes())
        found = grey_levels(x, vision.IMAGENET)
        assert np.abs(found - centre(original, 36, 40)).max() < 3  # each rounds in its own way
    assert not list(place.cache.rglob("*.JPEG"))


def test_imagenet_that_is_not_whole_is_refused(imagenet_folder, tmp_path):
    place = Place(imagenet_folder.parent, tmp_path / "cache")
    (imagenet_folder / "val" / "n02" / "n02_0.JPEG").unlink()
    with pytest.raises(DataError, match=r"val holds 2 images, not 3\. Get"):
        ImageNet().prepare(place, progress=False)
    (imagenet_folder / "train" / "extra").mkdir()
    with pytest.raises(DataError, match="4 folders of classes, not 3"):
        ImageNet().prepare(place, progress=False)
    with pytest.raises(DataError, match=r"holds no folder with train and val .*image-net\.org"):
        ImageNet().prepare(Place(tmp_path, tmp_path / "cache"), progress=False)


@pytest.mark.parametrize("damage", ["removed", "truncated", "text"])
def test_an_image_that_cannot_be_read_is_named(imagenet_folder, tmp_path, damage):
    prepared = ImageNet().prepare(Place(imagenet_folder.parent, tmp_path / "cache"), progress=False)
    path = imagenet_folder / "val" / "n01" / "n01_0.JPEG"
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:500] if damage == "truncated" else b"<html>")
    with pytest.raises(DataError, match=r"n01_0\.JPEG cannot be read"):
        prepared.split("test")[0]


def test_an_epoch_of_imagenet_takes_a_third_of_the_images_three_times(imagenet_folder, tmp_path):
    prepared = ImageNet(size=36).prepare(Place(imagenet_folder.parent, tmp_path / "cache"), progress=False)
    (numbers,) = loader(prepared, "train", 6, seed=0).batch_sampler
    images = {number % 6 for number in numbers}
    split = replace(prepared.split("train").seeded(0), mix=None)
    assert len(numbers) == 6
    assert len(images) == 2
    for image in images:
        first, second, third = (split[number][0] for number in numbers if number % 6 == image)
        assert not np.allclose(first, second)
        assert not np.allclose(first, third)
        assert not np.allclose(second, third)
    with pytest.raises(ValueError, match="repeats is 0"):
        ImageNet(repeats=0)
