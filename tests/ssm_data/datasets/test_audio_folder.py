"""Sound for generation: quantisation, digits in the official splits, folders of any sound files."""

import io

import numpy as np
import pytest
import soundfile
from ssm_data import DATASETS, DataError, Place
from ssm_data.audio import mono, quantize
from ssm_data.batches import loader
from ssm_data.collate import NO_TARGET
from ssm_data.datasets import sc09
from ssm_data.datasets.audio_folder import AudioFolder, Beethoven, YouTubeMix, sound_files
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


def test_a_folder_is_cut_by_files_in_numerical_order(tmp_path):
    rng = np.random.default_rng(1)
    waves = {number: rng.uniform(-0.9, 0.9, 250).astype(np.float32) for number in range(50)}
    for number, wave in waves.items():
        write(tmp_path / "audio" / f"piece {number}.wav", np.stack([wave, wave / 2], axis=1))
    names = [path.name for path in sound_files(tmp_path / "audio")]
    assert names == [f"piece {number}.wav" for number in range(50)]
    prepared = prepare(AudioFolder(l_max=100), tmp_path, tmp_path)
    assert prepared.spec.sizes == {"train": 88, "val": 6, "test": 6}
    assert (prepared.spec.l_max, prepared.spec.lengths) == (100, False)
    for split, first in (("train", 0), ("val", 44), ("test", 47)):
        for i in range(6):
            wave = mono(tmp_path / "audio" / f"piece {first + i // 2}.wav", 16_000)
            piece = wave[100 * (i % 2) : 100 * (i % 2) + 100]
            np.testing.assert_allclose(piece, 0.75 * waves[first + i // 2][100 * (i % 2) :][:100], atol=1e-4)
            np.testing.assert_array_equal(prepared.split(split)[i][1], quantize(piece, "mu-law"))
    linear = prepare(AudioFolder(l_max=100, quantization="linear"), tmp_path, tmp_path)
    assert linear.spec.fingerprint != prepared.spec.fingerprint


def test_a_changed_folder_is_prepared_anew(tmp_path):
    for number in range(20):
        write(tmp_path / "audio" / f"{number}.flac", RNG.uniform(-1, 1, 120))
    assert prepare(AudioFolder(l_max=100), tmp_path, tmp_path).spec.sizes == {"train": 17, "val": 1, "test": 2}
    write(tmp_path / "audio" / "20.flac", RNG.uniform(-1, 1, 250))
    assert prepare(AudioFolder(l_max=100), tmp_path, tmp_path).spec.sizes == {"train": 18, "val": 1, "test": 3}


def test_faults_have_a_sentence(tmp_path):
    with pytest.raises(DataError, match=r"holds no folder beethoven .* https://\S*/krandiash/beethoven"):
        prepare(Beethoven(), tmp_path, tmp_path)
    assert YouTubeMix().status(Place(None, tmp_path)).state == "missing"
    write(tmp_path / "audio" / "1.wav", RNG.uniform(-1, 1, 120))
    with pytest.raises(DataError, match=r"give no piece of 100 samples for train, val"):
        prepare(AudioFolder(l_max=100), tmp_path, tmp_path)
    (tmp_path / "audio" / "2.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(DataError, match=r"2\.wav cannot be read as sound"):
        prepare(AudioFolder(l_max=100), tmp_path, tmp_path)


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
