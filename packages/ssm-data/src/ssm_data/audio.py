"""Sound: WAV files as samples, and cepstral coefficients."""

from __future__ import annotations

import io
import warnings

import numpy as np

from ssm_data.errors import DataError


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
