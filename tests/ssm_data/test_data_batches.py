"""Batches: a function of seed and epoch alone, and nothing lost in evaluation."""

import numpy as np
import pytest
import torch
from ssm_data import DATASETS, Place
from ssm_data.batches import Batches, loader


@pytest.fixture(scope="module")
def listops(tmp_path_factory):
    dataset = DATASETS["listops"](miniature=True, limit={"train": 205, "val": 50, "test": 33})
    return dataset.prepare(Place(None, tmp_path_factory.mktemp("cache")), progress=False)


def epochs(prepared, epochs=(0, 1), **options):
    batches = loader(prepared, "train", 16, **{"seed": 1, **options})
    out = []
    for epoch in epochs:
        batches.batch_sampler.set_epoch(epoch)
        out.append(list(batches))
    return out


def same(first, second):
    return len(first) == len(second) and all(
        a.x.shape == b.x.shape and torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and torch.equal(a.lengths, b.lengths)
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("bucket", [False, True])
def test_the_same_for_any_number_of_workers(listops, bucket):
    reference = epochs(listops, bucket=bucket)
    for workers in (1, 2):
        for first, second in zip(reference, epochs(listops, workers=workers, bucket=bucket), strict=True):
            assert same(first, second)


def test_seed_and_epoch_decide_the_order(listops):
    (first, second), (again,), (other,) = epochs(listops), epochs(listops, [0]), epochs(listops, [0], seed=2)
    assert same(first, again)
    assert not same(first, second)
    assert not same(first, other)


@pytest.mark.parametrize("bucket", [False, True])
def test_an_epoch_holds_each_example_once(bucket):
    lengths = np.random.default_rng(0).integers(1, 100, 205) if bucket else None
    batches = Batches(205, 16, shuffle=True, seed=0, lengths=lengths)
    assert sorted(i for batch in batches for i in batch) == list(range(205))
    assert len(list(batches)) == len(batches) == 13


def test_drop_last_leaves_out_the_rest(listops):
    (epoch,) = epochs(listops, [0], drop_last=True)
    assert [len(batch.y) for batch in epoch] == [16] * 12


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_sees_each_example_once_and_in_order(listops, split):
    batches = loader(listops, split, 16, seed=0, drop_last=True, bucket=True)
    labels = torch.cat([batch.y for batch in batches])
    assert labels.tolist() == listops.split(split).labels.tolist()


def test_start_batch_resumes_within_one_epoch(listops):
    whole, following = epochs(listops)
    batches = loader(listops, "train", 16, seed=1)
    batches.batch_sampler.start_batch = 5
    assert same(list(batches), whole[5:])
    batches.batch_sampler.set_epoch(1)
    assert same(list(batches), following)


def test_buckets_pad_less(listops):
    def padding(bucket):
        return sum(int((batch.x.shape[1] - batch.lengths).sum()) for batch in epochs(listops, [0], bucket=bucket)[0])

    assert padding(True) < 0.5 * padding(False)


def test_padding_is_on_the_right_and_zero(listops):
    split = listops.split("test")
    examples = [split[i] for i in range(7)]
    batch = listops.collate(examples)
    for row, length, (tokens, label), y in zip(batch.x, batch.lengths, examples, batch.y, strict=True):
        assert length == len(tokens)
        assert row[:length].tolist() == tokens.tolist()
        assert (row[length:] == 0).all()
        assert y == label


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="batch_size is 0"):
        Batches(10, 0, shuffle=False)
    with pytest.raises(ValueError, match="leaves nothing"):
        Batches(10, 11, shuffle=True, drop_last=True)
