"""Pathfinder: the layout, order and splits of the release, scaled pixels, damaged files, warnings."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from ssm_data import DataError, Place
from ssm_data.datasets import pathfinder
from ssm_data.datasets.pathfinder import Pathfinder, PathX
from ssm_data.errors import DataWarning


def test_generated_splits(tmp_path):
    limit = {"train": 30, "val": 10, "test": 10}
    prepared = Pathfinder(limit=limit).prepare(Place(None, tmp_path), progress=False)
    assert prepared.spec.sizes == limit
    assert prepared.spec.l_max == 1024
    pixels, label = prepared.split("train")[0]
    assert pixels.shape == (1024, 1)
    assert pixels.min() == -1
    assert pixels.max() == 1
    assert label in (0, 1)
    index = np.concatenate([prepared.split(split).index for split in limit])
    assert sorted(index) == list(range(50))


def write_release(root, images=20, size=32, parts=2):
    """Write a release of ``parts`` folders; each image is as grey as its number in the order of the reference."""
    folder = root / f"pathfinder{size}" / pathfinder.DIFFICULTY
    (folder / "metadata").mkdir(parents=True)
    each = images // parts
    for part in range(parts):
        (folder / "imgs" / str(part)).mkdir(parents=True)
        lines = []
        for number in range(each):
            grey = np.full((size, size), part * each + number, dtype=np.uint8)
            Image.fromarray(grey).save(folder / "imgs" / str(part) / f"sample_{number}.png")
            lines.append(f"imgs/{part} sample_{number}.png {number} {number % 2} 1.0 14 4 2 0.5 1 1")
        (folder / "metadata" / f"{part}.npy").write_text("\n".join(lines))
    return folder


def prepare(data, tmp_path, dataset=Pathfinder, **options):
    return dataset(**options).prepare(Place(data, tmp_path / "cache"), progress=False)


@pytest.mark.parametrize(("dataset", "size"), [(Pathfinder, 32), (PathX, 128)])
@pytest.mark.parametrize("centre", [True, False])
def test_reads_the_release_in_the_order_and_splits_of_the_reference(tmp_path, monkeypatch, dataset, size, centre):
    """12 parts, of which 10 and 11 come before 2 by name; the split is torch's, with seed 42."""
    monkeypatch.setattr(pathfinder, "IMAGES", 120)
    write_release(tmp_path / "data", images=120, size=size, parts=12)
    prepared = prepare(tmp_path / "data", tmp_path, dataset, centre=centre)
    assert prepared.spec.sizes == {"train": 96, "val": 12, "test": 12}
    split = torch.utils.data.random_split(range(120), [96, 12, 12], torch.Generator().manual_seed(42))
    for name, expected in zip(("train", "val", "test"), split, strict=True):
        found = prepared.split(name)
        assert len(found) == len(expected)
        for i, number in enumerate(expected):
            pixels, label = found[i]
            value = 2 * number / 255 - 1 if centre else number / 255
            np.testing.assert_allclose(pixels, np.full((size * size, 1), value), atol=1e-6)
            assert label == number % 10 % 2


def test_pixels_are_scaled_to_the_range_that_is_asked_for(tmp_path):
    limit = {"train": 3, "val": 3, "test": 3}
    centred, unit = (prepare(None, tmp_path, miniature=True, limit=limit, centre=centre) for centre in (True, False))
    for i in range(3):
        np.testing.assert_allclose(centred.split("val")[i][0], 2 * unit.split("val")[i][0] - 1, atol=1e-6)
        assert unit.split("val")[i][0].min() == 0
    assert centred.spec.fingerprint != unit.spec.fingerprint


def test_no_image_of_the_release_is_left_out(tmp_path, monkeypatch):
    """The reference skips imgs/0/sample_172.png of another folder of the release, curv_baseline."""
    monkeypatch.setattr(pathfinder, "IMAGES", 200)
    write_release(tmp_path, images=200, parts=1)
    prepared = prepare(tmp_path, tmp_path)
    assert prepared.spec.sizes == {"train": 160, "val": 20, "test": 20}


