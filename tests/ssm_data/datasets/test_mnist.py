"""sMNIST and pMNIST: IDX files, orders of pixels, the published split."""

import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch
from ssm_data import DataError, Place, downloads
from ssm_data.datasets import mnist
from ssm_data.datasets.mnist import PermutedMNIST, SequentialMNIST, bit_reversal

TRAIN, TEST = 50, 20
RNG = np.random.default_rng(0)
ARRAYS = {
    "train_images": RNG.integers(0, 256, (TRAIN, 28, 28), dtype=np.uint8),
    "train_labels": np.arange(TRAIN, dtype=np.uint8) % 10,
    "test_images": RNG.integers(0, 256, (TEST, 28, 28), dtype=np.uint8),
    "test_labels": np.arange(TEST, dtype=np.uint8) % 10,
}


def idx(values):
    header = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    return gzip.compress(header + values.tobytes(), mtime=0)


FILES = {name: idx(values) for name, values in ARRAYS.items()}


@pytest.fixture(autouse=True)
def _published(monkeypatch):
    originals = {
        name: downloads.Published(original.url, len(FILES[name]), hashlib.md5(FILES[name]).hexdigest())
        for name, original in mnist.ORIGINALS.items()
    }
    monkeypatch.setattr(mnist, "ORIGINALS", originals)
    unpacked = {name: hashlib.md5(gzip.decompress(content)).hexdigest() for name, content in FILES.items()}
    monkeypatch.setattr(mnist, "UNPACKED_MD5", unpacked)


def write_folder(root):
    (root / "MNIST" / "raw").mkdir(parents=True)
    for name, content in FILES.items():
        (root / "MNIST" / "raw" / mnist.ORIGINALS[name].name).write_bytes(content)
    return root


def prepare(dataset, data, tmp_path):
    return dataset.prepare(Place(data, tmp_path / "cache"), progress=False)


def test_pixels_are_those_of_the_file_in_0_1(tmp_path):
    prepared = prepare(SequentialMNIST(), write_folder(tmp_path / "data"), tmp_path)
    assert prepared.spec.sizes == {"train": 45, "val": 5, "test": 20}
    assert (prepared.spec.l_max, prepared.spec.d_input, prepared.spec.d_output) == (784, 1, 10)
    for number in range(TEST):
        pixels, label = prepared.split("test")[number]
        np.testing.assert_allclose(pixels[:, 0], ARRAYS["test_images"][number].reshape(784) / 255, atol=1e-7)
        assert label == number % 10


def test_split_is_that_of_random_split(tmp_path):
    prepared = prepare(SequentialMNIST(), write_folder(tmp_path / "data"), tmp_path)
    train, val = torch.utils.data.random_split(range(TRAIN), (45, 5), torch.Generator().manual_seed(42))
    assert prepared.split("train").index.tolist() == list(train.indices)
    assert prepared.split("val").index.tolist() == list(val.indices)


def test_bit_reversal():
    assert bit_reversal(8).tolist() == [0, 4, 2, 6, 1, 5, 3, 7]
    expected = [number for number in (int(f"{i:010b}"[::-1], 2) for i in range(1024)) if number < 784]
    assert bit_reversal(784).tolist() == expected
    assert sorted(expected) == list(range(784))


def test_every_permuted_image_has_the_same_order(tmp_path):
    data = write_folder(tmp_path / "data")
    plain = prepare(SequentialMNIST(), data, tmp_path)
    orders = {"reversal": PermutedMNIST(), "first": PermutedMNIST(order="random", seed=1)}
    orders["second"] = PermutedMNIST(order="random", seed=2)
    prepared = {name: prepare(dataset, data, tmp_path) for name, dataset in orders.items()}
    for split in ("train", "val", "test"):
        ours, theirs = prepared["reversal"].split(split), plain.split(split)
        for number in range(len(theirs)):
            np.testing.assert_array_equal(ours[number][0], theirs[number][0][bit_reversal(784)])
            assert ours[number][1] == theirs[number][1]
    first, second = (prepared[name].split("test")[3][0] for name in ("first", "second"))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(np.sort(first, axis=0), np.sort(second, axis=0))
    assert len({item.spec.fingerprint for item in [plain, *prepared.values()]}) == 4


