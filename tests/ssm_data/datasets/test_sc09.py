"""SC09: digits in the official splits."""

import io

import numpy as np
import pytest
import soundfile
from ssm_data import DataError, Place
from ssm_data.audio import quantize
from ssm_data.batches import loader
from ssm_data.collate import NO_TARGET
from ssm_data.datasets import sc09
from ssm_data.datasets.sc09 import SC09

RNG = np.random.default_rng(0)


LENGTHS = (16_000, 9_000, 12_345, 16_000)  # of the clips of each digit: two for training, validation, testing


CLIPS = {
    f"{digit}/{number}.wav": RNG.normal(0, 2000, length).astype(np.int16)
    for digit in sc09.DIGITS
    for number, length in enumerate(LENGTHS)
}


def wav(samples, rate=16_000):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def write(path, samples, rate=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for name, samples in CLIPS.items():
        path = root / "speech_commands" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav(samples))
    lists = {"validation_list.txt": 2, "testing_list.txt": 3}
    for name, number in lists.items():
        members = [f"{digit}/{number}.wav" for digit in sc09.DIGITS] + ["bed/7.wav"]
        (root / "speech_commands" / name).write_text("\n".join(members))
    return root


def prepare(dataset, data, tmp_path):
    return dataset.prepare(Place(data, tmp_path / "cache"), progress=False)


def test_digits_in_the_official_splits(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(sc09, "PUBLISHED", {"train": 20, "val": 10, "test": 10})
    prepared = prepare(SC09(), digits, tmp_path)
    spec = prepared.spec
    assert spec.sizes == {"train": 20, "val": 10, "test": 10}
    assert (spec.d_input, spec.l_max, spec.l_output, spec.metric) == (256, 16_000, 16_000, "bits")
    members = {"train": (0, 1), "val": (2,), "test": (3,)}
    for split, numbers in members.items():
        names = sorted(name for name in CLIPS if int(name[-5]) in numbers)
        for i, name in enumerate(names):
            x, y = prepared.split(split)[i]
            np.testing.assert_array_equal(y, quantize(CLIPS[name], "mu-law"))
            assert x[0] == 128
            np.testing.assert_array_equal(x[1:], y[:-1])
    x, y, lengths = next(iter(loader(prepared, "train", 8, seed=0)))
    assert x.shape == y.shape == (8, int(lengths.max()))
    for row, length in zip(y, lengths, strict=True):
        assert (row[:length] >= 0).all()
        assert (row[length:] == NO_TARGET).all()


def test_other_digits_are_refused(digits, tmp_path):
    with pytest.raises(DataError, match=r"20 in train \(not 31,158\)"):
        prepare(SC09(), digits, tmp_path)
