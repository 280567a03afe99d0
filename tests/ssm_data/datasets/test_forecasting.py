"""Forecasting: windows of the published splits, standardised by the train part; stamps; faults."""

import csv

import numpy as np
import pytest
from ssm_data import DATASETS, DataError, Place
from ssm_data.batches import loader
from ssm_data.datasets.forecasting import ECL, ETTHourly, ETTMinutely, Weather, stamps

ROWS = 200
RNG = np.random.default_rng(0)
VALUES = RNG.normal(20, 4, ROWS).round(3)


def write(root, name, column, rows=ROWS, values=VALUES):
    root.mkdir(parents=True, exist_ok=True)
    times = np.datetime64("2016-12-30T00:00:00") + np.arange(rows) * np.timedelta64(1, "h")
    with (root / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["date", "HUFL", column])
        writer.writerows([str(time).replace("T", " "), 1.5, value] for time, value in zip(times, values, strict=False))
    return root


@pytest.fixture(autouse=True)
def _published(monkeypatch):
    monkeypatch.setattr(ECL, "rows", ROWS)
    monkeypatch.setattr(ETTHourly, "rows", ROWS)
    monkeypatch.setattr(ETTHourly, "month", 8)


def prepare(dataset, data, tmp_path):
    return dataset.prepare(Place(data, tmp_path / "cache"), progress=False)


@pytest.mark.parametrize(
    ("dataset", "name", "column", "ends"),
    [
        (ECL(past=12, future=5), "ECL.csv", "MT_320", (140, 160, 200)),
        (ETTHourly(past=12, future=5), "ETTh1.csv", "OT", (96, 128, 160)),
        (ETTHourly(past=12, future=5, transformer=2), "ETTh2.csv", "OT", (96, 128, 160)),
    ],
)
def test_every_window_of_the_published_splits(tmp_path, dataset, name, column, ends):
    prepared = prepare(dataset, write(tmp_path / "informer", name, column).parent, tmp_path)
    train = VALUES[: ends[0]]
    standard = (VALUES - train.mean()) / train.std()
    asked = {}
    for split, begin, end in zip(("train", "val", "test"), (12, *ends[:2]), ends, strict=True):
        examples = [prepared.split(split)[i] for i in range(prepared.spec.sizes[split])]
        asked[split] = np.stack([y[:, 0] for _, y in examples])
        expected = np.lib.stride_tricks.sliding_window_view(standard[begin:end], 5)
        np.testing.assert_allclose(asked[split], expected, atol=1e-6)
        known = np.lib.stride_tricks.sliding_window_view(standard[begin - 12 : end - 5], 12)
        np.testing.assert_allclose(np.stack([x[:12, 0] for x, _ in examples]), known, atol=1e-6)
        assert not any(x[12:].any() for x, _ in examples)
    assert prepared.spec.chance == pytest.approx(asked["test"].var(), rel=1e-5)
    assert (prepared.spec.l_max, prepared.spec.l_output, prepared.spec.d_input) == (17, 5, 5)
    x, y, lengths = next(iter(loader(prepared, "train", 4, seed=0)))
    assert (x.shape, y.shape, lengths) == ((4, 17, 5), (4, 5, 1), None)


def test_stamps_are_the_parts_of_the_date():
    times = np.array(["2021-01-31T23:59", "2020-12-31T00:00", "2016-07-04T06:15"], dtype="datetime64[m]")
    expected = [
        [1, 6 / 6, 30 / 30, 30 / 365],  # a Sunday
        [0, 3 / 6, 30 / 30, 365 / 365],  # a Thursday in a leap year
        [375 / 1439, 0, 3 / 30, 185 / 365],  # a Monday
    ]
    np.testing.assert_allclose(stamps(times), np.array(expected) - 0.5, atol=1e-6)


def test_missing_and_wrong_files_are_named(tmp_path):
    status = Weather().status(Place(tmp_path, tmp_path))
    assert status.state == "missing"
    assert "WTH.csv (35,064 rows) is not in" in status.sentence
    with pytest.raises(DataError, match=r"has 150 rows, but 200 are published"):
        prepare(ECL(past=12, future=5), write(tmp_path / "1", "ECL.csv", "MT_320", rows=150), tmp_path)
    with pytest.raises(DataError, match=r"ECL\.csv has no column MT_320"):
        prepare(ECL(past=12, future=5), write(tmp_path / "2", "ECL.csv", "OT"), tmp_path)
    with pytest.raises(DataError, match=r"Line 2 of .*ECL\.csv is damaged \(could not convert"):
        prepare(ECL(past=12, future=5), write(tmp_path / "3", "ECL.csv", "MT_320", values=["?"] * ROWS), tmp_path)
    with pytest.raises(ValueError, match=r"train of ECL has 140 steps, too few"):
        ECL(past=140)


def test_published_sizes_are_the_defaults(monkeypatch):
    monkeypatch.undo()
    assert ETTHourly()._ends(ETTHourly.rows) == (8_640, 11_520, 14_400)
    assert ETTMinutely()._ends(ETTMinutely.rows) == (34_560, 46_080, 57_600)
    assert Weather()._ends(Weather.rows)[1] == 35_064 - 7_012
    assert (ECL().past, ECL().future) == (384, 96)


@pytest.mark.parametrize("name", ["etth", "ettm", "weather", "ecl"])
def test_miniatures_can_be_limited(name, tmp_path, monkeypatch):
    monkeypatch.undo()
    prepared = prepare(DATASETS[name](miniature=True, limit={"train": 9}), None, tmp_path)
    assert prepared.spec.sizes["train"] == 9
    assert prepared.spec.chance > 0.5


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("2016-12-30 03:00:00,1.5,?", "is damaged"),
        ("2016-12-30 03:00:00,1.5,nan", "not both finite"),
        ("2016-12-30 03:00:00,1.5,inf", "not both finite"),
        ("2016-12-30 03:00:00,1.5,", "is damaged"),
        ("2016-12-30 03:00:00,1.5", "is damaged"),
        ("NaT,1.5,3", "not both finite"),
        (",1.5,3", "is damaged"),
        ("30 December,1.5,3", "is damaged"),
        ("<html>", "is damaged"),
    ],
)
def test_a_bad_cell_is_named_by_file_and_line(tmp_path, row, fault):
    data = write(tmp_path / "data", "ECL.csv", "MT_320")
    lines = (data / "ECL.csv").read_text().splitlines()
    (data / "ECL.csv").write_text("\n".join([*lines[:4], row, *lines[5:]]))
    with pytest.raises(DataError, match=rf"Line 5 of .*ECL\.csv .*{fault}"):
        prepare(ECL(past=12, future=5), data, tmp_path)
    assert not [path for path in (tmp_path / "cache" / "ecl").iterdir() if path.is_dir()]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"date,MT_320\n\xff,1\n"])
def test_a_file_that_is_no_table_is_named(tmp_path, content):
    (tmp_path / "ECL.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"ECL\.csv"):
        prepare(ECL(past=12, future=5), tmp_path, tmp_path)
