"""WikiText: words in their order, every source, faults."""

import zipfile

import numpy as np
import pytest
from ssm_data import DataError, Place, downloads
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


def stream(tokens, l_max):
    return Stream(np.arange(tokens), tokens - 1, l_max)
