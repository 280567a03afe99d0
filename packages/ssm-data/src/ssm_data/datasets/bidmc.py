"""BIDMC: predict heart rate, respiratory rate or blood oxygen of a patient from half a minute of two signals.

The data are by Pimentel et al., "Toward a Robust Estimation of Respiratory Rate From Pulse Oximeters" (2016); the
series are by Tan et al., "Monash University, UEA, UCR Time Series Regression Archive" (arXiv:2006.10996).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from ssm_data import archives, cache, parallel
from ssm_data.contract import SPLITS, Dataset, Place, Preparation, Prepared, Spec
from ssm_data.errors import DataError
from ssm_data.generators import miniatures
from ssm_data.options import Seed
from ssm_data.splits import Signals, shuffled

NAMES = {"rr": "RR", "hr": "HR", "spo2": "SpO2"}
#: Numbers of the records on Zenodo.
RECORDS = {"rr": 4001463, "hr": 4001456, "spo2": 4001464}
FILES = ("BIDMC32{}_TRAIN.ts", "BIDMC32{}_TEST.ts")
#: Number of series in both files together.
TOTALS = {"rr": 7_870, "hr": 7_949, "spo2": 7_949}
LENGTH, CHANNELS = 4000, 2
#: Shares of the series at which the train split and the validation split end.
SHARES = (0.7, 0.85)


@dataclass(frozen=True, kw_only=True)
class BIDMC(Dataset):
    """Series of 4,000 samples of two channels (pulse and electrocardiogram).

    Train, val and test take 70, 15 and 15 percent of the series, drawn at random.

    Args:
        measure: what a model predicts: ``rr`` or ``hr`` (per minute), or ``spo2`` (percent).
        seed: seed of the splits.
    """

    name: ClassVar[str] = "bidmc"
    title: ClassVar[str] = "BIDMC"

    measure: Literal["rr", "hr", "spo2"] = "spo2"
    seed: Seed = 0

    def expected(self) -> Spec:
        total = sum(miniatures.SIZES.values()) if self.miniature else TOTALS[self.measure]
        cuts = [0, *(int(share * total) for share in SHARES), total]
        return Spec(
            tokens=False,
            d_input=CHANNELS,
            d_output=1,
            target="value",
            l_max=miniatures.SOUND if self.miniature else LENGTH,
            l_output=0,
            lengths=False,
            pair=False,
            stream=False,
            metric="mse",
            chance=math.nan,
            sizes=self._sizes({split: end - start for split, (start, end) in zip(SPLITS, pairwise(cuts), strict=True)}),
        )

    def _preparation(self, place: Place) -> Preparation:
        key = {"measure": self.measure, "seed": self.seed, "miniature": self.miniature}
        if self.miniature:
            return Preparation(key, self._write_miniature, "generates series", 20 << 20)
        name = NAMES[self.measure]
        names = [file.format(name) for file in FILES]
        folder = archives.folder_with(place.data, (f"bidmc/{name}", f"BIDMC32{name}", "bidmc", "."), names)
        if folder:
            paths = [folder / file for file in names]
            return Preparation(key, partial(self._write, paths), f"reads {folder}", originals=paths)
        missing = (
            f"{' and '.join(names)} are not in {place.data or 'a folder that is named with --data'}: get them from "
            f"https://zenodo.org/record/{RECORDS[self.measure]} and put them into bidmc/{name} there."
        )
        return Preparation(key, partial(self._write, []), "", missing=missing)

    def _write(self, paths: list[Path], writer: cache.Writer, progress: bool) -> None:
        counts = {path: sum(1 for _ in _rows(path)) for path in paths}
        if empty := next((path for path, count in counts.items() if not count), None):
            raise DataError(f"{empty} holds no series after a line @data; get the file again.")
        count = sum(counts.values())
        signals = writer.empty("signals", (count, LENGTH, CHANNELS), np.float32)
        targets = np.zeros(count, dtype=np.float32)
        rows = ((path, number, row) for path in paths for number, row in _rows(path))
        for i, (path, number, row) in enumerate(
            parallel.tracked(rows, count, title="BIDMC: reading", progress=progress)
        ):
            signals[i], targets[i] = parsed(row, f"Line {number} of {path}")
        self._store(writer, targets)

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        waves, pitches = zip(*miniatures.tones(10).values(), strict=True)
        signals = np.concatenate(waves).astype(np.float32)[:, :, None] / 2**12
        writer.array("signals", np.concatenate([signals, -signals], axis=2))
        self._store(writer, np.concatenate(pitches).astype(np.float32))

    def _store(self, writer: cache.Writer, targets: np.ndarray) -> None:
        writer.array("targets", targets)
        order = shuffled(len(targets), self.seed)
        cuts = [int(share * len(order)) for share in SHARES]
        for split, index in zip(SPLITS, np.split(order, cuts), strict=True):
            writer.array(split, np.sort(index))

    def _open(self, entry: cache.Entry) -> Prepared:
        signals, targets = entry.array("signals"), entry.array("targets")
        zero, one = np.zeros(CHANNELS, dtype=np.float32), np.ones(CHANNELS, dtype=np.float32)
        splits = {}
        for split in SPLITS:
            index = entry.array(split)
            splits[split] = Signals(index[self._subset(split, len(index))], targets, signals, zero, one)
        spec = replace(
            self.expected(),
            chance=float(np.var(splits["test"].labels, dtype=np.float64)),
            sizes={name: len(split) for name, split in splits.items()},
            fingerprint=cache.digest([entry.fingerprint, *(split.digest() for split in splits.values())]),
        )
        return Prepared(spec, splits)


def _rows(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a ``.ts`` file after its header, which ends with ``@data``."""
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = enumerate(file, 1)
        for _, line in lines:
            if line.strip().lower() == "@data":
                break
        yield from ((number, line.strip()) for number, line in lines if line.strip())


def parsed(row: str, where: str) -> tuple[np.ndarray, float]:
    """Return the series (4000, 2) float32 and the target of a line; colons separate the channels and the target.

    Raises:
        DataError: the line has another form.
    """
    *channels, target = row.split(":")
    try:
        series = np.array([channel.split(",") for channel in channels], dtype=np.float32)
        value = float(target)
    except ValueError as error:
        raise DataError(f"{where} is not a series and its target ({error}); get the file again.") from error
    if not np.isfinite(series).all() or not math.isfinite(value):
        raise DataError(f"{where} holds values that are infinite or no numbers; get the file again.")
    if series.shape != (CHANNELS, LENGTH):
        raise DataError(f"{where} has the shape {series.shape}, not {(CHANNELS, LENGTH)}; get the file again.")
    return series.T, value
