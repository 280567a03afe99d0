"""CelebA: folder and archive, official parts, faults."""

import hashlib
import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from ssm_data import DataError, Place, vision
from ssm_data.batches import loader
from ssm_data.datasets import celeba
from ssm_data.datasets.celeba import CelebA

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


FACES = {f"{number:06d}.jpg": jpeg(smooth(218, 178)) for number in range(1, 9)}


PARTS = [0, 2, 0, 1, 0, 0, 1, 2]


@pytest.fixture
def celeba_folder(tmp_path, monkeypatch):
    signs = np.random.default_rng(1).choice([-1, 1], (len(FACES), 40))
    rows = [f"{name} {' '.join(f'{sign:2d}' for sign in row)}" for name, row in zip(FACES, signs, strict=True)]
    attributes = "\n".join([str(len(FACES)), " ".join(f"Attribute_{i}" for i in range(40)), *rows, ""])
    partition = "".join(f"{name} {part}\n" for name, part in zip(FACES, PARTS, strict=True))
    contents = {celeba.ATTRIBUTES: attributes.encode(), celeba.PARTITION: partition.encode()}
    folder = tmp_path / "data" / "celeba"
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    monkeypatch.setattr(celeba, "PUBLISHED", {"train": 4, "val": 2, "test": 2})
    monkeypatch.setattr(celeba, "MD5", {name: hashlib.md5(content).hexdigest() for name, content in contents.items()})
    return folder, signs


def unpack(folder, faces=FACES):
    (folder / celeba.IMAGES).mkdir()
    for name, content in faces.items():
        (folder / celeba.IMAGES / name).write_bytes(content)


def pack(folder, faces=FACES):
    with zipfile.ZipFile(folder / f"{celeba.IMAGES}.zip", "w") as archive:
        for name, content in reversed(faces.items()):
            archive.writestr(f"{celeba.IMAGES}/{name}", content)


def test_celeba_from_folder_and_archive(celeba_folder, tmp_path):
    folder, signs = celeba_folder
    pack(folder)
    packed = CelebA(size=40).prepare(Place(folder.parent, tmp_path / "1"), progress=False)
    (folder / f"{celeba.IMAGES}.zip").unlink()
    unpack(folder)
    prepared = CelebA(size=40).prepare(Place(folder.parent, tmp_path / "2"), progress=False)
    assert prepared.spec == packed.spec
    assert prepared.spec.target == "labels"
    assert prepared.spec.d_output == 40
    for number, split in enumerate(("train", "val", "test")):
        rows = [row for row, part in enumerate(PARTS) if part == number]
        batch = next(iter(loader(prepared, split, 8, seed=0))) if split != "train" else None
        for i, row in enumerate(rows):
            x, y = prepared.split(split)[i]
            assert y.tolist() == (signs[row] > 0).tolist()
            expected = centre(opened(FACES[f"{row + 1:06d}.jpg"]), 40, 40)
            assert np.abs(grey_levels(x, vision.IMAGENET) - expected).max() < 3
            if batch is not None:
                assert torch.equal(batch.x[i], torch.from_numpy(x))
                assert torch.equal(batch.y[i], torch.from_numpy(y))
    guess = (signs[[1, 7]] > 0).mean(axis=0)
    assert prepared.spec.chance == pytest.approx(np.maximum(guess, 1 - guess).mean())


def test_celeba_that_is_not_whole_is_refused(celeba_folder, tmp_path):
    folder, _ = celeba_folder
    place = Place(folder.parent, tmp_path / "cache")
    assert CelebA().status(place).state == "missing"
    with pytest.raises(DataError, match=r"img_align_celeba\.zip not in .* Google Drive"):
        CelebA().prepare(place, progress=False)
    unpack(folder, {name: content for name, content in FACES.items() if name != "000003.jpg"})
    with pytest.raises(DataError, match=r"lacks 1 images, 000003\.jpg"):
        CelebA().prepare(place, progress=False)
    (folder / celeba.IMAGES / "000003.jpg").write_bytes(FACES["000003.jpg"][:1000])
    with pytest.raises(DataError, match=r"000003\.jpg in .* cannot be read as an image"):
        CelebA().prepare(place, progress=False)
    (folder / celeba.IMAGES / "000003.jpg").write_bytes(FACES["000003.jpg"])
    partition = folder / celeba.PARTITION
    original = partition.read_bytes()
    partition.write_bytes(original.replace(b"000001.jpg 0", b"000001.jpg 1"))
    with pytest.raises(DataError, match=r"list_eval_partition\.txt is not the published file"):
        CelebA().prepare(place, progress=False)
    partition.write_bytes(original)
    assert CelebA().prepare(place, progress=False).spec.sizes == {"train": 4, "val": 2, "test": 2}
