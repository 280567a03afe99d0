"""Sound: decode files to samples, compute cepstral coefficients, quantise samples to 8 bits."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Literal

import numpy as np

from ssm_data import sound_files
from ssm_data.errors import DataError

Quantization = Literal["mu-law", "linear"]
MU = 255
#: Quantised value of silence.
SILENCE = 128
#: Range of the sampling rates that can be converted, in Hz.
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000
#: Maximum number of coefficients of the resampling filter.
MOST_COEFFICIENTS = 20_000_000


def decode(content: bytes, name: str, rate: int) -> np.ndarray:
    """Decode a mono sound file of a release to samples (L,) int16.

    Raises:
        DataError: the file is broken, truncated or empty, or has another sampling rate or several channels.
    """
    sound = sound_files.decoded(content, name, integers=True, advice="get the file again.")
    channels = sound.samples.shape[1]
    if sound.rate != rate or channels != 1:
        raise DataError(
            f"{name} has {channels} channel{'s' * (channels > 1)} at {sound.rate:,} Hz instead of one at {rate:,} Hz; "
            "get the file again."
        )
    return sound.samples[:, 0]


def mfcc(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return 20 cepstral coefficients, computed from 64 log-mel bands, for a frame every 100 samples.

    Args:
        samples: (B, L) int16.

    Returns:
        (B, L // 100 + 1, 20) float32.
    """
    import torch
    from torchaudio.transforms import MFCC

    with warnings.catch_warnings():  # some of the 64 bands lie between two of the 101 frequencies and are empty
        warnings.filterwarnings("ignore", "At least one mel filterbank")
        transform = MFCC(rate, n_mfcc=20, log_mels=True, melkwargs={"n_fft": 200, "n_mels": 64})
    waves = torch.from_numpy(samples.astype(np.float32) / 2**15)
    return transform(waves).transpose(1, 2).numpy()


def mono(path: Path, rate: int) -> np.ndarray:
    """Read a sound file as the mean of its channels, resampled to ``rate``: (L,) float32.

    Raises:
        DataError: the file is broken, truncated or empty, or its sampling rate cannot be converted.
    """
    import torch
    from torchaudio.functional import resample

    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); {sound_files.ADVICE}") from error
    sound = sound_files.decoded(content, str(path), integers=False)
    mean = sound.samples.mean(axis=1).astype(np.float32)
    if sound.rate == rate:
        return mean
    # The resampling filter has (sound.rate / shared) * (rate / shared) coefficients: gigabytes for 44,101 Hz.
    shared = math.gcd(sound.rate, rate)
    if not LOWEST_RATE <= sound.rate <= HIGHEST_RATE or (sound.rate // shared) * (rate // shared) > MOST_COEFFICIENTS:
        raise DataError(
            f"{path} has a sampling rate of {sound.rate:,} Hz, which cannot be converted to {rate:,} Hz; if the file "
            "is not damaged, convert it with another program."
        )
    return resample(torch.from_numpy(mean), sound.rate, rate).numpy()


def quantize(samples: np.ndarray, kind: Quantization) -> np.ndarray:
    """Quantise samples (L,) to 256 levels between their minimum and their maximum: (L,) uint8.

    The levels of ``mu-law`` are finer near the middle of that range. A constant signal becomes silence, 128.
    """
    low, high = float(samples.min()), float(samples.max())
    if low == high:
        return np.full(samples.shape, SILENCE, dtype=np.uint8)
    unit = (samples.astype(np.float64) - low) / (high - low)
    if kind == "mu-law":
        centred = 2 * unit - 1
        unit = 0.5 + 0.5 * np.sign(centred) * np.log1p(MU * np.abs(centred) + 1e-8) / np.log1p(MU)
    return np.floor(0.005 + (MU + 1 - 0.01) * unit).clip(0, MU).astype(np.uint8)
