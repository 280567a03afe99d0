"""Batches: a function of seed and epoch alone, and nothing lost in evaluation."""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from ssm_data import DATASETS, Place
from ssm_data.batches import Batches, loader
from ssm_data.collate import collate


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


@pytest.mark.parametrize(
    ("size", "repeats", "batch_size"), [(90, 3, 12), (100, 3, 16), (7, 2, 7), (10, 4, 3), (5, 8, 5)]
)
def test_repeats_take_fewer_examples_several_times(size, repeats, batch_size):
    batches = Batches(size, batch_size, shuffle=True, seed=0, fresh=True, repeats=repeats)
    seen, taken = set(), []
    for epoch in range(4):
        batches.set_epoch(epoch)
        found = list(batches)
        assert found == list(batches)
        assert len(found) == len(batches)
        numbers = [number for batch in found for number in batch]
        assert len(numbers) == size == len(set(numbers) - seen)
        seen |= set(numbers)
        counts = Counter(number % size for number in numbers)
        assert len(counts) == -(-size // repeats)
        assert sorted(counts.values())[1:] == [repeats] * (len(counts) - 1)
        taken.append(frozenset(counts))
        for batch in found:
            examples = [number % size for number in batch]
            if len(set(examples)) > 2:
                assert all(a != b for a, b in pairwise(examples))
    assert len(set(taken)) > 1


def test_drop_last_leaves_out_the_rest(listops):
    (epoch,) = epochs(listops, [0], drop_last=True)
    assert [len(batch.y) for batch in epoch] == [16] * 12


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_sees_each_example_once_and_in_order(listops, split):
    batches = loader(listops, split, 16, seed=0, drop_last=True, bucket=True)
    labels = torch.cat([batch.y for batch in batches])
    assert labels.tolist() == listops.split(split).labels.tolist()


RESUMED = {
    "shuffled": ("listops", {}, {}),
    "buckets": ("listops", {}, {"bucket": True}),
    "full batches only": ("listops", {}, {"drop_last": True}),
    "fresh": ("copying", {}, {}),
    "repeats": ("imagenet", {"limit": {"train": 100}}, {}),
    "stream": ("text8", {"l_max": 40}, {}),
}


@pytest.fixture(scope="module", params=RESUMED)
def resumed(request, tmp_path_factory):
    """Prepared data and options of their loader, of every kind of order that training has."""
    name, fields, options = RESUMED[request.param]
    fields = {"limit": {"train": 204}, **fields}
    if name == "text8":
        fields["limit"] = {"train": 2000}
    data = DATASETS[name](miniature=True, **fields)
    return data.prepare(Place(None, tmp_path_factory.mktemp("cache")), progress=False), options


def content(batches):
    return [[None if part is None else part.tolist() for part in batch] for batch in batches]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 2)])
def test_resuming_inside_an_epoch_continues_with_the_next_batch(resumed, rank, world_size, workers):
    """A loader that starts at batch k of epoch 1 gives the rest of that epoch, and whole epochs after it."""
    prepared, options = resumed
    share = {"seed": 1, "rank": rank, "world_size": world_size, **options}
    reference = loader(prepared, "train", 16, **share)
    wanted = []
    for epoch in (1, 2, 3):
        reference.batch_sampler.set_epoch(epoch)
        wanted.append(content(reference))
    start = len(reference) // 2
    batches = loader(prepared, "train", 16, workers=workers, **share)
    batches.batch_sampler.start_at(1, start)
    assert len(batches) == len(reference)
    assert content(batches) == wanted[0][start:]
    batches.batch_sampler.set_epoch(1)  # the harness tells the epoch again when it begins
    assert content(batches) == wanted[0][start:]
    for epoch in (2, 3):
        batches.batch_sampler.set_epoch(epoch)
        assert content(batches) == wanted[epoch - 1]
    batches.batch_sampler.set_epoch(1)
    assert content(batches) == wanted[0]


@pytest.mark.parametrize(("epoch", "batch"), [(0, -1), (0, 13), (-1, 0)])
def test_a_start_outside_an_epoch_is_refused(epoch, batch):
    batches = Batches(205, 16, shuffle=True)
    with pytest.raises(ValueError, match=r"is not in an epoch of 13 batches|The epoch is -1"):
        batches.start_at(epoch, batch)
    assert list(batches) == list(Batches(205, 16, shuffle=True))


def test_buckets_pad_less(listops):
    def padding(bucket):
        return sum(int((batch.x.shape[1] - batch.lengths).sum()) for batch in epochs(listops, [0], bucket=bucket)[0])

    assert padding(True) < 0.5 * padding(False)


