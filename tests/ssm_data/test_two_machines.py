"""Two fresh caches give the same batches, for any number of workers; every data set, by its miniature."""

import pytest
import torch
from ssm_data import DATASETS, Place
from ssm_data.batches import loader

LIMIT = {"train": 70, "val": 20, "test": 20}


def batches(dataset, cache, workers):
    prepared = dataset.prepare(Place(None, cache), progress=False)
    found = []
    for split, epochs in (("train", (0, 3)), ("test", (0,))):
        made = loader(prepared, split, 8, seed=7, workers=workers)
        for epoch in epochs:
            made.batch_sampler.set_epoch(epoch)
            found.extend(made)
    return found


@pytest.mark.parametrize("name", DATASETS)
def test_two_machines_read_the_same(name, tmp_path):
    options = {"l_max": 3} if DATASETS[name].__mro__[1].__name__ in ("Corpus", "WikiText103", "Enwik8") else {}
    dataset = DATASETS[name](miniature=True, limit=LIMIT, **options)
    first, second = batches(dataset, tmp_path / "first", 0), batches(dataset, tmp_path / "second", 2)
    assert len(first) == len(second) >= 4
    for ours, theirs in zip(first, second, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine is None and other is None) or torch.equal(mine, other)
