"""Sound for models: quantisation to 8 bits, conversion of sampling rates, cepstral coefficients."""

import resource
import warnings

import numpy as np
import pytest
import soundfile
from ssm_data import DataError
from ssm_data.audio import mfcc, mono, quantize


def write(path, samples, rate=16_000, **options):
    soundfile.write(path, samples, rate, **options)
    return path


def test_mu_law_is_the_formula_bit_by_bit():
    samples = np.linspace(-3, 5, 1001)
    unit = (samples + 3) / 8
    y = [2 * u - 1 for u in unit]
    law = [np.sign(v) * np.log(1 + 255 * abs(v) + 1e-8) / np.log(256) for v in y]
    expected = [min(255, int((v + 1) / 2 * 255.99 + 0.005)) for v in law]
    found = quantize(samples, "mu-law")
    assert found.dtype == np.uint8
    assert np.count_nonzero(found != expected) <= 1  # a value on an edge may round either way
    assert (found[0], found[-1]) == (0, 255)
    np.testing.assert_array_equal(quantize(samples, "linear"), [int(255.99 * u + 0.005) for u in unit])


@pytest.mark.parametrize(("kind", "coarsest"), [("mu-law", 0.05), ("linear", 0.01)])
def test_quantised_samples_are_found_again(kind, coarsest):
    samples = np.sin(np.linspace(0, 20, 5000)) * np.linspace(0, 1, 5000)
    unit = 2 * (samples - samples.min()) / (samples.max() - samples.min()) - 1
    restored = quantize(samples, kind).astype(float) / 128 - 1
    if kind == "mu-law":
        restored = np.sign(restored) * (256.0 ** np.abs(restored) - 1) / 255
    assert np.abs(restored - unit).max() < coarsest
    quiet = np.abs(unit) < 0.01
    if kind == "mu-law":
        assert np.abs(restored - unit)[quiet].max() < 0.001


def test_a_constant_is_silence():
    assert set(quantize(np.full(9, 7), "mu-law")) == {128}


def test_other_sampling_rates_are_converted(tmp_path):
    time = np.arange(44_100) / 44_100
    found = mono(write(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 440 * time), 44_100), 16_000)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert len(found) == 16_000
    np.testing.assert_allclose(found[100:-100], expected[100:-100], atol=5e-3)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 24_000, 32_000, 48_000, 96_000, 192_000])
def test_usual_rates_are_converted(tmp_path, rate):
    found = mono(write(tmp_path / "tone.wav", np.zeros(rate // 10), rate), 16_000)
    assert found.dtype == np.float32
    assert abs(len(found) - 1_600) <= 1


@pytest.mark.parametrize("rate", [1, 999, 44_101, 15_999, 2_000_003, 2**31 - 1])
def test_a_damaged_rate_is_refused_and_takes_no_memory(tmp_path, rate):
    content = bytearray(write(tmp_path / "a.wav", np.zeros(4_000)).read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=rf"a\.wav has a sampling rate of {rate:,} Hz, which cannot be converted"):
        mono(tmp_path / "a.wav", 16_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 200_000  # KiB


def test_channels_are_averaged(tmp_path):
    left, right = np.full(50, 0.5), np.full(50, -0.25)
    found = mono(write(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="FLOAT"), 16_000)
    np.testing.assert_allclose(found, 0.125)


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.wav cannot be read .*replace the file"):
        mono(tmp_path / "none.wav", 16_000)


def test_cepstral_coefficients_have_a_frame_every_100_samples():
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = mfcc(rng.normal(0, 1000, (3, 16_000)).astype(np.int16), 16_000)
    assert found.shape == (3, 161, 20)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
