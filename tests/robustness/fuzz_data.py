"""Targets of the fuzz harness: files that users have of data sets, and prepared data."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import pickle
import random
import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile
from fuzz import SilentError
from mutation import mutated_bytes, mutated_text
from ssm_data import cache
from ssm_data.contract import Place
from ssm_data.datasets import cifar10, listops, mnist, pathfinder
from ssm_data.errors import DataError
from ssm_data.sound_files import decoded


class ListOpsRows:
    """Rows of ``basic_*.tsv``. Each accepted row is a complete expression with a digit as its target, as written."""

    name: ClassVar[str] = "listops"
    refusals: ClassVar[tuple[type[BaseException], ...]] = (DataError,)

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.file = folder / "basic_train.tsv"
        rows = [
            ("( ( ( [MAX 2 ) 9 ) ] )", 9),
            ("( ( ( [MIN 4 ) ( ( ( [SM 7 ) 8 ) ] ) ) ] )", 4),
            ("( ( ( ( [MED 1 ) 5 ) 3 ) ] )", 3),
            ("7", 7),
        ]
        self.texts = [
            "Source\tTarget\n" + "".join(f"{source}\t{target}\n" for source, target in chosen)
            for chosen in (rows, rows[2:], rows[:1] * 3)
        ]

    def case(self, draw: random.Random) -> bytes:
        text = mutated_text(draw.choice(self.texts), draw, draw.choice(self.texts))
        content = text.encode("utf-8", "surrogatepass")
        return content if draw.random() < 0.7 else mutated_bytes(content, draw, self.texts[0].encode())

    def run(self, case: bytes, draw: random.Random) -> bool:
        self.file.write_bytes(case)
        found = list(listops.read_release(self.file))
        # Quotes are those of the file format; the columns may stand in another order and more may be there.
        lines = list(csv.reader(io.StringIO(case.decode(), newline=""), delimiter="\t"))
        head, rows = lines[0], [line for line in lines[1:] if line]
        if len(rows) != len(found):
            raise SilentError(f"rows are lost: {len(found)} of {len(rows)}")
        for row, (tokens, label) in zip(rows, found, strict=True):
            symbols = re.findall(r"\[MIN|\[MAX|\[MED|\[SM|\]|\S", re.sub(r"[()]", " ", row[head.index("Source")]))
            names = ["]" if listops.VOCABULARY[token] == "X" else listops.VOCABULARY[token] for token in tokens]
            if names != symbols or row[head.index("Target")] != str(label):
                raise SilentError("a row means something else")
            if not 0 <= label <= 9 or _expression(symbols, 0) != len(symbols):
                raise SilentError("a row is no expression with a digit as its value")
        return True


def _expression(symbols: list[str], at: int) -> int:
    """Return where the expression that begins at a place ends; -1 if there is none."""
    if at >= len(symbols):
        return -1
    if symbols[at] in "0123456789":
        return at + 1
    if symbols[at] not in ("[MIN", "[MAX", "[MED", "[SM"):
        return -1
    at += 1
    count = 0
    while at < len(symbols) and symbols[at] != "]":
        at = _expression(symbols, at)
        count += 1
        if at < 0:
            return -1
    return at + 1 if count and at < len(symbols) else -1


class SoundFiles:
    """WAV files. The accepted samples are those that a reader of its own finds in the data chunk."""

    name: ClassVar[str] = "wav"
    refusals: ClassVar[tuple[type[BaseException], ...]] = (DataError,)
    KINDS: ClassVar = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")

    def __init__(self, folder: Path) -> None:
        samples = np.random.default_rng(0).uniform(-0.9, 0.9, (40, 2))
        self.files = []
        for container in ("WAV", "WAVEX"):
            for subtype in self.KINDS:
                for channels in (1, 2):
                    content = io.BytesIO()
                    content.name = "sound.wav"
                    with soundfile.SoundFile(content, "w", 16000, channels, subtype, format=container) as file:
                        file.write(samples[:, :channels])
                    self.files.append(content.getvalue())

    def case(self, draw: random.Random) -> tuple[bytes, bool]:
        return mutated_bytes(draw.choice(self.files), draw, draw.choice(self.files)), draw.random() < 0.7

    def run(self, case: tuple[bytes, bool], draw: random.Random) -> bool:
        content, integers = case
        sound = decoded(content, "sound.wav", integers=integers)
        expected = _wav(content)
        if expected is None:
            raise SilentError("no WAV file for another reader")
        kind, values, rate = expected
        if rate != sound.rate:
            raise SilentError("another sampling rate")
        if not np.isfinite(sound.samples).all() or not sound.samples.size:
            raise SilentError("samples that are not finite, or none")
        if kind == "law":
            same = len(values) == len(sound.samples)
        elif integers:
            wide = values if kind == "integer" else _as_integers(values)
            same = np.array_equal(wide, sound.samples)
        else:
            same = np.array_equal(
                values / 2**15 if kind == "integer" and values.dtype == np.int16 else values, sound.samples
            )
            same = same or (kind == "integer" and np.allclose(values / 2**15, sound.samples, atol=2**-15))
        if not same:
            raise SilentError(f"other samples ({kind})")
        return True


def _wav(content: bytes) -> tuple[str, np.ndarray, int] | None:
    """Return the kind, the samples (L, C) and the rate of a WAV file; None if it is none."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return None
    at, form = 12, None
    while at + 8 <= len(content):
        name, size = content[at : at + 4], struct.unpack_from("<I", content, at + 4)[0]
        body = content[at + 8 : at + 8 + size]
        if name == b"fmt " and len(body) >= 16:
            tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
            if tag == 0xFFFE and len(body) >= 26:
                tag = struct.unpack_from("<H", body, 24)[0]
            form = tag, channels, rate, bits
        if name == b"data" and form is not None:
            return _samples(body, *form)
        at += 8 + size + size % 2
    return None