def test_a_changed_file_is_refused(tmp_path):
    data = write_folder(tmp_path / "data")
    path = data / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte.gz is not the published file"):
        prepare(SequentialMNIST(), data, tmp_path)


def test_missing_files_are_downloaded_or_named(tmp_path, monkeypatch):
    fetched = []

    def download(source, folder, progress):
        fetched.append(source.name)
        return write_folder(tmp_path / source.name) / "MNIST" / "raw" / source.name

    monkeypatch.setattr(downloads, "download", download)
    assert prepare(SequentialMNIST(), None, tmp_path).spec.sizes["train"] == 45
    assert len(fetched) == 4

    def offline(source, folder, progress):
        raise DataError("no network.")

    monkeypatch.setattr(downloads, "download", offline)
    with pytest.raises(DataError, match=r"no network\. Get train-images.* --data"):
        prepare(PermutedMNIST(), None, tmp_path)


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw", "mnist/MNIST/raw", "."])
@pytest.mark.parametrize("form", ["packed", "unpacked", "dotted", "mixed"])
def test_files_may_be_unpacked_already(tmp_path, folder, form):
    expected = prepare(SequentialMNIST(), write_folder(tmp_path / "packed"), tmp_path / "first").spec
    data = tmp_path / "data"
    (data / folder).mkdir(parents=True)
    for number, (name, content) in enumerate(FILES.items()):
        packed, unpacked, dotted = mnist.names_of(name)
        chosen = {"packed": packed, "unpacked": unpacked, "dotted": dotted, "mixed": (packed, unpacked)[number % 2]}[
            form
        ]
        (data / folder / chosen).write_bytes(content if chosen == packed else gzip.decompress(content))
    assert f"reads {data / folder}" in SequentialMNIST().status(Place(data, tmp_path / "cache")).sentence
    assert prepare(SequentialMNIST(), data, tmp_path).spec == expected


def test_a_folder_that_lacks_a_file_is_named(tmp_path):
    data = write_folder(tmp_path / "data")
    (data / "MNIST" / "raw" / mnist.ORIGINALS["test_labels"].name).unlink()
    sentence = SequentialMNIST().status(Place(data, tmp_path / "cache")).sentence
    assert f"{data / 'MNIST' / 'raw'} lacks t10k-labels-idx1-ubyte.gz and is not read" in sentence


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"\0\0\x0d\x01\0\0\0\x01\1",  # floats
        b"\0\0\x08\x03\0\0\0\x14",  # no lengths
        b"\0\0\x08\x01\xff\xff\xff\xff\1\2\3",  # more values than there are
        b"\0\0\x08\xff",
        b"<html>not found</html>",
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_is_no_idx_file_is_refused(tmp_path, monkeypatch, content, packed):
    """Even if its checksum were right."""
    file = gzip.compress(content) if packed else content
    path = tmp_path / mnist.names_of("test_labels")[0 if packed else 1]
    path.write_bytes(file)
    digest = hashlib.md5(file).hexdigest()
    monkeypatch.setitem(mnist.ORIGINALS, "test_labels", downloads.Published(f"{mnist.URL}a.gz", 1, digest))
    monkeypatch.setitem(mnist.UNPACKED_MD5, "test_labels", digest)
    with pytest.raises(DataError, match=rf"{path.name} is no IDX file of bytes"):
        mnist.read(path, "test_labels")


@pytest.mark.parametrize("labels", [np.full(TEST, 10, np.uint8), np.zeros(TEST + 1, np.uint8)])
def test_labels_that_do_not_fit_the_images_are_refused(tmp_path, monkeypatch, labels):
    content = idx(labels)
    monkeypatch.setitem(
        mnist.ORIGINALS,
        "test_labels",
        downloads.Published(mnist.ORIGINALS["test_labels"].url, 1, hashlib.md5(content).hexdigest()),
    )
    monkeypatch.setitem(FILES, "test_labels", content)
    with pytest.raises(DataError, match="do not hold images and their digits"):
        prepare(SequentialMNIST(), write_folder(tmp_path / "data"), tmp_path)
    assert not [path for path in (tmp_path / "cache" / "smnist").iterdir() if path.is_dir()]
