"""enwik8 and text8: bytes and their splits."""

import hashlib
import zipfile

import numpy as np
import pytest
from ssm_data import DataError, Place
from ssm_data.datasets import enwik8
from ssm_data.datasets.enwik8 import Enwik8, Text8


def prepare(dataset, data, tmp_path):
    return dataset.prepare(Place(data, tmp_path / "cache"), progress=False)


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
