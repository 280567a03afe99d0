"""Splits of images and videos: what is drawn, batches, less resolution."""

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from ssm_data import DATASETS, Place
from ssm_data.batches import loader
from ssm_data.datasets.cifar import CIFAR

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


def same(first, second):
    return all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in zip(first, second, strict=True))


def test_random_numbers_are_a_function_of_seed_and_epoch(miniature):
    before = torch.get_rng_state()
    miniature.split("train")[5]
    assert torch.equal(torch.get_rng_state(), before)  # that of the training is left alone
    first = epoch(miniature)
    for workers in (0, 1, 2):
        assert same(first, epoch(miniature, workers=workers))
    assert not same(first, epoch(miniature, number=1))
    assert not same(first, epoch(miniature, seed=2))
    assert same(epoch(miniature, split="test"), epoch(miniature, split="test", number=1, seed=2))


def test_batches_are_as_the_spec_says(miniature):
    spec = miniature.spec
    for split in ("train", "val", "test"):
        for batch in epoch(miniature, split=split):
            assert batch.x.dtype == torch.float32
            assert batch.x.shape[1:] == (*spec.axes, spec.d_input)
            assert batch.lengths is None
            if spec.target == "labels":
                assert batch.y.shape == (len(batch.x), spec.d_output)
            elif batch.y.is_floating_point():
                assert split == "train"
                torch.testing.assert_close(batch.y.sum(1), torch.ones(len(batch.x)))
            else:
                assert batch.y.shape == (len(batch.x),)
            assert batch.y.max() < spec.d_output


@pytest.mark.parametrize("rate", [2, 4, 3])
def test_images_at_less_resolution(tmp_path, rate):
    """Against Pillow, whose filter is as wide as a pixel of the result."""
    prepared = CIFAR(miniature=True, limit={"train": 40}).prepare(Place(None, tmp_path), progress=False)
    coarse = prepared.downsampled(rate)
    size = -(-16 // rate)
    assert coarse.spec.axes == (size, size)
    assert coarse.spec.l_max == size**2
    assert coarse.spec.fingerprint != prepared.spec.fingerprint
    for split in ("train", "test"):
        for number in (0, 7):
            fine, x = prepared.split(split)[number][0], coarse.split(split)[number][0]
            for channel in range(3):
                picture = Picture.fromarray(fine[..., channel])
                expected = np.asarray(picture.resize((size, size), Picture.Resampling.BILINEAR))
                np.testing.assert_allclose(x[..., channel], expected, atol=1e-5)
    again = prepared.downsampled(2).downsampled(2)
    assert torch.equal(*(torch.from_numpy(data.split("test")[3][0]) for data in (again, prepared.downsampled(4))))
    with pytest.raises(ValueError, match="Only signals and images"):
        DATASETS["copying"](miniature=True).prepare(Place(None, tmp_path), progress=False).downsampled(2)
