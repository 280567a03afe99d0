"""CIFAR-10 from a folder, an archive and the hub; grey and colour values and the published split."""

import hashlib
import io
import pickle
import tarfile
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from ssm_data import DataError, Place, downloads
from ssm_data.datasets import cifar10
from ssm_data.datasets.image import Image
from ssm_data.datasets.scifar import SequentialCIFAR

BATCH = 20
RNG = np.random.default_rng(0)
COLOURS = {name: RNG.integers(0, 256, (BATCH, 3, 32, 32), dtype=np.uint8) for name in cifar10.MD5}
LABELS = {name: np.arange(BATCH, dtype=np.uint8) % 10 for name in cifar10.MD5}


def pickled(name):
    content = {b"data": COLOURS[name].reshape(BATCH, 3072), b"labels": LABELS[name].tolist()}
    return pickle.dumps(content, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


FILES = {name: pickled(name) for name in cifar10.MD5}


@pytest.fixture(autouse=True)
def _published(monkeypatch):
    monkeypatch.setattr(cifar10, "BATCH", BATCH)
    monkeypatch.setattr(cifar10, "MD5", {name: hashlib.md5(content).hexdigest() for name, content in FILES.items()})
    content = {hashlib.sha256(COLOURS[name].tobytes() + LABELS[name].tobytes()).hexdigest(): name for name in FILES}
    monkeypatch.setattr(cifar10, "CONTENT", content)


def write_folder(root, files=FILES):
    folder = root / cifar10.FOLDER
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "batches.meta").write_bytes(b"names")
    return root


def prepare(data, tmp_path, **options):
    return Image(**options).prepare(Place(data, tmp_path / "cache"), progress=False)


def from_hub(repository, split, columns):
    """Rows as the hub has them: batches in another order."""
    names = [cifar10.TEST] if split == "test" else cifar10.TRAIN[::-1]
    colours = np.concatenate([COLOURS[name] for name in names])
    labels = np.concatenate([LABELS[name] for name in names])

    class Rows:
        def __len__(self):
            return len(labels)

        def __getitem__(self, rows):
            pictures = [Picture.fromarray(image.transpose(1, 2, 0)) for image in colours[rows]]
            return {"img": pictures, "label": labels[rows].tolist()}

    return Rows()


def test_every_source_gives_the_same_data(tmp_path, monkeypatch):
    folder = prepare(write_folder(tmp_path / "folder"), tmp_path / "1").spec
    (tmp_path / "archive").mkdir()
    with tarfile.open(tmp_path / "archive" / "cifar-10-python.tar.xz", "w:xz") as tar:
        for name, content in reversed(FILES.items()):
            member = tarfile.TarInfo(f"{cifar10.FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    assert prepare(tmp_path / "archive", tmp_path / "2").spec == folder
    monkeypatch.setattr(downloads, "hub", from_hub)
    assert prepare(None, tmp_path / "3").spec == folder
    assert folder.sizes == {"train": 90, "val": 10, "test": 20}


def test_split_is_that_of_random_split(tmp_path):
    prepared = prepare(write_folder(tmp_path / "data"), tmp_path)
    generator = torch.Generator().manual_seed(42)
    train, val = torch.utils.data.random_split(range(5 * BATCH), (90, 10), generator)
    assert prepared.split("train").index.tolist() == list(train.indices)
    assert prepared.split("val").index.tolist() == list(val.indices)


def test_pixels_are_grey_and_standardised(tmp_path):
    prepared = prepare(write_folder(tmp_path / "data"), tmp_path)
    for number in range(BATCH):
        pixels, label = prepared.split("test")[number]
        picture = Picture.fromarray(COLOURS["test_batch"][number].transpose(1, 2, 0)).convert("L")
        expected = (np.asarray(picture, dtype=np.float64).reshape(1024, 1) / 255 - 122.6 / 255) / (61 / 255)
        np.testing.assert_allclose(pixels, expected, atol=1e-6)
        assert label == number % 10


def test_each_colour_is_standardised(tmp_path):
    place = Place(write_folder(tmp_path / "data"), tmp_path / "cache")
    prepared = SequentialCIFAR().prepare(place, progress=False)
    assert (prepared.spec.d_input, prepared.spec.l_max) == (3, 1024)
    mean, std = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)
    for number in range(BATCH):
        pixels, label = prepared.split("test")[number]
        for channel in range(3):
            plane = COLOURS["test_batch"][number, channel].astype(np.float64).reshape(1024)
            np.testing.assert_allclose(pixels[:, channel], (plane / 255 - mean[channel]) / std[channel], atol=1e-6)
        assert label == number % 10
    grey = Image().prepare(place, progress=False)
    assert prepared.split("val").index.tolist() == grey.split("val").index.tolist()


