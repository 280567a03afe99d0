"""CIFAR-10 in two dimensions: shifted and flipped in training only."""

import numpy as np
import pytest
import torch
from ssm_data import DATASETS, Place
from ssm_data.batches import loader
from ssm_data.datasets.cifar import CIFAR
from ssm_data.datasets.cifar10 import MEAN, STD

NAMES = ["cifar", "imagenet", "celeba", "hmdb51"]


@pytest.fixture(scope="module", params=NAMES)
def miniature(request, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    options = {"frames": 6} if request.param == "hmdb51" else {}
    dataset = DATASETS[request.param](miniature=True, limit={"train": 37, "val": 9, "test": 9}, **options)
    return dataset.prepare(Place(None, cache), progress=False)


def epoch(prepared, number=0, workers=0, seed=1, split="train"):
    batches = loader(prepared, split, 8, seed=seed, workers=workers)
    batches.batch_sampler.set_epoch(number)
    return list(batches)


def test_an_augmented_epoch_holds_each_image_once(tmp_path):
    dataset = CIFAR(miniature=True, augment=False, limit={"train": 30})
    plain = dataset.prepare(Place(None, tmp_path), progress=False)
    shifted = CIFAR(miniature=True, limit={"train": 30}).prepare(Place(None, tmp_path), progress=False)
    for number in (0, 1):
        classes = [torch.cat([batch.y for batch in epoch(data, number)]).sort().values for data in (plain, shifted)]
        assert torch.equal(*classes)


def test_cifar_is_shifted_and_flipped_in_training_only(tmp_path):
    prepared = CIFAR(miniature=True, limit={"train": 40}).prepare(Place(None, tmp_path), progress=False)
    split = prepared.split("train")
    found = set()
    for number in range(40):
        image = split.source[split.index[number]].astype(np.float64)
        padded = np.pad((image / 255 - MEAN) / STD, ((4, 4), (4, 4), (0, 0)), mode="symmetric")
        views = {
            (top, left, flip): padded[top : top + 16, left : left + 16][:, ::flip]
            for top in range(9)
            for left in range(9)
            for flip in (1, -1)
        }
        x, _ = split[number]
        fits = [view for view, pixels in views.items() if np.abs(pixels - x).max() < 1e-5]
        assert fits
        found.add(fits[0])
    assert len(found) > 20
    image = prepared.split("val").source[prepared.split("val").index[0]]
    np.testing.assert_allclose(prepared.split("val")[0][0], (image / 255 - MEAN) / STD, atol=1e-5)
