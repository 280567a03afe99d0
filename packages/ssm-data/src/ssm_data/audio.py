"""Sound: files as samples, cepstral coefficients, 8-bit quantisation."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Literal

import numpy as np

from ssm_data.errors import DataError

Quantization = Literal["mu-law", "linear"]
MU = 255
SILENCE = 128


def decode(content: bytes, name: str, rate: int) -> np.ndarray:
    """Samples of a mono sound file, (L,) int16.

    Raises:
        DataError: the file is broken, or has another sampling rate or several channels.
    """
    import soundfile

    try:
        samples, found = soundfile.read(io.BytesIO(content), dtype="int16", always_2d=True)
    except soundfile.SoundFileError as error:
        raise DataError(f"{name} cannot be read as sound ({error}); get the file again.") from error
    if found != rate or samples.shape[1] != 1:
        raise DataError(f"{name} has {samples.shape[1]} channels at {found:,} Hz; one at {rate:,} Hz is wanted.")
    return samples[:, 0]


def mfcc(samples: np.ndarray, rate: int) -> np.ndarray:
    """20 cepstral coefficients of 64 log-mel bands, a frame every 100 samples: (B, L) int16 to (B, L / 100 + 1, 20)."""
    import torch
    from torchaudio.transforms import MFCC

    with warnings.catch_warnings():  # some of the lowest 64 bands lie between two of 101 frequencies
        warnings.filterwarnings("ignore", "At least one mel filterbank")
        transform = MFCC(rate, n_mfcc=20, log_mels=True, melkwargs={"n_fft": 200, "n_mels": 64})
    waves = torch.from_numpy(samples.astype(np.float32) / 2**15)
    return transform(waves).transpose(1, 2).numpy()


def mono(path: Path, rate: int) -> np.ndarray:
    """Samples of a sound file, the mean of its channels, resampled to ``rate``: (L,) float32.

    Raises:
        DataError: the file is broken.
    """
    import soundfile
    import torch
    from torchaudio.functional import resample

    try:
        samples, found = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise DataError(f"{path} cannot be read as sound ({error}); replace the file or take it away.") from error
    mean = samples.mean(axis=1)
    return mean if found == rate else resample(torch.from_numpy(mean), found, rate).numpy()


def quantize(samples: np.ndarray, kind: Quantization) -> np.ndarray:
    """Samples (L,) in 256 steps of the range that they fill, (L,) uint8; ``mu-law`` has finer steps near its middle.

    A constant reads as silence, 128.
    """
    low, high = float(samples.min()), float(samples.max())
    if low == high:
        return np.full(samples.shape, SILENCE, dtype=np.uint8)
    unit = (samples.astype(np.float64) - low) / (high - low)
    if kind == "mu-law":
        centred = 2 * unit - 1
        unit = 0.5 + 0.5 * np.sign(centred) * np.log1p(MU * np.abs(centred) + 1e-8) / np.log1p(MU)
    return np.floor(0.005 + (MU + 1 - 0.01) * unit).clip(0, MU).astype(np.uint8)


def dequantize(tokens: np.ndarray, kind: Quantization) -> np.ndarray:
    """Samples from -1 to 1 that quantised ones (L,) stand for, (L,) float32."""
    centred = tokens.astype(np.float32) / SILENCE - 1
    if kind == "linear":
        return centred
    return np.sign(centred) * np.expm1(np.abs(centred) * np.float32(np.log1p(MU))) / MU
