"""Forecasting (etth, ettm, weather, ecl): predict the next values of a series from its previous values.

This is the univariate setting of Zhou et al., "Informer: Beyond Efficient Transformer for Long Sequence Time-Series
Forecasting" (arXiv:2012.07436, section 4).
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from ssm_data import archives, cache
from ssm_data.contract import SPLITS, Dataset, Place, Preparation, Prepared, Spec
from ssm_data.errors import DataError
from ssm_data.generators import miniatures
from ssm_data.options import Length
from ssm_data.splits import Horizons

#: Number of hours in a month.
MONTH = 30 * 24
#: Number of channels of a time stamp.
STAMPS = 4


@dataclass(frozen=True, kw_only=True)
class _Forecast(Dataset):
    """One series with time stamps; a model predicts the values of the forecast horizon.

    A time stamp has four channels: the time of the day, and the day of the week, of the month and of the year. An input
    has ``past + future`` steps; its last ``future`` steps are zero.

    Args:
        past: number of known steps.
        future: number of steps of the forecast horizon.
    """

    files: ClassVar[tuple[str, ...]]
    column: ClassVar[str]
    rows: ClassVar[int]
    how_to: ClassVar[str]

    past: Length = 384
    future: Length = 96

    def expected(self) -> Spec:
        return Spec(
            tokens=False,
            d_input=1 + STAMPS,
            d_output=1,
            target="value",
            l_max=self.past + self.future,
            l_output=self.future,
            lengths=False,
            pair=False,
            stream=False,
            metric="mse",
            chance=math.nan,
            sizes=self._sizes({split: count for split, (_, count) in self._examples(self.rows).items()}),
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._examples(self.rows)

    def _examples(self, rows: int) -> dict[str, tuple[int, int]]:
        """Return the start and the number of examples of each split; val and test begin ``past`` steps early.

        Raises:
            ValueError: a split is too short for one example.
        """
        found = {}
        start = 0
        for split, end in zip(SPLITS, self._ends(rows), strict=True):
            count = end - start - self.past - self.future + 1
            if count < 1:
                raise ValueError(
                    f"{split} of {self.title} has {end - start:,} steps, "
                    f"too few for past {self.past:,} and future {self.future:,}."
                )
            found[split] = start, count
            start = end - self.past
        return found

    def _preparation(self, place: Place) -> Preparation:
        key = {"file": self._file, "miniature": self.miniature}
        if self.miniature:
            return Preparation(key, self._write_miniature, "generates a series", 1 << 17)
        folders = (self.name, f"informer/{self.name}", "informer", "ETT-small", "ETDataset/ETT-small", "ett", ".")
        folder = archives.folder_with(place.data, folders, [self._file])
        if folder:
            path = folder / self._file
            return Preparation(key, partial(self._write, path), f"reads {path}", 24 * self.rows, originals=[path])
        where = place.data or "a folder that is named with --data"
        missing = f"{self._file} ({self.rows:,} rows) is not in {where}: {self.how_to}"
        return Preparation(key, partial(self._write, Path()), "", missing=missing)

    @property
    def _file(self) -> str:
        return self.files[0]

    def _write(self, path: Path, writer: cache.Writer, progress: bool) -> None:
        times, values = read(path, self.column)
        if len(values) != self.rows:
            raise DataError(f"{path} has {len(values):,} rows, but {self.rows:,} are published. {self.how_to}")
        self._store(writer, times, values)

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        values = miniatures.seasons(self._ends(self.rows)[-1])
        times = np.datetime64("2016-07-01", "m") + np.arange(len(values)) * np.timedelta64(60, "m")
        self._store(writer, times, values)

    def _store(self, writer: cache.Writer, times: np.ndarray, values: np.ndarray) -> None:
        train = values[: self._ends(len(values))[0]]
        writer.array("values", ((values - train.mean()) / train.std()).astype(np.float32))
        writer.array("stamps", stamps(times))

    def _open(self, entry: cache.Entry) -> Prepared:
        values, marks = entry.array("values"), entry.array("stamps")
        splits = {}
        for split, (start, count) in self._examples(len(values)).items():
            index = start + self._subset(split, count)
            splits[split] = Horizons(index, values, marks, self.past, self.future)
        spec = replace(
            self.expected(),
            chance=splits["test"].variance(),
            sizes={name: len(split) for name, split in splits.items()},
            fingerprint=cache.digest(
                [entry.fingerprint, self.past, self.future, *(split.digest() for split in splits.values())]
            ),
        )
        return Prepared(spec, splits)

    def _ends(self, rows: int) -> tuple[int, int, int]:
        """Return the steps at which train, val and test end."""
        train, test = int(0.7 * rows), int(0.2 * rows)
        return train, rows - test, rows


@dataclass(frozen=True, kw_only=True)
class ETTHourly(_Forecast):
    """Oil temperature of a transformer, every hour; train, val and test have 12, 4 and 4 months.

    Args:
        transformer: number of the transformer.
    """

    name: ClassVar[str] = "etth"
    title: ClassVar[str] = "ETTh"
    files: ClassVar[tuple[str, ...]] = ("ETTh1.csv", "ETTh2.csv")
    column: ClassVar[str] = "OT"
    rows: ClassVar[int] = 17_420
    how_to: ClassVar[str] = "get ETT-small from https://github.com/zhouhaoyi/ETDataset and put it there."
    month: ClassVar[int] = MONTH

    transformer: Literal[1, 2] = 1

    @property
    def _file(self) -> str:
        return self.files[self.transformer - 1]

    def _ends(self, rows: int) -> tuple[int, int, int]:
        return 12 * self.month, 16 * self.month, 20 * self.month


@dataclass(frozen=True, kw_only=True)
class ETTMinutely(ETTHourly):
    """Oil temperature of a transformer, every 15 minutes; train, val and test have 12, 4 and 4 months."""

    name: ClassVar[str] = "ettm"
    title: ClassVar[str] = "ETTm"
    files: ClassVar[tuple[str, ...]] = ("ETTm1.csv", "ETTm2.csv")
    rows: ClassVar[int] = 69_680
    month: ClassVar[int] = 4 * MONTH


@dataclass(frozen=True, kw_only=True)
class Weather(_Forecast):
    """Wet-bulb temperature, every hour; train, val and test have 70, 10 and 20 percent of the steps."""

    name: ClassVar[str] = "weather"
    title: ClassVar[str] = "Weather"
    files: ClassVar[tuple[str, ...]] = ("WTH.csv",)
    column: ClassVar[str] = "WetBulbCelsius"
    rows: ClassVar[int] = 35_064
    how_to: ClassVar[str] = "get it by the link in https://github.com/zhouhaoyi/Informer2020 and put it there."


@dataclass(frozen=True, kw_only=True)
class ECL(_Forecast):
    """Electricity consumption of one client, every hour; the splits have 70, 10 and 20 percent of the steps."""

    name: ClassVar[str] = "ecl"
    title: ClassVar[str] = "ECL"
    files: ClassVar[tuple[str, ...]] = ("ECL.csv",)
    column: ClassVar[str] = "MT_320"
    rows: ClassVar[int] = 26_304
    how_to: ClassVar[str] = "get it by the link in https://github.com/zhouhaoyi/Informer2020 and put it there."


def read(path: Path, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return times (T,) datetime64[m] and the values (T,) float64 of a column; the CSV file has a column ``date``.

    Raises:
        DataError: a column is missing, or a row holds no time or no finite number.
    """
    times, values = [], []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if lacking := {"date", column} - set(rows.fieldnames or ()):
                raise DataError(f"{path} has no column {' and no column '.join(sorted(lacking))}; get the file again.")
            for row in rows:
                try:
                    times.append(np.datetime64(row["date"] or "nothing", "s"))
                    values.append(float(row[column] or "nothing"))
                except ValueError as error:
                    raise DataError(
                        f"Line {rows.line_num} of {path} is damaged ({error}); get the file again."
                    ) from error
                if np.isnat(times[-1]) or not math.isfinite(values[-1]):
                    raise DataError(
                        f"Line {rows.line_num} of {path} holds the time {row['date']} and the {column} {row[column]}, "
                        "which are not both finite; get the file again."
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); get the file again.") from error
    return np.array(times, dtype="datetime64[s]").astype("datetime64[m]"), np.array(values, dtype=np.float64)


def stamps(times: np.ndarray) -> np.ndarray:
    """Return minute of the day and day of the week, month and year, scaled to -0.5 to 0.5: (T, 4) float32."""
    days = times.astype("datetime64[D]")
    minute = (times - days).astype(np.int64) / (24 * 60 - 1)
    weekday = (days.astype(np.int64) + 3) % 7 / 6  # 1 January 1970 was a Thursday
    month_day = (days - days.astype("datetime64[M]")).astype(np.int64) / 30
    year_day = (days - days.astype("datetime64[Y]")).astype(np.int64) / 365
    return (np.stack([minute, weekday, month_day, year_day], axis=1) - 0.5).astype(np.float32)