def test_a_changed_batch_is_refused(tmp_path):
    data = write_folder(tmp_path / "data", FILES | {"data_batch_3": FILES["data_batch_3"] + b"x"})
    with pytest.raises(DataError, match=r"data_batch_3 .* is not the published file"):
        prepare(data, tmp_path)


def test_a_missing_batch_is_named(tmp_path):
    folder = write_folder(tmp_path / "data") / cifar10.FOLDER
    (folder / "data_batch_2").unlink()
    with tarfile.open(tmp_path / "data" / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(folder, cifar10.FOLDER)
    with pytest.raises(DataError, match="lacks data_batch_2"):
        prepare(tmp_path / "data", tmp_path)


def test_other_images_on_the_hub_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "hub", from_hub)
    monkeypatch.setitem(LABELS, "data_batch_4", LABELS["data_batch_4"][::-1])
    with pytest.raises(DataError, match="does not hold the published images"):
        cifar10.read_hub()


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_that_calls_functions_is_not_executed(tmp_path, monkeypatch, capsys):
    content = pickle.dumps({b"data": Evil(), b"labels": []}, protocol=3)
    monkeypatch.setitem(cifar10.MD5, "data_batch_1", hashlib.md5(content).hexdigest())
    data = write_folder(tmp_path / "data", FILES | {"data_batch_1": content})
    with pytest.raises(DataError, match=r"asks for builtins\.print"):
        prepare(data, tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "batch",
    [
        {b"data": np.zeros((3, 3072), np.uint8)},
        {b"data": np.zeros((3, 3072), np.uint8), b"labels": [0, 1]},
        {b"data": np.zeros((3, 3072), np.uint8), b"labels": [0, 1, 10]},
        {b"data": np.zeros((3, 3072), np.uint8), b"labels": [0, 1, -1]},
        {b"data": np.zeros((3, 3072), np.uint8), b"labels": [0, 1, 0.5]},
        {b"data": np.zeros((3, 3072), np.float32), b"labels": [0, 1, 2]},
        {b"data": np.zeros((3, 3071), np.uint8), b"labels": [0, 1, 2]},
        {b"data": [1, 2], b"labels": [0, 1]},
        {b"data": None, b"labels": None},
        [1, 2],
        None,
    ],
)
def test_a_batch_of_another_form_is_refused(batch):
    """Even if its checksum were right."""
    content = pickle.dumps(batch, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    with pytest.raises(DataError, match=r"^some file is no batch of CIFAR-10"):
        cifar10.unpickled(content, "some file")


def test_mutated_batches_are_read_or_refused(capfd):
    """Bytes are changed at random; no error but DataError, and nothing is executed."""
    content = pickle.dumps({b"data": COLOURS["test_batch"][:1].reshape(1, 3072), b"labels": [3]}, protocol=3)
    content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    rng = np.random.default_rng(0)
    ends = np.r_[0:150, len(content) - 40 : len(content)]
    for _ in range(500):
        damaged = bytearray(content)
        for place in rng.choice(ends, 2):
            damaged[place] = rng.integers(0, 256)
        try:
            cifar10.unpickled(bytes(damaged), "some file")
        except DataError:
            continue
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    "content", [b"cos\nsystem\n(S'echo executed'\ntR.", b"cposix\nsystem\n.", b"cbuiltins\neval\n."]
)
def test_a_planted_command_is_not_executed(content, capfd):
    with pytest.raises(DataError, match="which no batch of CIFAR-10 contains"):
        cifar10.unpickled(content, "some file")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "content", [b"N" + b"r" + (2**29).to_bytes(4, "little") + b".", b"Np999999999\n.", b"\x96" + bytes(8) + b"."]
)
def test_a_pickle_that_would_fill_the_memory_is_refused(content):
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="is in no batch"):
            cifar10.unpickled(content, "some file")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
