"""Text: reviews from a folder, an archive and the hub; vocabulary, cutting and splits."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
from ssm_data import DataError, Place, downloads, vocabulary
from ssm_data.datasets import text
from ssm_data.datasets.text import Text

REVIEWS = {
    "train": [(i % 2, f"film {i}" + " é☃" * (i == 3)) for i in range(40)],
    "test": [(i % 2, f"test {i}" * (i + 1)) for i in range(10)],
}


def digest(rows):
    lines = sorted((label, review.encode()) for label, review in rows)
    return hashlib.sha256(b"".join(bytes([label]) + review + b"\0" for label, review in lines)).hexdigest()


def files():
    for split, rows in REVIEWS.items():
        for i, (label, review) in enumerate(rows):
            yield f"aclImdb/{split}/{('neg', 'pos')[label]}/{i}_7.txt", review.encode()
    yield "aclImdb/train/unsup/0_0.txt", b"an unlabelled review"
    yield "aclImdb/README", b"read me"


def write_folder(root):
    for name, content in files():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def write_archive(path, order=1):
    with tarfile.open(path, f"w:{path.suffix[1:]}") as tar:
        for name, content in list(files())[::order]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def from_hub(repository, split, columns):
    """Columns as the hub has them, in another order."""
    labels, texts = zip(*REVIEWS[split][::-1], strict=True)
    return {"label": labels, "text": texts}


@pytest.fixture(autouse=True)
def published(monkeypatch):
    monkeypatch.setattr(text, "PUBLISHED", {split: digest(rows) for split, rows in REVIEWS.items()})
    monkeypatch.setattr(text, "REVIEWS", 50)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def prepare(data, tmp_path, **options):
    return Text(min_freq=2, **options).prepare(Place(data, tmp_path / "cache"), progress=False)


def texts(prepared, split, symbols):
    return ["".join(symbols[token] for token in prepared.split(split)[i][0]) for i in range(len(prepared.split(split)))]


def test_every_source_gives_the_same_data(tmp_path, data, monkeypatch):
    specs = []
    for number, write in enumerate(
        [
            write_folder,
            lambda root: write_archive(root / "aclImdb_v1.tar.gz"),
            lambda root: write_archive(root / "aclImdb.tar.xz", order=-1),
        ]
    ):
        root = data / str(number)
        root.mkdir()
        write(root)
        specs.append(prepare(root, tmp_path / str(number)).spec)
    monkeypatch.setattr(downloads, "hub", from_hub)
    specs.append(prepare(None, tmp_path / "hub").spec)
    assert specs == [specs[0]] * 4
    assert specs[0].sizes == {"train": 36, "val": 4, "test": 10}


def test_characters_and_classes(tmp_path, data):
    write_folder(data)
    prepared = prepare(data, tmp_path, validation="test")
    meta = next((tmp_path / "cache" / "text").glob("*/meta.json"))
    symbols = json.loads(meta.read_text())["meta"]["vocabulary"]
    assert symbols[:3] == ["<pad>", "<unk>", "<eos>"]
    assert "é" not in symbols  # occurs once, and min_freq is 2
    assert prepared.spec.d_input == len(symbols)
    read = texts(prepared, "train", symbols)
    assert "film 7<eos>" in read
    assert "film 3 <unk><unk><eos>" in read
    numbers = [int(review.removesuffix("<eos>").split()[1]) for review in read]
    assert [number % 2 for number in numbers] == prepared.split("train").labels.tolist()


def test_cut_with_the_end_symbol_included(tmp_path, data):
    write_folder(data)
    prepared = prepare(data, tmp_path, l_max=9)
    assert prepared.lengths("test").max() == 9
    assert prepared.spec.l_max == 9
    assert all(prepared.split("test")[i][0][-1] == vocabulary.EOS for i in range(10))


def test_validation_is_held_out_or_the_test_split(tmp_path, data):
    write_folder(data)
    held_out = prepare(data, tmp_path)
    both = np.concatenate([held_out.split("train").index, held_out.split("val").index])
    assert sorted(both) == list(range(40))
    published = prepare(data, tmp_path, validation="test")
    assert published.spec.sizes == {"train": 40, "val": 10, "test": 10}
    assert published.spec.fingerprint != held_out.spec.fingerprint


def test_other_reviews_are_refused(tmp_path, data):
    write_folder(data)
    (data / "aclImdb/train/pos/1_7.txt").write_text("changed")
    with pytest.raises(DataError, match="does not hold the published reviews"):
        prepare(data, tmp_path)


def test_what_is_not_utf8_is_named(tmp_path, data):
    write_folder(data)
    (data / "aclImdb/train/pos/1_7.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"train/pos/1_7\.txt.*not UTF-8"):
        prepare(data, tmp_path)
    (data / "aclImdb/train/pos/1_7.txt").write_text(REVIEWS["train"][1][1])
    assert prepare(data, tmp_path).spec.sizes["test"] == 10


def test_missing_data_say_where_to_get_them(tmp_path, data, monkeypatch):
    def away(*_):
        raise DataError("The network is away.")

    monkeypatch.setattr(downloads, "hub", away)
    monkeypatch.setattr(downloads, "download", away)
    with pytest.raises(DataError, match=r"network is away.*aclImdb_v1\.tar\.gz.*--data"):
        prepare(data, tmp_path)


def test_vocabulary_is_ordered_by_frequency():
    assert vocabulary.characters(["abb", "cbb☃", "ca"], min_freq=2) == ["<pad>", "<unk>", "<eos>", "b", "a", "c"]
    (encoded,) = vocabulary.encode(["ab☃"], ["<pad>", "<unk>", "<eos>", "b", "a", "c"], l_max=10)
    assert encoded.tolist() == [4, 3, vocabulary.UNK, vocabulary.EOS]
