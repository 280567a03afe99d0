"""What a new data set costs: one file with one class, and one line in the registry."""

import sys

import numpy as np
import pytest
from pydantic import TypeAdapter
from ssm_data import DATASETS, Place, Spec
from ssm_data.batches import loader

FILE = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ssm_data.contract import SPLITS, Dataset, Preparation
from ssm_data.options import Seed
from ssm_data.splits import Pixels


@dataclass(frozen=True, kw_only=True)
class Noise(Dataset):
    """Images of noise with a class each."""

    name: ClassVar[str] = "noise"
    title: ClassVar[str] = "Noise"

    seed: Seed = 0

    def expected(self):
        side = 4 if self.miniature else 8
        sizes = {"train": 60, "val": 20, "test": 20}
        return self._classification(sizes, tokens=False, d_input=1, d_output=2, l_max=side**2, chance=0.5)

    def _preparation(self, place):
        return Preparation({"seed": self.seed, "miniature": self.miniature}, self._write, "generates noise")

    def _write(self, writer, progress):
        side = 4 if self.miniature else 8
        rng = np.random.default_rng(self.seed)
        writer.array("images", rng.integers(0, 256, (100, side, side), dtype=np.uint8))
        writer.array("labels", np.arange(100) % 2)

    def _open(self, entry):
        images, labels = entry.array("images"), entry.array("labels")
        parts = dict(zip(SPLITS, np.split(np.arange(100), [60, 80])))
        splits = {split: Pixels(i[self._subset(split, len(i))], labels, images) for split, i in parts.items()}
        return self._classified(entry, splits)
'''


@pytest.fixture
def noise(tmp_path, monkeypatch):
    """The class of a file outside the package, in the registry."""
    (tmp_path / "noise.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    import noise

    monkeypatch.setitem(DATASETS, noise.Noise.name, noise.Noise)
    yield DATASETS["noise"]
    del sys.modules["noise"]


@pytest.mark.parametrize("miniature", [True, False])
def test_a_data_set_is_one_class_and_one_line(noise, tmp_path, miniature):
    place = Place(None, tmp_path / "cache")
    dataset = TypeAdapter(noise).validate_python({"miniature": miniature, "limit": {"train": 30}})
    assert dataset.status(place).state == "preparable"
    prepared = dataset.prepare(place, progress=False)
    assert dataset.status(place).state == "ready"
    assert dataset.verify(place, progress=False) == []
    expected = dataset.expected()
    assert isinstance(expected, Spec)
    assert prepared.spec == Spec(**{**vars(expected), "fingerprint": prepared.spec.fingerprint})
    for workers in (0, 1):
        batches = list(loader(prepared, "train", 8, seed=0, workers=workers))
        assert sum(len(batch.y) for batch in batches) == 30
        assert batches[0].x.shape == (8, expected.l_max, 1)
    assert np.isfinite(batches[0].x.numpy()).all()
    with pytest.raises(ValueError, match="seed is -1"):
        noise(seed=-1)
