"""Sound files: every container and encoding at full scale; truncated, empty and damaged files are refused."""

import io
import struct

import numpy as np
import pytest
import soundfile
from ssm_data import DataError
from ssm_data.audio import decode
from ssm_data.sound_files import decoded, truncation

WAVE = 0.5 * np.sin(np.arange(16_000) / 9)
CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "FLAC", "AU", "CAF")
EXACT = {"PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
COARSE = {"PCM_S8", "PCM_U8", "ULAW", "ALAW"}
ENCODINGS = [
    (container, encoding)
    for container in CONTAINERS
    for encoding in sorted((EXACT | COARSE) & set(soundfile.available_subtypes(container)))
]
LOSSY = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]


def written(samples, container, encoding, rate=16_000):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=encoding)
    return file.getvalue()


@pytest.mark.parametrize(("container", "encoding"), ENCODINGS)
def test_every_encoding_has_the_same_scale(container, encoding):
    content = written(WAVE, container, encoding)
    found = decode(content, "a.wav", 16_000)
    assert found.dtype == np.int16
    np.testing.assert_allclose(found, WAVE * 2**15, atol=1 if encoding in EXACT else 600)
    reals = decoded(content, "a.wav", integers=False)
    assert reals.rate == 16_000
    np.testing.assert_allclose(reals.samples[:, 0], WAVE, atol=4e-5 if encoding in EXACT else 0.02)


@pytest.mark.parametrize(("container", "encoding"), LOSSY)
def test_lossy_codecs_are_read_but_are_no_release(container, encoding):
    content = written(WAVE, container, encoding)
    found = decoded(content, "a", integers=False).samples[:, 0]
    assert np.sqrt(np.mean((found - WAVE)[500:-500] ** 2)) < 0.03
    with pytest.raises(DataError, match=rf"a is compressed with loss \({encoding}\).* get the file again"):
        decode(content, "a", 16_000)


@pytest.mark.parametrize(("container", "encoding"), [*ENCODINGS, *LOSSY])
@pytest.mark.parametrize("share", [0.0, 0.003, 0.25, 0.75, 0.98])
def test_a_truncated_file_is_refused(container, encoding, share):
    content = written(WAVE, container, encoding)
    cut = content[: int(share * len(content))]
    for integers in (True, False):
        with pytest.raises(DataError, match=r"^cut\.wav .*; replace the file or take it away\.$"):
            decoded(cut, "cut.wav", integers=integers)


@pytest.mark.parametrize(("container", "encoding"), ENCODINGS)
def test_a_file_without_samples_is_refused(container, encoding):
    with pytest.raises(DataError, match=r"^none\.wav "):
        decode(written(WAVE[:0], container, encoding), "none.wav", 16_000)


@pytest.mark.parametrize("encoding", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(encoding, value):
    samples = WAVE.copy()
    samples[77] = value
    for integers in (True, False):
        with pytest.raises(DataError, match="holds samples that are infinite or no numbers"):
            decoded(written(samples, "WAV", encoding), "a.wav", integers=integers)


@pytest.mark.parametrize(("peak", "expected"), [(1.0, 2**15 - 1), (1.5, 2**15 - 1), (0.25, 2**13), (10_000.0, 10_000)])
def test_full_scale_of_reals(peak, expected):
    """Full scale is 1, a little more is clipped, and reals in the range of 16-bit integers are taken as such."""
    found = decode(written(np.array([0.0, peak, 0.0]), "WAV", "DOUBLE"), "a.wav", 16_000)
    assert found.tolist() == [0, expected, 0]


@pytest.mark.parametrize("peak", [5.0, 100.0, 1e6])
def test_reals_without_a_clear_full_scale_are_refused(peak):
    with pytest.raises(DataError, match="but full scale is 1"):
        decode(written(np.array([0.0, peak, 0.0]), "WAV", "FLOAT"), "a.wav", 16_000)


def test_extremes_of_integers():
    for encoding in ("PCM_16", "PCM_24", "PCM_32"):
        found = decode(written(np.array([-1.0, 0.0, 1.0]), "WAV", encoding), "a.wav", 16_000)
        assert found.tolist() == [-(2**15), 0, 2**15 - 1]


def test_stereo_and_another_rate_are_refused():
    with pytest.raises(DataError, match=r"a\.wav has 2 channels at 16,000 Hz instead of one at 16,000 Hz"):
        decode(written(np.stack([WAVE, WAVE], axis=1), "WAV", "FLOAT"), "a.wav", 16_000)
    with pytest.raises(DataError, match=r"a\.wav has 1 channel at 8,000 Hz instead of one at 16,000 Hz"):
        decode(written(WAVE, "WAV", "PCM_16", 8_000), "a.wav", 16_000)
    assert decoded(written(np.stack([WAVE, -WAVE], axis=1), "WAV", "FLOAT"), "a", integers=False).samples.shape[1] == 2


def test_a_streamed_file_declares_no_size():
    """Programs that write to a pipe leave the sizes open; such a file is read to its end."""
    content = bytearray(written(WAVE, "WAV", "PCM_16"))
    content[4:8] = content[40:44] = b"\xff" * 4
    assert truncation(bytes(content)) is None
    assert len(decode(bytes(content), "a.wav", 16_000)) == 16_000


def test_chunks_before_and_after_the_samples():
    content = written(WAVE, "WAV", "PCM_16")
    extra = b"LIST" + struct.pack("<I", 5) + b"hello\0"
    longer = content[:36] + extra + content[36:] + extra
    longer = longer[:4] + struct.pack("<I", len(longer) - 8) + longer[8:]
    np.testing.assert_array_equal(decode(longer, "a.wav", 16_000), decode(content, "a.wav", 16_000))
    with pytest.raises(DataError, match="truncated"):
        decode(longer[: 36 + len(extra) + 4000], "a.wav", 16_000)


@pytest.mark.parametrize("container", ["WAV", "AIFF", "FLAC", "AU", "CAF", "W64", "RF64"])
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_mutated_files_are_read_or_refused(container):
    """Bytes of the header are changed at random; no error but DataError, and no memory beyond that of the file."""
    rng = np.random.default_rng(0)
    whole = written(WAVE[:400], container, "PCM_16")
    for _ in range(300):
        content = bytearray(whole)
        for place in rng.integers(0, 80, 3):
            content[place] = rng.integers(0, 256)
        try:
            sound = decoded(bytes(content), "a", integers=False)
        except DataError:
            continue
        assert sound.samples.size <= 8 * len(content)


@pytest.mark.parametrize("name", [b"data", b"fmt "])
def test_a_file_with_two_chunks_of_which_one_counts_is_refused(name):
    content = io.BytesIO()
    content.name = "sound.wav"
    soundfile.write(content, np.zeros(20, np.int16), 16000, "PCM_16", format="WAV")
    plain = content.getvalue()
    assert truncation(plain) is None
    at = plain.index(name)
    size = int.from_bytes(plain[at + 4 : at + 8], "little")
    assert "two chunks" in truncation(plain + plain[at : at + 8 + size])
