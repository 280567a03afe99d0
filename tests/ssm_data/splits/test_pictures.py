"""Images and videos: read from files in the original formats, seen as the recipes say, the same for any workers."""

import hashlib
import io
import zipfile
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from PIL import Image as Picture
from ssm_data import DATASETS, DataError, Place, parallel, rand_augment, vision
from ssm_data.batches import loader
from ssm_data.datasets import celeba, hmdb51, imagenet
from ssm_data.datasets.celeba import CelebA
from ssm_data.datasets.cifar import CIFAR
from ssm_data.datasets.cifar10 import MEAN, STD
from ssm_data.datasets.hmdb51 import HMDB51
from ssm_data.datasets.imagenet import ImageNet

NAMES = ["cifar", "imagenet", "celeba", "hmdb51"]
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


# --- ImageNet


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


# --- CelebA

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


# --- HMDB-51

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
def test_films_that_cannot_be_had_are_named(films, tmp_path):
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


# --- What is seen


@pytest.fixture(scope="module", params=NAMES)
def miniature(request, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    options = {"frames": 6} if request.param == "hmdb51" else {}
    dataset = DATASETS[request.param](miniature=True, limit={"train": 37, "val": 9, "test": 9}, **options)
    return dataset.prepare(Place(None, cache), progress=False)


def epoch(prepared, number=0, workers=0, seed=1, split="train"):
    batches = loader(prepared, split, 8, seed=seed, workers=workers)
    batches.batch_sampler.set_epoch(number)
    return list(batches)


def same(first, second):
    return all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in zip(first, second, strict=True))


def test_what_is_drawn_is_a_function_of_seed_and_epoch(miniature):
    before = torch.get_rng_state()
    miniature.split("train")[5]
    assert torch.equal(torch.get_rng_state(), before)  # that of the training is left alone
    first = epoch(miniature)
    for workers in (0, 1, 2):
        assert same(first, epoch(miniature, workers=workers))
    assert not same(first, epoch(miniature, number=1))
    assert not same(first, epoch(miniature, seed=2))
    assert same(epoch(miniature, split="test"), epoch(miniature, split="test", number=1, seed=2))


def test_batches_are_as_the_spec_says(miniature):
    spec = miniature.spec
    for split in ("train", "val", "test"):
        for batch in epoch(miniature, split=split):
            assert batch.x.dtype == torch.float32
            assert batch.x.shape[1:] == (*spec.axes, spec.d_input)
            assert batch.lengths is None
            if spec.target == "labels":
                assert batch.y.shape == (len(batch.x), spec.d_output)
            elif batch.y.is_floating_point():
                assert split == "train"
                torch.testing.assert_close(batch.y.sum(1), torch.ones(len(batch.x)))
            else:
                assert batch.y.shape == (len(batch.x),)
            assert batch.y.max() < spec.d_output


def test_an_augmented_epoch_holds_each_image_once(tmp_path):
    dataset = CIFAR(miniature=True, augment=False, limit={"train": 30})
    plain = dataset.prepare(Place(None, tmp_path), progress=False)
    shifted = CIFAR(miniature=True, limit={"train": 30}).prepare(Place(None, tmp_path), progress=False)
    for number in (0, 1):
        classes = [torch.cat([batch.y for batch in epoch(data, number)]).sort().values for data in (plain, shifted)]
        assert torch.equal(*classes)


def test_cifar_is_shifted_and_flipped_in_training_only(tmp_path):
    prepared = CIFAR(miniature=True, limit={"train": 40}).prepare(Place(None, tmp_path), progress=False)
    split = prepared.split("train")
    found = set()
    for number in range(40):
        image = split.source[split.index[number]].astype(np.float64)
        padded = np.pad((image / 255 - MEAN) / STD, ((4, 4), (4, 4), (0, 0)), mode="symmetric")
        views = {
            (top, left, flip): padded[top : top + 16, left : left + 16][:, ::flip]
            for top in range(9)
            for left in range(9)
            for flip in (1, -1)
        }
        x, _ = split[number]
        fits = [view for view, pixels in views.items() if np.abs(pixels - x).max() < 1e-5]
        assert fits
        found.add(fits[0])
    assert len(found) > 20
    image = prepared.split("val").source[prepared.split("val").index[0]]
    np.testing.assert_allclose(prepared.split("val")[0][0], (image / 255 - MEAN) / STD, atol=1e-5)


@pytest.mark.parametrize("rate", [2, 4, 3])
def test_images_at_less_resolution(tmp_path, rate):
    """Against Pillow, whose filter is as wide as a pixel of the result."""
    prepared = CIFAR(miniature=True, limit={"train": 40}).prepare(Place(None, tmp_path), progress=False)
    coarse = prepared.downsampled(rate)
    size = -(-16 // rate)
    assert coarse.spec.axes == (size, size)
    assert coarse.spec.l_max == size**2
    assert coarse.spec.fingerprint != prepared.spec.fingerprint
    for split in ("train", "test"):
        for number in (0, 7):
            fine, x = prepared.split(split)[number][0], coarse.split(split)[number][0]
            for channel in range(3):
                picture = Picture.fromarray(fine[..., channel])
                expected = np.asarray(picture.resize((size, size), Picture.Resampling.BILINEAR))
                np.testing.assert_allclose(x[..., channel], expected, atol=1e-5)
    again = prepared.downsampled(2).downsampled(2)
    assert torch.equal(*(torch.from_numpy(data.split("test")[3][0]) for data in (again, prepared.downsampled(4))))
    with pytest.raises(ValueError, match="Only signals and images"):
        DATASETS["copying"](miniature=True).prepare(Place(None, tmp_path), progress=False).downsampled(2)
