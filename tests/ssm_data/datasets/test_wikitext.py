"""Corpora: readers and their checks, contiguous and rolled windows, and no target lost in evaluation."""

import hashlib
import pickle
import zipfile

import numpy as np
import pytest
import torch
from ssm_data import DATASETS, DataError, Place, downloads
from ssm_data.batches import Windows, loader
from ssm_data.collate import NO_TARGET
from ssm_data.datasets import enwik8
from ssm_data.datasets.corpus import constant_guess
from ssm_data.datasets.enwik8 import Enwik8, Text8
from ssm_data.datasets.wikitext import WikiText2, WikiText103
from ssm_data.splits import Stream

TEXTS = {
    "train": " \n = Über <unk> = \n \n the cat saw the\x0cdog . \n the end . \n",
    "valid": " \n the dog . \n",
    "test": " \n = the end = \n",
}
SIZES = {"train": 18, "val": 5, "test": 6}


@pytest.fixture(autouse=True)
def _published(monkeypatch):
    monkeypatch.setattr(WikiText103, "published", SIZES)
    monkeypatch.setattr(WikiText103, "vocabulary", 10)


def write_folder(root, naming, folder="wikitext-103", texts=TEXTS):
    (root / folder).mkdir(parents=True)
    for stem, text in texts.items():
        (root / folder / naming.format(stem)).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def prepare(dataset, data, tmp_path):
    return dataset.prepare(Place(data, tmp_path / "cache"), progress=False)


def words_of(prepared, split, tmp_path):
    vocabulary = next((tmp_path / "cache").rglob("vocabulary.txt")).read_text().split("\n")
    return [vocabulary[number] for number in prepared.split(split).tokens]


def test_words_in_their_order_with_ends_of_lines(tmp_path):
    prepared = prepare(WikiText103(l_max=4), write_folder(tmp_path, "{}.txt", "wt103"), tmp_path)
    spec = prepared.spec
    assert (spec.d_input, spec.d_output, spec.l_max, spec.l_output) == (10, 10, 4, 4)
    assert (spec.stream, spec.lengths, spec.metric) == (True, False, "perplexity")
    assert spec.sizes == {"train": 17, "val": 4, "test": 5}
    expected = "<eos> = Über <unk> = <eos> <eos> the cat saw the dog . <eos> the end . <eos>"
    assert words_of(prepared, "train", tmp_path) == expected.split()
    assert words_of(prepared, "test", tmp_path) == ["<eos>", "=", "the", "end", "=", "<eos>"]
    vocabulary = next((tmp_path / "cache").rglob("vocabulary.txt")).read_text().split("\n")
    assert vocabulary == ["<eos>", "the", "=", ".", "Über", "<unk>", "cat", "saw", "dog", "end"]


def test_every_source_gives_the_same_data(tmp_path, monkeypatch):
    spec = prepare(WikiText103(), write_folder(tmp_path / "1", "{}.txt"), tmp_path / "1").spec
    release = write_folder(tmp_path / "2", "wiki.{}.tokens")
    assert prepare(WikiText103(), release, tmp_path / "2").spec == spec
    (tmp_path / "3").mkdir()
    with zipfile.ZipFile(tmp_path / "3" / "wikitext-103-v1.zip", "w") as archive:
        for stem in TEXTS:
            archive.write(release / "wikitext-103" / f"wiki.{stem}.tokens", f"wikitext-103/wiki.{stem}.tokens")
    assert prepare(WikiText103(), tmp_path / "3", tmp_path / "3").spec == spec

    def hub(repository, split, columns, configuration):
        assert (repository, configuration) == ("Salesforce/wikitext", "wikitext-103-v1")
        text = TEXTS["valid" if split == "validation" else split]
        return {"text": ["" if line == " " else f"{line}\n" for line in text.split("\n")[:-1]]}

    monkeypatch.setattr(downloads, "hub", hub)
    assert prepare(WikiText103(), None, tmp_path / "4").spec == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": TEXTS["train"] + "the\n"}, r"20 words in train \(not 18\)"),
        ({"valid": "the bird ."}, r"does not hold the published text: the word 'bird' is not in the train text"),
        ({"valid": b"the\n\xff\xfe the"}, "Line 2 of valid in .* is not UTF-8 text"),
    ],
)
def test_other_texts_are_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        prepare(WikiText103(), write_folder(tmp_path, "{}.txt", texts=TEXTS | change), tmp_path)


def test_archives_are_read_with_care(tmp_path):
    with zipfile.ZipFile(tmp_path / "wikitext-2.zip", "w") as archive:
        archive.writestr("wikitext-2/train.txt", "the")
    with pytest.raises(
        DataError, match=r"lacks the text of valid, test\. Get https://\S*/wikitext-2-v1\.zip \(4\.3 MB\)"
    ):
        prepare(WikiText2(), tmp_path, tmp_path)
    with zipfile.ZipFile(tmp_path / "wikitext-2.zip", "w") as archive:
        archive.writestr("../train.txt", "the")
    with pytest.raises(DataError, match="unsafe member"):
        prepare(WikiText2(), tmp_path, tmp_path)
    (tmp_path / "wikitext-2.zip").write_bytes((tmp_path / "wikitext-2.zip").read_bytes()[:40])
    with pytest.raises(DataError, match="truncated or broken"):
        prepare(WikiText2(), tmp_path, tmp_path)


