"""What every data set keeps to, shown on the miniatures."""

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from ssm_data import DATASETS, Place
from ssm_data.collate import collate
from ssm_data.errors import DataError

PIXELS = ["scifar", "smnist", "pmnist"]
NAMES = ["listops", "text", "retrieval", "image", "pathfinder", "path-x", *PIXELS, "sc35", "sc10"]  # classification
CORPORA = ["wikitext-103", "wikitext-2", "enwik8", "text8"]
SOUNDS = ["sc09", "audio-folder", "beethoven", "youtubemix"]
VALUES = ["copying", "adding", "delay", "reconstruct", "bidmc", "etth", "ettm", "weather", "ecl"]
PICTURES = ["cifar", "imagenet", "celeba", "hmdb51"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(None, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module", params=NAMES)
def miniature(request, place):
    return DATASETS[request.param](miniature=True).prepare(place, progress=False)


def test_names():
    assert list(DATASETS) == [*NAMES, *CORPORA, *SOUNDS, *VALUES, *PICTURES]
    assert [dataset.name for dataset in DATASETS.values()] == list(DATASETS)


def test_options_and_status_need_no_torch(tmp_path):
    code = (
        "import sys, pathlib, ssm_data\n"
        f"place = ssm_data.Place(None, pathlib.Path({str(tmp_path)!r}))\n"
        "for dataset in ssm_data.DATASETS.values(): dataset().status(place); dataset(miniature=True).status(place)\n"
        "assert 'torch' not in sys.modules and 'datasets' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", DATASETS)
def test_options_are_validated_from_their_types(name):
    options = TypeAdapter(DATASETS[name])
    assert options.validate_python({"miniature": True, "limit": {"train": 5}}).limit == {"train": 5}
    for wrong in ({"miniature": "maybe"}, {"limit": {"trian": 5}}, {"limit": {"val": 0}}):
        with pytest.raises(ValidationError):
            options.validate_python(wrong)


def test_spec_describes_the_batches(miniature):
    spec = miniature.spec
    batch = collate([miniature.split("train")[i] for i in range(4)], miniature.spec)
    assert tuple(batch.y.shape) == (4,)
    assert batch.x.shape[0] == (8 if spec.pair else 4)
    assert batch.x.shape[1] <= spec.l_max
    if spec.tokens:
        assert str(batch.x.dtype) == "torch.int64"
        assert batch.x.max() < spec.d_input
        assert batch.lengths.shape[0] == batch.x.shape[0]
        assert batch.lengths.max() == batch.x.shape[1]
    else:
        assert str(batch.x.dtype) == "torch.float32"
        assert tuple(batch.x.shape) == (4, spec.l_max, spec.d_input)
        assert batch.lengths is None


def test_classes_and_sizes(miniature):
    spec = miniature.spec
    for name in ("train", "val", "test"):
        split = miniature.split(name)
        assert len(split) == spec.sizes[name] >= 400
        assert set(np.unique(split.labels)) == set(range(spec.d_output))
        assert [split[i][-1] for i in range(5)] == split.labels[:5].tolist()
    shares = np.bincount(miniature.split("test").labels) / spec.sizes["test"]
    assert spec.chance == pytest.approx(shares.max())
    assert spec.chance < 1.6 / spec.d_output


MEASURED = {"fingerprint", "chance"}  # fields that the docstring of expected() calls approximate for miniatures


def compared(prepared):
    fields = dataclasses.asdict(prepared.spec)
    return {name: value for name, value in fields.items() if name not in MEASURED}


VARIANTS = {
    "text": [{"validation": "test"}, {"l_max": 50}],
    "retrieval": [{"l_max": 60}],
    "sc10": [{"mfcc": True}, {"dropped": 30}],
    "wikitext-2": [{"l_max": 100, "limit": {"train": 500}}],
    "copying": [{"memory": 5, "blanks": 3, "vocabulary": 9}],
    "delay": [{"lag": 7}],
    "reconstruct": [{"memory": 9}],
    "bidmc": [{"measure": "hr", "seed": 3}],
    "etth": [{"past": 100, "future": 24}, {"limit": {"val": 7}}],
    "hmdb51": [{"validation": "test"}, {"seconds": 0.5, "frames": 3}],
    "imagenet": [{"augment": False}],
}


@pytest.mark.parametrize("name", DATASETS)
def test_the_expected_spec_of_a_miniature_is_that_of_its_prepared_data(name, place):
    for options in ({}, {"limit": {"train": 30, "test": 20}}, *VARIANTS.get(name, [])):
        if name == "hmdb51" and "limit" in options:
            options = {"limit": {"train": 30}}  # a limit counts videos, and those of the other splits are cut to clips
        dataset = DATASETS[name](miniature=True, **options)
        prepared = dataset.prepare(place, progress=False)
        expected = dataclasses.asdict(dataset.expected())
        assert {key: value for key, value in expected.items() if key not in MEASURED} == compared(prepared)
        assert expected["fingerprint"] == ""
        if prepared.spec.metric == "accuracy" and not options and name != "celeba":
            assert expected["chance"] == pytest.approx(prepared.spec.chance, abs=0.12)


PUBLISHED = {  # vocabulary or channels, outputs, length, train, val, test, chance
    "listops": (18, 10, 2048, 96_000, 2_000, 2_000, 0.17),
    "retrieval": (98, 2, 4000, 147_086, 18_090, 17_437, 0.5),
    "image": (1, 10, 1024, 45_000, 5_000, 10_000, 0.1),
    "pathfinder": (1, 2, 1024, 160_000, 20_000, 20_000, 0.5),
    "path-x": (1, 2, 16_384, 160_000, 20_000, 20_000, 0.5),
    "scifar": (3, 10, 1024, 45_000, 5_000, 10_000, 0.1),
    "smnist": (1, 10, 784, 54_000, 6_000, 10_000, 0.1135),
    "pmnist": (1, 10, 784, 54_000, 6_000, 10_000, 0.1135),
    "sc35": (1, 35, 16_000, 84_843, 9_981, 11_005, 1 / 35),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_expected_spec_is_the_published_one(name):
    spec = DATASETS[name]().expected()
    assert (spec.d_input, spec.d_output, spec.l_max, *spec.sizes.values(), spec.chance) == PUBLISHED[name]
    assert spec.pair == (name == "retrieval")
    assert spec.tokens == spec.lengths == (name in ("listops", "retrieval"))


def test_the_expected_spec_follows_the_options():
    text = DATASETS["text"]
    assert (text().expected().d_input, text().expected().l_max) == (134, 4096)
    assert list(text().expected().sizes.values()) == [22_500, 2_500, 25_000]
    assert list(text(validation="test").expected().sizes.values()) == [25_000, 25_000, 25_000]
    small = text(l_max=100, limit={"train": 7}).expected()
    assert (small.l_max, small.sizes["train"], small.sizes["test"]) == (100, 7, 25_000)
    assert DATASETS["etth"](past=10, future=3).expected().l_output == 3
    assert DATASETS["sc35"](mfcc=True, dropped=10).expected().d_input == 21
    assert DATASETS["sc35"](mfcc=True).expected().l_max == 161
    assert DATASETS["celeba"](size=64).expected().axes == (64, 64)


@pytest.mark.parametrize("name", DATASETS)
def test_no_two_formats_share_a_cache(name):
    """The cache key holds the format number of this data set and no other's."""
    dataset = DATASETS[name](miniature=True)
    place = Place(None, Path("nowhere"))
    before = dataset._folder(place, dataset._planned(place))

    class Later(DATASETS[name]):
        cache_format = DATASETS[name].cache_format + 1

    after = Later(miniature=True)._folder(place, dataset._planned(place))
    assert (before.parent, before) != (after.parent, after)
    assert before.parent == after.parent


def test_longest_sequence_is_l_max(miniature):
    if miniature.spec.lengths:
        longest = max(miniature.lengths(split).max() for split in ("train", "val", "test"))
        assert longest == miniature.spec.l_max


def test_splits_travel_to_other_processes_without_their_contents(miniature):
    split = miniature.split("train")
    pickled = pickle.dumps(split)
    assert len(pickled) < 8 * len(split) + 2000  # the index, and paths
    again = pickle.loads(pickled)
    for i in (0, 7):
        for ours, theirs in zip(split[i], again[i], strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", DATASETS)
def test_preparing_again_changes_nothing(name, place, tmp_path):
    dataset = DATASETS[name](miniature=True)
    first = dataset.prepare(place, progress=False)
    status = dataset.status(place)
    assert status.state == "ready"
    assert status.size > 0
    files = {path: path.stat().st_mtime_ns for path in (place.cache / name).rglob("*.npy")}
    assert dataset.prepare(place, progress=False).spec == first.spec
    assert files == {path: path.stat().st_mtime_ns for path in (place.cache / name).rglob("*.npy")}
    elsewhere = Place(None, tmp_path)
    assert dataset.status(elsewhere).state == "preparable"
    assert dataset.prepare(elsewhere, progress=False).spec == first.spec


@pytest.mark.parametrize("name", NAMES)
def test_limit_takes_a_seeded_subset(name, place):
    def labels(limit):
        prepared = DATASETS[name](miniature=True, limit=limit).prepare(place, progress=False)
        return prepared, prepared.split("train").labels.tolist()

    whole, _ = labels(None)
    small, first = labels({"train": 30})
    assert small.spec.sizes["train"] == 30
    assert small.spec.sizes["test"] == whole.spec.sizes["test"]
    assert small.spec.fingerprint != whole.spec.fingerprint
    again, second = labels({"train": 30})
    assert (again.spec, second) == (small.spec, first)


def test_published_options_are_the_defaults():
    assert DATASETS["listops"]().l_max == 2048
    assert (DATASETS["text"]().l_max, DATASETS["text"]().min_freq) == (4096, 15)
    assert DATASETS["retrieval"]().l_max == 4000
    assert DATASETS["path-x"].style.size == 128


def test_a_cache_format_belongs_to_one_data_set(place, monkeypatch):
    """Raising the number of one data set prepares this one anew; another, even a subclass with its own, stays."""
    names = ("smnist", "image", "text")
    before = {name: DATASETS[name](miniature=True).prepare(place, progress=False) for name in names}
    monkeypatch.setattr(DATASETS["smnist"], "cache_format", DATASETS["smnist"].cache_format + 1)
    assert DATASETS["smnist"](miniature=True).status(place).state == "preparable"
    for name in ("image", "text"):
        assert DATASETS[name](miniature=True).status(place).state == "ready"
    again = DATASETS["smnist"](miniature=True).prepare(place, progress=False)
    assert again.spec.fingerprint == before["smnist"].spec.fingerprint  # the data are the same


@pytest.mark.parametrize(
    ("file", "value"),
    [("test_labels", 10), ("val_labels", -1), ("train_labels", 2**60), ("val_offsets", 1), ("test_offsets", 2**60)],
)
def test_classes_and_offsets_that_only_damaged_data_have_are_refused(tmp_path, file, value):
    dataset = DATASETS["listops"](miniature=True, limit={"train": 20, "val": 5, "test": 5})
    dataset.prepare(Place(None, tmp_path), progress=False)
    [path] = tmp_path.rglob(f"{file}.npy")
    values = np.load(path)
    values[0] = value
    np.save(path, values)
    with pytest.raises(DataError, match="is damaged"):
        dataset.prepare(Place(None, tmp_path), progress=False)