def test_padding_is_on_the_right_and_zero(listops):
    split = listops.split("test")
    examples = [split[i] for i in range(7)]
    batch = collate(examples, listops.spec)
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


def shares(world_size, *words, **options):
    return [loader(*words, rank=rank, world_size=world_size, **options).batch_sampler for rank in range(world_size)]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("bucket", [False, True])
@pytest.mark.parametrize("world_size", [2, 4])
def test_the_shares_of_all_processes_are_the_batch(listops, world_size, bucket, drop_last):
    options = {"seed": 1, "drop_last": drop_last, "bucket": bucket}
    whole = loader(listops, "train", 16, **options).batch_sampler
    parts = shares(world_size, listops, "train", 16, **options)
    for epoch in range(2):
        for sampler in (whole, *parts):
            sampler.set_epoch(epoch)
        together = [sorted(i for share in batch for i in share) for batch in zip(*parts, strict=True)]
        assert together == [sorted(batch) for batch in whole]
        assert len(together) == len(whole) == len(parts[0])


@pytest.mark.parametrize("size", [16, 17, 18, 33, 47])
@pytest.mark.parametrize("world_size", [2, 4])
def test_evaluation_reads_each_example_once_over_all_processes(size, world_size):
    parts = [Batches(size, 16, shuffle=False, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert sorted(i for part in parts for batch in part for i in batch) == list(range(size))
    for part in parts:
        assert all(batches := list(part))
        assert len(batches) == len(part)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("limit", [95, 230])
def test_a_stream_is_shared_by_rows(tmp_path, split, limit):
    """Each process keeps its rows from batch to batch, and all together read what one process reads."""
    data = DATASETS["text8"](miniature=True, limit={"train": limit, "test": limit}, l_max=7)
    prepared = data.prepare(Place(None, tmp_path), progress=False)
    whole = list(loader(prepared, split, 8, seed=3).batch_sampler)
    parts = [list(part) for part in shares(4, prepared, split, 8, seed=3)]
    assert len(parts[0]) == len(whole)
    for rank, part in enumerate(parts):
        assert part == [batch[rank::4] for batch in whole[: len(part)]]
        rest = [window for batch in whole[len(part) :] for window in batch[rank::4]]
        assert all(len(prepared.split(split)[window][1]) == 0 for window in rest)
        if split == "train":
            assert len(part) == len(whole)
        assert all(any(len(prepared.split(split)[window][1]) for window in batch) for batch in part)


def test_sizes_that_processes_cannot_share_are_refused(listops):
    with pytest.raises(ValueError, match="3 processes cannot share it equally"):
        Batches(100, 16, shuffle=True, world_size=3)
    with pytest.raises(ValueError, match="holds 1 of 17 examples, fewer than 2 processes"):
        Batches(17, 16, shuffle=True, world_size=2)
    with pytest.raises(ValueError, match="cannot share 1 examples"):
        Batches(1, 16, shuffle=False, world_size=2)


def test_a_temporary_folder_that_is_too_long_is_named(tmp_path):
    """Torch's workers would wait for ever; a path that just fits works."""
    code = (
        "import sys, pathlib\n"
        "from ssm_data import DATASETS, Place, DataError\n"
        "from ssm_data.batches import loader\n"
        f"prepared = DATASETS['image'](miniature=True).prepare(Place(None, pathlib.Path({str(tmp_path)!r})), False)\n"
        "try:\n"
        "    print(sum(len(batch.y) for batch in loader(prepared, 'val', 50, seed=0, workers=2)))\n"
        "except DataError as error:\n"
        "    print(error)\n"
    )

    def read(length):
        folder = short / ("x" * (length - len(str(short)) - 1))
        folder.mkdir()
        environment = {**os.environ, "TMPDIR": str(folder)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    possible = 103 - len("/pymp-12345678/listener-12345678")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        short = Path(name)
        assert read(possible) == "400\n"
        assert f"has {possible + 1} characters, and at most {possible} are possible. Set TMPDIR" in read(possible + 1)


SMALL = {"train": 70, "val": 20, "test": 20}


def read_by(dataset, cache, workers):
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
    dataset = DATASETS[name](miniature=True, limit=SMALL, **options)
    first, second = read_by(dataset, tmp_path / "first", 0), read_by(dataset, tmp_path / "second", 2)
    assert len(first) == len(second) >= 4
    for ours, theirs in zip(first, second, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine is None and other is None) or torch.equal(mine, other)
