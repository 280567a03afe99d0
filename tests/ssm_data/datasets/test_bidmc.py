"""BIDMC: series and targets of .ts files, seeded splits, faults."""

import numpy as np
import pytest
import torch
from ssm_data import DataError, Place
from ssm_data.batches import loader
from ssm_data.datasets import bidmc
from ssm_data.datasets.bidmc import BIDMC

LENGTH = 50
RNG = np.random.default_rng(0)
SERIES = RNG.normal(size=(40, 2, LENGTH)).astype(np.float32)
TARGETS = RNG.uniform(80, 100, 40).astype(np.float32)
HEADER = "#comment\n@problemName BIDMC32HR\n@timeStamps false\n@univariate false\n@targetlabel true\n@data\n"


@pytest.fixture(autouse=True)
def _published(monkeypatch):
    monkeypatch.setattr(bidmc, "LENGTH", LENGTH)


def line(number):
    channels = (",".join(map(str, channel)) for channel in SERIES[number])
    return f"{':'.join(channels)}:{TARGETS[number]}\n"


def write(root, name="HR", last=""):
    folder = root / "bidmc" / name
    folder.mkdir(parents=True)
    (folder / f"BIDMC32{name}_TRAIN.ts").write_text(HEADER + "".join(map(line, range(30))))
    (folder / f"BIDMC32{name}_TEST.ts").write_text(HEADER + "".join(map(line, range(30, 40))) + last)
    return root


def prepare(dataset, data, tmp_path):
    return dataset.prepare(Place(data, tmp_path / "cache"), progress=False)


def test_series_and_targets_of_both_files(tmp_path):
    prepared = prepare(BIDMC(measure="hr"), write(tmp_path), tmp_path)
    spec = prepared.spec
    assert spec.sizes == {"train": 28, "val": 6, "test": 6}
    assert (spec.d_input, spec.d_output, spec.target, spec.metric) == (2, 1, "value", "mse")
    seen = []
    for split in ("train", "val", "test"):
        for i, row in enumerate(prepared.split(split).index):
            x, y = prepared.split(split)[i]
            np.testing.assert_array_equal(x, SERIES[row].T)
            np.testing.assert_array_equal(y, TARGETS[row : row + 1])
            seen.append(row)
    assert sorted(seen) == list(range(40))
    assert spec.chance == pytest.approx(np.var(TARGETS[prepared.split("test").index].astype(float)))
    x, y, lengths = next(iter(loader(prepared, "train", 5, seed=0)))
    assert (x.shape, y.shape, y.dtype, lengths) == ((5, LENGTH, 2), (5, 1), torch.float32, None)


def test_the_seed_decides_the_splits(tmp_path):
    first, other = (prepare(BIDMC(measure="hr", seed=seed), write(tmp_path / str(seed)), tmp_path) for seed in (0, 1))
    assert first.split("test").index.tolist() != other.split("test").index.tolist()
    assert first.spec.fingerprint != other.spec.fingerprint


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("1,2,3:4,5,6:90\n", r"Line 17 of .*TEST\.ts has the shape \(2, 3\)"),
        ("1,x:4,5:90\n", r"Line 17 of .* is not a series and its target"),
        (line(0).rsplit(":", 1)[0], r"Line 17 of .* is not a series"),
    ],
)
def test_broken_lines_are_named(tmp_path, last, message):
    with pytest.raises(DataError, match=message):
        prepare(BIDMC(measure="hr"), write(tmp_path, last=last), tmp_path)


def test_missing_files_are_named_with_their_source(tmp_path):
    status = BIDMC().status(Place(tmp_path, tmp_path))
    assert status.state == "missing"
    assert "BIDMC32SpO2_TRAIN.ts and BIDMC32SpO2_TEST.ts are not in" in status.sentence
    assert "https://zenodo.org/record/4001464" in status.sentence
    with pytest.raises(DataError, match="zenodo"):
        prepare(BIDMC(), None, tmp_path)


def test_miniature(tmp_path):
    prepared = prepare(BIDMC(miniature=True), None, tmp_path)
    assert prepared.spec.sizes == {"train": 3500, "val": 750, "test": 750}
    assert prepared.spec.chance == pytest.approx(8.25, rel=0.1)


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize("part", ["series", "target"])
def test_values_that_are_no_numbers_are_refused(tmp_path, cell, part):
    good = line(0).strip()
    bad = good.replace(good.split(",")[1], cell, 1) if part == "series" else f"{good.rsplit(':', 1)[0]}:{cell}"
    with pytest.raises(DataError, match=r"Line 17 of .*TEST\.ts holds values that are infinite or no numbers"):
        prepare(BIDMC(measure="hr"), write(tmp_path, last=bad), tmp_path)
    assert not [path for path in (tmp_path / "cache" / "bidmc").iterdir() if path.is_dir()]


@pytest.mark.parametrize("content", ["", HEADER, "1,2:3,4:5\n", "<html></html>"])
def test_a_file_without_series_is_named(tmp_path, content):
    data = write(tmp_path)
    (data / "bidmc" / "HR" / "BIDMC32HR_TRAIN.ts").write_text(content)
    with pytest.raises(DataError, match=r"BIDMC32HR_TRAIN\.ts holds no series"):
        prepare(BIDMC(measure="hr"), data, tmp_path)