def test_bytes_of_enwik8_and_text8(tmp_path, monkeypatch):
    content = bytes(np.random.default_rng(0).choice([10, 32, 97, 200, 255], 100).astype(np.uint8))
    monkeypatch.setattr(enwik8, "CUTS", (70, 90))
    monkeypatch.setattr(Enwik8, "md5", hashlib.md5(content).hexdigest())
    (tmp_path / "enwik8").write_bytes(content)
    prepared = prepare(Enwik8(), tmp_path, tmp_path)
    assert (prepared.spec.sizes, prepared.spec.d_input) == ({"train": 69, "val": 19, "test": 9}, 5)
    assert prepared.spec.metric == "bits"
    joined = np.concatenate([prepared.split(split).tokens for split in ("train", "val", "test")])
    assert bytes(np.array([10, 32, 97, 200, 255], dtype=np.uint8)[joined]) == content
    with zipfile.ZipFile(tmp_path / "text8.zip", "w") as archive:
        archive.writestr("text8", content[:-1])
    with pytest.raises(DataError, match=r"text8\.zip does not hold the published text8"):
        prepare(Text8(), tmp_path, tmp_path)


def stream(tokens, l_max):
    return Stream(np.arange(tokens), tokens - 1, l_max)


@pytest.mark.parametrize(("tokens", "rows", "l_max"), [(101, 4, 7), (100, 3, 11), (13, 5, 2), (2, 1, 8), (17, 1, 16)])
def test_evaluation_sees_each_target_once(tokens, rows, l_max):
    data = stream(tokens, l_max)
    windows = Windows(data, rows, roll=False)
    batches = [[data[window] for window in batch] for batch in windows]
    assert len(batches) == len(windows)
    assert sorted(np.concatenate([y for batch in batches for _, y in batch])) == list(range(1, tokens))
    for row in range(rows):
        x = np.concatenate([batch[row][0] for batch in batches])
        np.testing.assert_array_equal(x, np.arange(x[0], x[0] + len(x)) if len(x) else [])
        np.testing.assert_array_equal(np.concatenate([batch[row][1] for batch in batches]), x + 1)


@pytest.mark.parametrize(("tokens", "rows", "l_max"), [(101, 4, 7), (100, 3, 40), (13, 5, 2)])
def test_training_rolls_rows_that_go_on(tokens, rows, l_max):
    data, length = stream(tokens, l_max), tokens // rows
    windows = Windows(data, rows, roll=True, seed=3)
    firsts = set()
    for epoch in range(5):
        windows.set_epoch(epoch)
        batches = [[data[window] for window in batch] for batch in windows]
        for row in range(rows):
            x = np.concatenate([batch[row][0] for batch in batches])
            y = np.concatenate([batch[row][1] for batch in batches])
            np.testing.assert_array_equal(x[1:], y[:-1])
            ring = np.append(x, y[-1])
            assert sorted(ring) == list(range(row * length, (row + 1) * length))
            assert set(np.diff(ring)) <= {1, 1 - length}
        firsts.add(tuple(int(x[0]) for x, _ in batches[0]))
    assert len(firsts) > 1


def test_start_and_drop_last_of_windows():
    data = stream(101, 7)
    windows = Windows(data, 4, roll=True, seed=1)
    whole = list(windows)
    windows.start_at(0, 2)
    assert list(windows) == list(windows) == whole[2:]
    windows.set_epoch(1)
    windows.set_epoch(0)
    assert list(windows) == whole
    assert [len(data[batch[0]][0]) for batch in whole] == [7, 7, 7, 3]
    assert list(Windows(data, 4, roll=True, seed=1, drop_last=True)) == whole[:3]
    with pytest.raises(ValueError, match="drop_last leaves nothing"):
        Windows(stream(20, 7), 4, roll=True, drop_last=True)
    with pytest.raises(ValueError, match="choose a smaller batch_size"):
        Windows(stream(7, 7), 4, roll=False)


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    dataset = DATASETS["wikitext-103"](miniature=True, l_max=50, limit={"train": 2000})
    return dataset.prepare(Place(None, tmp_path_factory.mktemp("cache")), progress=False)


def test_batches_are_the_same_for_any_number_of_workers(miniature):
    first, second = (list(loader(miniature, "train", 8, seed=0, workers=workers)) for workers in (0, 2))
    assert len(first) == len(second) == 5
    for ours, theirs in zip(first, second, strict=True):
        assert torch.equal(ours.x, theirs.x)
        assert torch.equal(ours.y, theirs.y)
        assert ours.lengths is None
    assert len(pickle.dumps(miniature.split("train"))) < 1000


def test_rows_without_targets_are_marked(miniature):
    batches = list(loader(miniature, "test", 7, seed=0))
    targets = torch.cat([batch.y[batch.y != NO_TARGET] for batch in batches])
    tokens = miniature.split("test").tokens
    assert torch.equal(targets.sort().values, torch.from_numpy(np.sort(tokens[1:].astype(np.int64))))
    assert all(batch.x.shape == batch.y.shape for batch in batches)
    assert all(int(batch.x.max()) < miniature.spec.d_input for batch in batches)


def test_chance_is_the_entropy_of_the_targets():
    targets = np.array([0] * 4 + [2] * 2 + [5] * 2)
    assert constant_guess(targets, "bits") == pytest.approx(1.5)
    assert constant_guess(targets, "perplexity") == pytest.approx(2**1.5)
