"""Corpora: windows of a stream in training and evaluation, and the chance of a corpus."""

import pickle

import numpy as np
import pytest
import torch
from ssm_data import DATASETS, Place
from ssm_data.batches import Windows, loader
from ssm_data.collate import NO_TARGET
from ssm_data.datasets.corpus import constant_guess
from ssm_data.splits import Stream


def prepare(dataset, data, tmp_path):
    return dataset.prepare(Place(data, tmp_path / "cache"), progress=False)


def stream(tokens, l_max):
    return Stream(np.arange(tokens), tokens - 1, l_max)


@pytest.mark.parametrize(("tokens", "rows", "l_max"), [(101, 4, 7), (100, 3, 11), (13, 5, 2), (2, 1, 8), (17, 1, 16)])
def test_evaluation_sees_each_target_once(tokens, rows, l_max):
    data = stream(tokens, l_max)
    windows = Windows(data, rows, roll=False)
    batches = [[data[window] for window in batch] for batch in windows]
    assert len(batches) == len(windows)
    assert sorted(np.concatenate([y for batch in batches for _, y in batch])) == list(range(1, tokens))
    for row in range(rows):
        x = np.concatenate([batch[row][0] for batch in batches])
        np.testing.assert_array_equal(x, np.arange(x[0], x[0] + len(x)) if len(x) else [])
        np.testing.assert_array_equal(np.concatenate([batch[row][1] for batch in batches]), x + 1)


@pytest.mark.parametrize(("tokens", "rows", "l_max"), [(101, 4, 7), (100, 3, 40), (13, 5, 2)])
def test_training_rolls_rows_that_go_on(tokens, rows, l_max):
    data, length = stream(tokens, l_max), tokens // rows
    windows = Windows(data, rows, roll=True, seed=3)
    firsts = set()
    for epoch in range(5):
        windows.set_epoch(epoch)
        batches = [[data[window] for window in batch] for batch in windows]
        for row in range(rows):
            x = np.concatenate([batch[row][0] for batch in batches])
            y = np.concatenate([batch[row][1] for batch in batches])
            np.testing.assert_array_equal(x[1:], y[:-1])
            ring = np.append(x, y[-1])
            assert sorted(ring) == list(range(row * length, (row + 1) * length))
            assert set(np.diff(ring)) <= {1, 1 - length}
        firsts.add(tuple(int(x[0]) for x, _ in batches[0]))
    assert len(firsts) > 1


def test_start_and_drop_last_of_windows():
    data = stream(101, 7)
    windows = Windows(data, 4, roll=True, seed=1)
    whole = list(windows)
    windows.start_at(0, 2)
    assert list(windows) == list(windows) == whole[2:]
    windows.set_epoch(1)
    windows.set_epoch(0)
    assert list(windows) == whole
    assert [len(data[batch[0]][0]) for batch in whole] == [7, 7, 7, 3]
    assert list(Windows(data, 4, roll=True, seed=1, drop_last=True)) == whole[:3]
    with pytest.raises(ValueError, match="drop_last leaves nothing"):
        Windows(stream(20, 7), 4, roll=True, drop_last=True)
    with pytest.raises(ValueError, match="choose a smaller batch_size"):
        Windows(stream(7, 7), 4, roll=False)


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    dataset = DATASETS["wikitext-103"](miniature=True, l_max=50, limit={"train": 2000})
    return dataset.prepare(Place(None, tmp_path_factory.mktemp("cache")), progress=False)


def test_batches_are_the_same_for_any_number_of_workers(miniature):
    first, second = (list(loader(miniature, "train", 8, seed=0, workers=workers)) for workers in (0, 2))
    assert len(first) == len(second) == 5
    for ours, theirs in zip(first, second, strict=True):
        assert torch.equal(ours.x, theirs.x)
        assert torch.equal(ours.y, theirs.y)
        assert ours.lengths is None
    assert len(pickle.dumps(miniature.split("train"))) < 1000


def test_rows_without_targets_are_marked(miniature):
    batches = list(loader(miniature, "test", 7, seed=0))
    targets = torch.cat([batch.y[batch.y != NO_TARGET] for batch in batches])
    tokens = miniature.split("test").tokens
    assert torch.equal(targets.sort().values, torch.from_numpy(np.sort(tokens[1:].astype(np.int64))))
    assert all(batch.x.shape == batch.y.shape for batch in batches)
    assert all(int(batch.x.max()) < miniature.spec.d_input for batch in batches)


def test_chance_is_the_entropy_of_the_targets():
    targets = np.array([0] * 4 + [2] * 2 + [5] * 2)
    assert constant_guess(targets, "bits") == pytest.approx(1.5)
    assert constant_guess(targets, "perplexity") == pytest.approx(2**1.5)
