"""Folders of sound files: cut by files, prepared anew when they change, faults."""

import io

import numpy as np
import pytest
import soundfile
from ssm_data import DataError, Place
from ssm_data.audio import mono, quantize
from ssm_data.datasets.audio_folder import AudioFolder, Beethoven, YouTubeMix, sound_files

RNG = np.random.default_rng(0)


def wav(samples, rate=16_000):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def write(path, samples, rate=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)


def prepare(dataset, data, tmp_path):
    return dataset.prepare(Place(data, tmp_path / "cache"), progress=False)


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


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"holds no folder beethoven .* https://\S*/krandiash/beethoven"):
        prepare(Beethoven(), tmp_path, tmp_path)
    assert YouTubeMix().status(Place(None, tmp_path)).state == "missing"
    write(tmp_path / "audio" / "1.wav", RNG.uniform(-1, 1, 120))
    with pytest.raises(DataError, match=r"give no piece of 100 samples for train, val"):
        prepare(AudioFolder(l_max=100), tmp_path, tmp_path)
    (tmp_path / "audio" / "2.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(DataError, match=r"2\.wav cannot be read as sound"):
        prepare(AudioFolder(l_max=100), tmp_path, tmp_path)