def test_a_part_of_the_release_is_named_and_not_read(tmp_path):
    folder = write_release(tmp_path)
    status = Pathfinder().status(Place(tmp_path, tmp_path / "cache"))
    assert status.state == "preparable"
    assert f"{folder} holds 20 of the release's 200,000" in status.sentence


def png(shape):
    file = io.BytesIO()
    Image.fromarray(np.zeros(shape, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x89PNG broken", "cannot be read"),
        (b"", "cannot be read"),
        (png((32, 32))[:50], "cannot be read"),
        (png((32, 33)), "has 32 x 33 pixels instead of 32 x 32"),
    ],
    ids=["no image", "empty", "truncated", "another size"],
)
def test_an_image_that_is_broken_is_named(tmp_path, monkeypatch, content, sentence):
    monkeypatch.setattr(pathfinder, "IMAGES", 20)
    folder = write_release(tmp_path)
    (folder / "imgs" / "1" / "sample_3.png").write_bytes(content)
    with pytest.raises(DataError, match=rf"imgs/1/sample_3\.png {sentence}"):
        prepare(tmp_path, tmp_path)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_dir() and path.name != "pathfinder"]


@pytest.mark.parametrize(
    "line",
    [
        b"imgs/1 sample_3.png 3 9 1.0 14 4 2 0.5 1 1",
        b"imgs/1 sample_3.png 3 1.0 1.0 14 4 2 0.5 1 1",
        b"imgs/1 sample_3.png 3 -1 1.0",
        b"imgs/1 sample_3.png",
        b"imgs/1 sample_3.png 3 ",
        b"imgs/1 sam\xffple_3.png 3 1 1.0",
        b"/imgs/1 sample_3.png 3 1 1.0",
        b"imgs/../.. sample_3.png 3 1 1.0",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'shape': (3, 4)}",
        b"",
    ],
)
def test_metadata_that_are_broken_are_named_by_file_and_line(tmp_path, monkeypatch, line):
    monkeypatch.setattr(pathfinder, "IMAGES", 20)
    folder = write_release(tmp_path)
    path = folder / "metadata" / "1.npy"
    lines = path.read_bytes().splitlines()
    lines[3] = line
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=r"Line 4 of .*metadata/1\.npy"):
        prepare(tmp_path, tmp_path)


def test_files_beside_the_metadata(tmp_path, monkeypatch):
    """What macOS puts beside each file is passed over; a name that is no number has no place in the order."""
    monkeypatch.setattr(pathfinder, "IMAGES", 20)
    folder = write_release(tmp_path)
    (folder / "metadata" / "._1.npy").write_bytes(b"\x00\x05\x16\x07")
    assert sum(prepare(tmp_path, tmp_path).spec.sizes.values()) == 20
    (folder / "metadata" / "all.npy").write_text("")
    assert "all.npy is not called after a number" in Pathfinder().status(Place(tmp_path, tmp_path / "other")).sentence


def test_data_are_never_generated_silently_if_a_folder_was_named(tmp_path):
    limit = {"train": 2, "val": 2, "test": 2}
    (tmp_path / "data").mkdir()
    place = Place(tmp_path / "data", tmp_path / "cache")
    assert "does not hold pathfinder32/curv_contour_length_14" in Pathfinder(limit=limit).status(place).sentence
    with pytest.warns(DataWarning, match=r"^Pathfinder: .* so the data are generated"):
        Pathfinder(limit=limit).prepare(place, progress=False)
    folder = write_release(tmp_path / "data")
    with pytest.warns(DataWarning, match=rf"^Pathfinder: {folder} holds 20 of the release's 200,000 images"):
        Pathfinder(limit=limit).prepare(place, progress=False)
