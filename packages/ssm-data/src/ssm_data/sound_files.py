"""Read sound files, and refuse files that are truncated, empty or damaged.

libsndfile decodes the samples. It reads a truncated file to its end without an error. Therefore this module first
compares the sizes that the file declares with its length.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ssm_data.errors import DataError

#: Number of samples that are decoded at once.
BLOCK = 1 << 20
#: Sizes that a program writes if it streams a file and does not know its size.
UNKNOWN = (0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
#: Prefixes of libsndfile's subtypes whose samples are integers.
INTEGERS = ("PCM_", "ULAW", "ALAW")
#: Subtypes of libsndfile whose samples are real numbers.
REALS = ("FLOAT", "DOUBLE")
#: Real samples have full scale 1; peaks up to OVERSHOT are accepted. Some programs write real samples in the range of
#: 16-bit integers; a peak of at least INTEGER_RANGE means that.
OVERSHOT, INTEGER_RANGE = 2, 256
#: Bit rates of MPEG audio, layer III, in kbit/s by index: for version 1, and for versions 2 and 2.5.
MP3_BITRATES = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
#: Sampling rates of version 1, in Hz by index.
MP3_RATES = (44_100, 48_000, 32_000)
ADVICE = "replace the file or take it away."


@dataclass(frozen=True)
class Sound:
    """Decoded samples (L, C), float64 with full scale 1 or int16, and their sampling rate in Hertz."""

    samples: np.ndarray
    rate: int


class _Content(io.BytesIO):
    """A file in memory that ignores a seek before its beginning, which a damaged header can cause.

    libsndfile calls it from C, and an exception there would only be printed.
    """

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def decoded(content: bytes, name: str, *, integers: bool, advice: str = ADVICE) -> Sound:
    """Decode a sound file.

    Args:
        name: name of the file in error messages.
        integers: return int16 and refuse lossy codecs. Samples of 24 or 32 bits keep their upper 16 bits; real numbers
            are rounded to the nearest integer.
        advice: end of the error messages; it says what to do with a file that is refused.

    Raises:
        DataError: the file is broken, truncated or empty, or holds samples that are not finite; with ``integers``, also
            if it is compressed with loss, or if the full scale of its real numbers cannot be determined.
    """
    import soundfile

    if (fault := truncation(content)) is not None:
        raise DataError(f"{name} cannot be read as sound ({fault}); {advice}")
    blocks = []
    try:
        with soundfile.SoundFile(_Content(content)) as file:
            subtype, declared, rate = file.subtype, file.frames, file.samplerate
            as_integers = integers and subtype.startswith(INTEGERS)
            step = max(1, BLOCK // file.channels)
            while len(block := file.read(step, dtype="int16" if as_integers else "float64", always_2d=True)):
                blocks.append(block)
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise DataError(f"{name} cannot be read as sound ({error}); {advice}") from error
    if not blocks:
        raise DataError(f"{name} has no samples; {advice}")
    samples = np.concatenate(blocks)
    if content[:4] == b"fLaC" and len(samples) < declared:
        raise DataError(f"{name} is truncated: it declares {declared:,} samples and holds {len(samples):,}; {advice}")
    if as_integers:
        return Sound(samples, rate)
    if not np.isfinite(samples).all():
        raise DataError(f"{name} holds samples that are infinite or no numbers; {advice}")
    if not integers:
        return Sound(samples, rate)
    if subtype not in REALS:
        raise DataError(
            f"{name} is compressed with loss ({subtype}), so its samples are not the original ones; {advice}"
        )
    peak = float(np.abs(samples).max())
    if OVERSHOT < peak < INTEGER_RANGE or peak > 2**15:
        raise DataError(f"{name} holds samples up to {peak:g}, but full scale is 1; {advice}")
    scaled = samples if peak >= INTEGER_RANGE else samples * 2**15
    return Sound(scaled.round().clip(-(2**15), 2**15 - 1).astype(np.int16), rate)


def truncation(content: bytes) -> str | None:
    """Return how a sound file falls short of the size that it declares, or None if no fault is found.

    The formats are WAV, RF64, W64, AIFF, AU, CAF, Ogg and MP3. FLAC declares its number of samples, which can only be
    compared after decoding.
    """
    if not content:
        return "it is empty"
    kind = content[:4]
    if kind in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return _riff(content)
    if kind == b"riff":
        return _declared(int.from_bytes(content[16:24], "little"), len(content))
    if kind == b"FORM":
        return _declared(8 + int.from_bytes(content[4:8], "big"), len(content))
    if kind == b".snd":
        offset, size = (int.from_bytes(content[at : at + 4], "big") for at in (4, 8))
        return None if size in UNKNOWN else _declared(offset + size, len(content))
    if kind == b"caff":
        return _caf(content)
    if kind == b"OggS":
        return _ogg(content)
    if kind[:3] == b"ID3" or (kind[:1] == b"\xff" and kind[1] & 0xE0 == 0xE0):
        return _mp3(content)
    return None


def _declared(size: int, found: int) -> str | None:
    return f"truncated: it declares {size:,} bytes and has {found:,}" if size > found else None


def _riff(content: bytes) -> str | None:
    """Compare the declared size of the data chunk of a WAV file with its real size; RF64 declares it in chunk ds64."""
    order = "big" if content[:4] == b"RIFX" else "little"
    missing: str | None = "truncated: it has no samples"
    long_size, seen = None, set()
    at = 12
    while at + 8 <= len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], order)  # type: ignore[arg-type]
        if name == b"ds64":
            long_size = int.from_bytes(content[at + 16 : at + 24], "little")
        if name in (b"fmt ", b"data"):
            # If there are two such chunks, some readers use the first one and others the second one.
            if name in seen:
                return f"damaged: it has two chunks {name.decode().strip()!r}"
            seen.add(name)
        if name == b"data":
            if size == 0xFFFFFFFF and long_size is not None:
                size = long_size
            if size in UNKNOWN:
                return None
            missing = _declared(at + 8 + size, len(content))
            if missing is not None:
                return missing
        at += 8 + size + size % 2
    return missing


def _caf(content: bytes) -> str | None:
    at = 8
    while at + 12 <= len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 12], "big")
        if name == b"data":
            return None if size in UNKNOWN else _declared(at + 12 + size, len(content))
        at += 12 + size
    return "truncated: it has no samples"


def _ogg(content: bytes) -> str | None:
    """Check that the last page is complete and marked as the last one of its stream."""
    at = content.rfind(b"OggS")
    header = content[at : at + 27]
    segments = content[at + 27 : at + 27 + header[26]] if len(header) == 27 else b""
    whole = len(header) == 27 and at + 27 + len(segments) + sum(segments) <= len(content)
    if not whole or not header[5] & 4:
        return "truncated: its last page is missing"
    return None


def _mp3(content: bytes) -> str | None:
    """Compare the size in the Xing header of the first frame, or the end of the last frame, with the file's size."""
    start = 0
    if content[:3] == b"ID3":
        size = 0
        for byte in content[6:10]:
            size = size << 7 | byte & 0x7F
        start = 10 + size
    for at, _ in _mp3_frames(content[start:]):
        frame = content[start + at : start + at + 200]
        tag = max(frame.find(b"Xing"), frame.find(b"Info"))
        if tag >= 0 and frame[tag + 7] & 2:
            place = tag + 8 + (4 if frame[tag + 7] & 1 else 0)
            return _declared(start + int.from_bytes(frame[place : place + 4], "big"), len(content))
        break
    end = max((at + length for at, length in _mp3_frames(content[start:])), default=0)
    return _declared(start + end, len(content))


def _mp3_frames(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and length in bytes of each frame; stop at the first bytes that are not a frame."""
    at = 0
    while at + 4 <= len(content):
        header = int.from_bytes(content[at : at + 4], "big")
        version, layer = header >> 19 & 3, header >> 17 & 3  # 3: version 1, 2: version 2, 0: version 2.5; 1: layer III
        bitrate, rate = header >> 12 & 15, header >> 10 & 3
        if header >> 21 != 0x7FF or version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
            return
        first = version == 3
        hertz = MP3_RATES[rate] >> (0 if first else 1 if version == 2 else 2)
        length = (144 if first else 72) * 1000 * MP3_BITRATES[not first][bitrate] // hertz + (header >> 9 & 1)
        yield at, length
        at += length
