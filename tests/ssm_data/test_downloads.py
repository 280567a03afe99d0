"""The hub's own client, on a repository of parquet files in a folder."""

import datasets
import pytest
from ssm_data import DataError, Place, downloads
from ssm_data.datasets import text
from ssm_data.datasets.text import Text

ROWS = {
    split: {"text": [f"{split} review {i}, naïve" for i in range(20)], "label": [i % 2 for i in range(20)]}
    for split in ("train", "test")
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder laid out as the hub lays out a data set, in place of the hub."""
    root = tmp_path / "hub" / "imdb"
    for split, rows in ROWS.items():
        path = root / "plain_text" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(rows).to_parquet(path)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(text, "HUB", str(root))
    return root


def test_parquet_files_are_read(repository):
    rows = downloads.hub(str(repository), "train")
    assert list(rows["text"]) == ROWS["train"]["text"]
    reviews = text.read_hub()
    assert reviews["test"] == list(zip(ROWS["test"]["label"], ROWS["test"]["text"], strict=True))


def test_other_reviews_on_the_hub_are_refused(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(text, "ORIGINAL", downloads.Published("http://127.0.0.1:1/aclImdb.tar.gz", 1, "0" * 32))
    with pytest.raises(DataError, match="does not hold the published reviews: 20 in train"):
        Text().prepare(Place(None, tmp_path / "prepared"), progress=False)


def test_a_repository_that_is_not_there_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="cannot be had from the hub"):
        downloads.hub(str(tmp_path / "nothing"), "train")