def _samples(body: bytes, tag: int, channels: int, rate: int, bits: int) -> tuple[str, np.ndarray, int] | None:
    # The laws have eight bits a sample, whatever the header says.
    width = 1 if tag in (6, 7) else -(-bits // 8)
    if not channels or not width:
        return None
    body = body[: len(body) - len(body) % (channels * width)]
    if tag == 1 and width <= 4:
        parts = np.frombuffer(body, np.uint8).reshape(-1, width).astype(np.int64)
        if width == 1:
            values = (parts[:, 0] - 128) << 8
        else:
            values = (parts << (8 * np.arange(width))).sum(axis=1)
            values = (values - ((values >> (8 * width - 1)) << (8 * width))) >> (8 * width - 16)
        return "integer", values.astype(np.int16).reshape(-1, channels), rate
    if tag == 3 and bits in (32, 64):
        return "real", np.frombuffer(body, f"<f{width}").astype(np.float64).reshape(-1, channels), rate
    if tag in (6, 7):
        return "law", np.frombuffer(body, np.uint8).reshape(-1, channels), rate
    return None


def _as_integers(values: np.ndarray) -> np.ndarray:
    """Return reals as 16-bit integers; full scale is 1, or that of the integers if they are so large."""
    scaled = values if np.abs(values).max() >= 256 else values * 2**15
    return np.clip(np.round(scaled), -(2**15), 2**15 - 1)


class IDXFiles:
    """IDX files, packed or not. The accepted array has the shape and the bytes that the file declares."""

    name: ClassVar[str] = "idx"
    refusals: ClassVar[tuple[type[BaseException], ...]] = (DataError,)

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        draw = np.random.default_rng(0)
        self.files = [
            bytes([0, 0, 8, len(shape)])
            + struct.pack(f">{len(shape)}I", *shape)
            + draw.integers(0, 256, int(np.prod(shape)), np.uint8).tobytes()
            for shape in ((3, 4, 5), (7,), (1, 28, 28), (0, 4))
        ]

    def case(self, draw: random.Random) -> tuple[bytes, bool]:
        packed = draw.random() < 0.5
        content, other = draw.choice(self.files), draw.choice(self.files)
        if packed and draw.random() < 0.5:
            return mutated_bytes(gzip.compress(content, mtime=0), draw, gzip.compress(other, mtime=0)), True
        content = mutated_bytes(content, draw, other)
        return gzip.compress(content, mtime=0) if packed else content, packed

    def run(self, case: tuple[bytes, bool], draw: random.Random) -> bool:
        content, packed = case
        path = self.folder / ("images.gz" if packed else "images")
        path.write_bytes(content)
        # The published checksums would refuse all of these, so that the reader behind them would stay untried.
        part, digest = "train_images", hashlib.md5(content).hexdigest()
        before = mnist.ORIGINALS[part], mnist.UNPACKED_MD5[part]
        mnist.ORIGINALS[part] = replace(before[0], digest=digest)
        mnist.UNPACKED_MD5[part] = digest
        try:
            found = mnist.read(path, part)
        finally:
            mnist.ORIGINALS[part], mnist.UNPACKED_MD5[part] = before
        plain = content
        if packed:
            # Python ignores the flags that gzip reserves and the checksum of the header (flag 2); the checksum at the
            # end holds for what comes out.
            flags = content[3] & 0x1F
            try:
                plain = zlib.decompressobj(wbits=31).decompress(content[:3] + bytes([flags]) + content[4:])
            except zlib.error:
                if not flags & 2:
                    raise
                plain = gzip.decompress(content)
        axes = plain[3]
        shape = struct.unpack_from(f">{axes}I", plain, 4)
        if plain[:3] != b"\0\0\x08" or found.shape != shape or found.tobytes() != plain[4 + 4 * axes :]:
            raise SilentError("another array than the file declares")
        return True


class _Python2Pickler(pickle._Pickler):  # type: ignore[misc,name-defined]
    """Writes bytes as the texts of Python 2, in which the batches were pickled."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_text(self, text: bytes) -> None:
        head = b"U" + bytes([len(text)]) if len(text) < 256 else b"T" + struct.pack("<i", len(text))
        self.write(head + text)
        self.memoize(text)

    dispatch[bytes] = save_text


class Batches:
    """Pickled batches of CIFAR-10. What is accepted has the form of a batch, and nothing in it was executed."""

    name: ClassVar[str] = "cifar pickle"
    refusals: ClassVar[tuple[type[BaseException], ...]] = (DataError,)

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.mark = folder / "executed"
        draw = np.random.default_rng(0)
        self.files = []
        for rows in (1, 3):
            images = draw.integers(0, 256, (rows, 3072), np.uint8)
            batch = {
                b"data": images,
                b"labels": list(range(rows)),
                b"batch_label": b"1",
                b"filenames": [b"a.png"] * rows,
            }
            content = io.BytesIO()
            _Python2Pickler(content, protocol=2).dump(batch)
            self.files.append(content.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
        self.hostile = [
            f"cos\nsystem\n(S'touch {self.mark}'\ntR.".encode(),
            f"cbuiltins\neval\n(S'open({str(self.mark)!r},\"w\")'\ntR.".encode(),
            f"cnumpy\nsave\n(S'{self.mark}'\nI1\ntR.".encode(),
        ]

    def case(self, draw: random.Random) -> bytes:
        other = draw.choice(self.hostile if draw.random() < 0.4 else self.files)
        content = draw.choice(self.files)
        if draw.random() < 0.1:
            at = draw.randrange(len(content))
            return content[:at] + other + content[at:]
        # Pixels are most of a batch, and any byte is a pixel.
        at = content.find(b"labels") if draw.random() < 0.5 else 0
        return content[: max(0, at)] + mutated_bytes(content[max(0, at) :], draw, other)

    def run(self, case: bytes, draw: random.Random) -> bool:
        try:
            images, labels = cifar10.unpickled(case, "data_batch_1")
        finally:
            if self.mark.exists():
                self.mark.unlink()
                raise SilentError("a pickle ran a command")
        rows = len(labels)
        if images.shape != (rows, 3, 32, 32) or images.dtype != np.uint8 or labels.shape != (rows,):
            raise SilentError("another form than a batch has")
        if rows and not 0 <= int(labels.min()) <= int(labels.max()) <= 9:
            raise SilentError("a class that does not exist")
        return True


class Metadata:
    """Metadata of Pathfinder. Each accepted line is one image, named and labelled as its columns say."""

    name: ClassVar[str] = "pathfinder metadata"
    refusals: ClassVar[tuple[type[BaseException], ...]] = (DataError,)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "metadata").mkdir(parents=True)
        self.texts = []
        for number in range(3):
            lines = (f"imgs/{number} sample_{row}.png {row} {row % 2} 0 1.8 6 1.5 2 4 2" for row in range(4))
            self.texts.append("\n".join([*lines, ""]).encode())

    def case(self, draw: random.Random) -> tuple[str, bytes]:
        content = draw.choice(self.texts)
        if draw.random() < 0.5:
            content = mutated_text(content.decode(), draw, self.texts[0].decode()).encode("utf-8", "surrogatepass")
        else:
            content = mutated_bytes(content, draw, self.texts[1])
        name = draw.choice(("0", "1", "10", "007", "+1", "1.5", "a", "²", "1_0")) if draw.random() < 0.2 else "1"
        return name, content

    def run(self, case: tuple[str, bytes], draw: random.Random) -> bool:
        name, content = case
        file = self.folder / "metadata" / f"{name}.npy"
        file.write_bytes(content)
        try:
            found = pathfinder.read_metadata(self.folder)
        finally:
            file.unlink()
        if not re.fullmatch("[0-9]+", name):
            raise SilentError("a file without a number")
        lines = [line for line in re.split(rb"\r\n|\r|\n", content) if line.strip()]
        expected = [(line.split()[0] + b"/" + line.split()[1], line.split()[3]) for line in lines]
        if [(path.encode(), str(label).encode()) for path, label in found] != expected:
            raise SilentError("other images or classes than the lines say")
        if any(label not in (0, 1) or ".." in path.split("/") or path.startswith("/") for path, label in found):
            raise SilentError("a class that does not exist or a path that leaves the folder")
        return True


class Caches:
    """A prepared data set of which one file is damaged. It is accepted if it opens, reads whole and verifies.

    What verifies must be what was written. ``prepare`` compares sizes alone, because reading large data takes long; so
    damage of the same size may open, but must be found by ``verify`` and must not end in another error.
    """

    name: ClassVar[str] = "cache"
    refusals: ClassVar[tuple[type[BaseException], ...]] = (DataError,)

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.dataset = listops.ListOps(miniature=True, limit={"train": 20, "val": 5, "test": 5})
        self.dataset.prepare(Place(None, folder), progress=False)
        [note] = folder.rglob(cache.META)
        self.folder = note.parent
        self.whole = {file.name: file.read_bytes() for file in self.folder.iterdir()}

    def case(self, draw: random.Random) -> tuple[str, bytes | None]:
        name, other = draw.choice(sorted(self.whole)), draw.choice(sorted(self.whole))
        content = self.whole[name]
        if draw.random() < 0.02:
            return name, None
        if name == cache.META and draw.random() < 0.6:
            return name, mutated_text(content.decode(), draw, content.decode()).encode("utf-8", "surrogatepass")
        damaged = mutated_bytes(content, draw, self.whole[other])
        if draw.random() < 0.5:
            damaged = (damaged + content[len(damaged) :])[: len(content)]
        return name, damaged

    def run(self, case: tuple[str, bytes | None], draw: random.Random) -> bool:
        name, content = case
        file = self.folder / name
        try:
            if content is None:
                file.unlink()
            else:
                file.write_bytes(content)
            return self._opens(content == self.whole[name])
        finally:
            file.write_bytes(self.whole[name])

    def _opens(self, whole: bool) -> bool:
        entry = cache.find(self.folder)
        if entry is None:
            return False
        wrong = entry.verify()
        prepared = self.dataset._open(entry)
        for split in prepared.splits.values():
            for number in range(len(split)):
                split[number]
        if not wrong and not whole and not self._same_note():
            raise SilentError("damaged data verify")
        return not wrong

    def _same_note(self) -> bool:
        """Return whether the note says the same in another form, such as with more spaces."""
        import json

        now = json.loads((self.folder / cache.META).read_bytes())
        return now == json.loads(self.whole[cache.META])


TARGETS: tuple[type[Any], ...] = (ListOpsRows, SoundFiles, IDXFiles, Batches, Metadata, Caches)
