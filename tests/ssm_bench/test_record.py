"""Records: read back as written, each run counted once, and one that cannot be read is named beside the others."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ssm_bench import run_folder
from ssm_bench.record import SCHEMA, Record, RecordError, find_records, finished_record, read_record
from ssm_testing.runs import record


def write(folder: Path, each: Record) -> Path:
    """Write a record into the run folder that its hash names, and return the folder."""
    folder = folder / "lra" / each.task / f"{each.model}-{each.scale}-seed{each.seed}-{each.hash}"
    folder.mkdir(parents=True)
    each.write(folder)
    return folder


def test_a_record_is_read_back(tmp_path: Path) -> None:
    for n, each in enumerate((record(), record(value=None), record(sweep=["a.b"], recipe={"a": {"b": [1, None]}}))):
        folder = write(tmp_path / str(n), each)
        assert read_record(folder / "record.json") == each
        assert finished_record(folder) == each
        assert find_records([tmp_path / str(n)]) == ([each], [])


def test_a_record_of_the_first_schema_is_read(tmp_path: Path) -> None:
    """Its fields are those without a default."""
    content = {
        f.name: getattr(record(), f.name)
        for f in dataclasses.fields(Record)
        if f.default is f.default_factory is dataclasses.MISSING
    }
    (tmp_path / "record.json").write_text(json.dumps(content))
    read = read_record(tmp_path / "record.json")
    assert (read.schema, read.outcome, read.processes, read.sweep) == (1, "done", 1, [])


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_neither_written_nor_read(number: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        record(value=number).write(tmp_path)
    assert not list(tmp_path.iterdir())
    content = dataclasses.asdict(record()) | {"metrics": {"test/accuracy": number}}
    (tmp_path / "record.json").write_text(json.dumps(content))
    with pytest.raises(RecordError, match=r"record\.json is not a record"):
        read_record(tmp_path / "record.json")


BAD: dict[str, Any] = {
    "empty": b"",
    "cut": b'{"benchmark": "lra"',
    "no object": b"[1, 2]",
    "null": b"null",
    "no UTF-8": b"\xff\xfe{}",
    "empty object": b"{}",
    "a number": b"3",
    "deep": b"[" * 100_000,
}
CHANGES: dict[str, dict[str, Any]] = {
    "a text for a number": {"seed": "0"},
    "a fraction for a count": {"seed": 0.5},
    "another scale": {"scale": "huge"},
    "no test metric": {"metrics": {}},
    "an unknown outcome": {"outcome": "great"},
    "an unknown key": {"colour": "blue"},
    "a list for a dict": {"recipe": []},
    "a flag for a number": {"seed": True},
    "an accuracy beyond 1": {"metrics": {"val/accuracy": 0.5, "test/accuracy": 50.0}},
    "a negative accuracy": {"metrics": {"val/accuracy": -0.5, "test/accuracy": 0.5}},
    "no validation metric": {"metrics": {"test/accuracy": 0.5}},
    "an unknown metric": {"metric": "accuracies"},
    "a sweep over no key of the recipe": {"sweep": ["optimizer.learning_rate"]},
    "a number beyond floating point": {"peak_memory_bytes": 2**60},
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_what_is_no_record_is_named_and_the_remedy(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_bytes(content)
    with pytest.raises(RecordError) as refused:
        read_record(file)
    assert str(refused.value).startswith(f"{file} is not a record")
    assert str(refused.value).endswith("restore it, or move it away to run its cell again.")
    assert file.read_bytes() == content


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_record_with_a_wrong_value_is_named(change: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_text(json.dumps(dataclasses.asdict(record()) | change))
    with pytest.raises(RecordError, match="is not a record"):
        read_record(file)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"seed": ', '"seed": 1, "seed": ', "the key seed stands twice"),
        ('"recipe": {', '"recipe": {"lr": 1e999, ', "1e999 is too large"),
        ('"recipe": {', '"recipe": {"lr": NaN, ', "NaN is no number"),
    ],
)
def test_what_the_parser_lets_pass_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    text = json.dumps(dataclasses.asdict(record()))
    assert text.count(old) >= 1
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(RecordError, match=said):
        read_record(file)


def test_a_newer_record_asks_for_newer_code(tmp_path: Path) -> None:
    """It is not called damaged, and nobody is told to delete it."""
    file = tmp_path / "record.json"
    file.write_text(json.dumps(dataclasses.asdict(record()) | {"schema": SCHEMA + 1, "energy": 3}))
    with pytest.raises(RecordError) as refused:
        read_record(file)
    assert f"schema {SCHEMA + 1}" in str(refused.value)
    assert "update the code" in str(refused.value)
    assert "not a record" not in str(refused.value)


def test_problems_stand_beside_the_records_that_can_be_read(tmp_path: Path) -> None:
    good = [record(seed=seed, hash=f"0000000{seed}") for seed in range(2)]
    for each in good:
        write(tmp_path, each)
    for name, content in BAD.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_bytes(content)
    found, problems = find_records([tmp_path])
    assert found == good
    assert len(problems) == len(BAD)
    for name in BAD:
        assert any(str(tmp_path / name / "record.json") in problem for problem in problems)


def test_a_run_counts_once(tmp_path: Path) -> None:
    """Copied, moved, its folder named twice, or with a backup inside the folder of runs."""
    one = record()
    folder = write(tmp_path / "r", one)
    shutil.copytree(tmp_path / "r", tmp_path / "copy")
    shutil.copytree(tmp_path / "r" / "lra", tmp_path / "r" / "old")
    (tmp_path / "link").symlink_to(tmp_path / "r")
    shutil.copytree(folder, folder.with_name("renamed"))
    for roots in (["r"], ["r", "r"], ["r", "copy"], ["r", "link"], ["r", "r/lra"], ["."], ["copy", "r", "."]):
        assert find_records([tmp_path / root for root in roots]) == ([one], []), roots


def test_two_results_of_one_hash_are_told_and_the_earlier_counts(tmp_path: Path) -> None:
    first = record(value=0.5, finished="2026-01-01T00:00:00+00:00")
    second = record(value=0.9, finished="2026-01-02T00:00:00+00:00")
    write(tmp_path / "b", first)
    write(tmp_path / "a", second)
    for roots in (["a", "b"], ["b", "a"]):
        found, [problem] = find_records([tmp_path / root for root in roots])
        assert found == [first]
        for word in ("00000000", str(tmp_path / "a"), str(tmp_path / "b"), "the earlier one counts"):
            assert word in problem


def test_runs_of_other_hashes_all_count(tmp_path: Path) -> None:
    several = [record(hash=f"{n:08}", seed=n) for n in range(3)]
    for each in several:
        write(tmp_path, each)
    assert find_records([tmp_path]) == (several, [])


def test_a_record_of_another_hash_in_a_run_folder_is_not_this_runs(tmp_path: Path) -> None:
    mine, other = record(hash="aaaaaaaa"), record(hash="bbbbbbbb")
    folder = write(tmp_path, mine)
    other.write(folder)
    assert not run_folder.is_done(folder)
    assert finished_record(folder) is None


def test_a_folder_without_records_has_none(tmp_path: Path) -> None:
    assert find_records([tmp_path, tmp_path / "missing"]) == ([], [])
    (tmp_path / "record.json").mkdir()
    assert find_records([tmp_path]) == ([], [])


def test_a_setting_of_the_recipe() -> None:
    assert record(recipe={"optimizer": {"lr": 0.5}}).setting("optimizer.lr") == 0.5
