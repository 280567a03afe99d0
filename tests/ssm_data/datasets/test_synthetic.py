"""Tasks of memory: what is asked for, noise and its band, fresh examples, the error of a constant guess."""

import numpy as np
import pytest
import torch
from ssm_data import DATASETS, Place
from ssm_data.batches import loader
from ssm_data.collate import collate
from ssm_data.datasets.synthetic import Adding, Copying, Delay, Reconstruct, white_noise


def prepare(dataset, tmp_path):
    return dataset.prepare(Place(None, tmp_path), progress=False)


def test_the_targets_of_copying_are_the_tokens_in_order(tmp_path):
    prepared = prepare(Copying(memory=7, blanks=5, vocabulary=9), tmp_path)
    spec = prepared.spec
    assert (spec.d_input, spec.d_output, spec.l_max, spec.l_output) == (9, 9, 19, 7)
    assert spec.sizes == {"train": 10_000, "val": 1_000, "test": 1_000}
    x, y, lengths = next(iter(loader(prepared, "test", 64, seed=0)))
    assert lengths is None
    assert torch.equal(x[:, :7], y)
    assert (x[:, 7:12] == 0).all()
    assert (x[:, 12:] == 8).all()
    assert set(y.unique().tolist()) == set(range(1, 8))
    assert spec.chance == pytest.approx(1 / 7)


def test_every_epoch_of_copying_is_new_and_can_be_repeated(tmp_path):
    prepared = prepare(Copying(memory=20, limit={"train": 50}), tmp_path)

    def epoch(number, workers=0):
        batches = loader(prepared, "train", 16, seed=0, workers=workers)
        batches.batch_sampler.set_epoch(number)
        return torch.cat([y for _, y, _ in batches])

    first, second = epoch(0), epoch(1)
    assert len(first) == len(second) == 50
    assert len({tuple(row.tolist()) for row in torch.cat([first, second])}) == 100
    assert torch.equal(second, epoch(1, workers=2))
    evaluation = loader(prepared, "val", 100, seed=0)
    before = next(iter(evaluation)).y
    evaluation.batch_sampler.set_epoch(1)
    assert torch.equal(next(iter(evaluation)).y, before)


def test_adding_asks_for_the_sum_of_the_marked_numbers(tmp_path):
    prepared = prepare(Adding(l_max=31), tmp_path)
    x, y, _ = next(iter(loader(prepared, "test", 500, seed=0)))
    assert (x.shape, y.shape, y.dtype) == ((500, 31, 2), (500, 1), torch.float32)
    assert (x[..., 1].sum(1) == 2).all()
    assert (x[:, :15, 1].sum(1) == 1).all()
    torch.testing.assert_close((x[..., 0] * x[..., 1]).sum(1, keepdim=True), y)
    assert x[..., 0].min() >= 0
    assert x[..., 0].max() <= 1


@pytest.mark.parametrize(("length", "step", "cutoff"), [(4000, 2.5e-4, 1000), (4000, 1e-3, 100), (997, 1e-3, 50)])
def test_noise_has_its_band_and_its_size(length, step, cutoff):
    noise = white_noise(np.random.default_rng(0), length, step, cutoff).astype(np.float64)
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequency = np.fft.rfftfreq(length, step)
    inside = (frequency > 0) & (frequency <= cutoff)
    assert power[~inside].max() < 1e-9 * power[inside].mean()
    halves = np.array_split(power[inside], 2)
    assert halves[0].mean() == pytest.approx(halves[1].mean(), rel=0.6)
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(0.5, rel=1e-5)
    assert abs(noise[0]) == np.abs(noise).min()


def test_noise_out_of_range_is_refused():
    for cutoff in (0.1, 501):
        with pytest.raises(ValueError, match=r"from 0\.25 to 500 Hz"):
            white_noise(np.random.default_rng(0), 4000, 1e-3, cutoff)


def test_delay_asks_for_the_noise_later(tmp_path):
    prepared = prepare(Delay(l_max=301, lag=40), tmp_path)
    assert (prepared.spec.l_output, prepared.spec.d_output, prepared.spec.metric) == (301, 1, "mse")
    x, y, _ = next(iter(loader(prepared, "val", 5, seed=0)))
    assert x.shape == y.shape == (5, 301, 1)
    assert (y[:, :40] == 0).all()
    assert torch.equal(y[:, 40:], x[:, :-40])


def test_reconstruct_asks_for_the_end(tmp_path):
    prepared = prepare(Reconstruct(l_max=301, memory=40), tmp_path)
    assert (prepared.spec.l_output, prepared.spec.d_output) == (0, 40)
    x, y, _ = next(iter(loader(prepared, "val", 5, seed=0)))
    assert (x.shape, y.shape) == ((5, 301, 1), (5, 40))
    assert torch.equal(y, x[:, -40:, 0])


@pytest.mark.parametrize("name", ["adding", "delay", "reconstruct"])
def test_chance_is_the_error_of_a_constant_guess(name, tmp_path):
    prepared = prepare(DATASETS[name](), tmp_path)
    targets = torch.cat([collate([prepared.split("test")[i]], prepared.spec).y.flatten() for i in range(400)])
    assert float(targets.var()) == pytest.approx(prepared.spec.chance, rel=0.12)


def test_seed_and_split_decide_the_examples(tmp_path):
    first, same, other = (prepare(Adding(seed=seed), tmp_path / str(seed)) for seed in (0, 0, 1))
    assert first.spec == same.spec
    assert first.spec.fingerprint != other.spec.fingerprint
    firsts = [prepared.split(split)[0][1].item() for prepared in (first, other) for split in ("train", "val", "test")]
    assert len(set(firsts)) == 6


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match="lag is 4000"):
        Delay(lag=4000)
    with pytest.raises(ValueError, match="memory is 0"):
        Reconstruct(memory=0)
    with pytest.raises(ValueError, match="vocabulary is 2"):
        Copying(vocabulary=2)


def test_published_options_are_the_defaults(tmp_path):
    assert prepare(Copying(), tmp_path).spec.l_max == 2048
    assert (Delay().l_max, Delay().lag, Delay().step, Delay().cutoff) == (4000, 1000, 2.5e-4, 1000)
    assert (Reconstruct().l_max, Reconstruct().memory) == (4000, 1000)
    assert (Reconstruct().step, Reconstruct().cutoff) == (1e-3, 100)
    assert prepare(Delay(), tmp_path).spec.sizes == {"train": 16_384, "val": 1_024, "test": 1_024}
    assert prepare(Adding(), tmp_path).spec.l_max == 1000
