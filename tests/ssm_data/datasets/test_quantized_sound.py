"""Quantised sound: defaults, and miniatures of every data set of it."""

import pytest
from ssm_data import DATASETS, Place
from ssm_data.batches import loader
from ssm_data.datasets.audio_folder import Beethoven, YouTubeMix
from ssm_data.datasets.sc09 import SC09


def prepare(dataset, data, tmp_path):
    return dataset.prepare(Place(data, tmp_path / "cache"), progress=False)


def test_published_options_are_the_defaults():
    assert (Beethoven().l_max, Beethoven().quantization) == (128_000, "linear")
    assert (YouTubeMix().l_max, YouTubeMix().quantization) == (131_072, "mu-law")
    assert SC09().quantization == "mu-law"


@pytest.mark.parametrize("name", ["sc09", "audio-folder", "beethoven", "youtubemix"])
def test_miniatures_keep_the_contract(name, tmp_path):
    prepared = DATASETS[name](miniature=True, limit={"train": 40}).prepare(Place(None, tmp_path), progress=False)
    assert prepared.spec.sizes == {"train": 40, "val": 500, "test": 500}
    assert 6 < prepared.spec.chance < 8
    batch = next(iter(loader(prepared, "val", 3, seed=0)))
    assert batch.x.shape == batch.y.shape == (3, prepared.spec.l_max)
    assert (batch.lengths is None) == (not prepared.spec.lengths)
