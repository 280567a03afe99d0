"""``bench table``: what can be read is shown, and what cannot be read is named beside it."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest
from ssm_bench.cli import main
from ssm_bench.record import SCHEMA, Record
from ssm_testing.runs import record


def write(each: Record, folder: str = "runs") -> Path:
    """Write a record into its run folder and return the file."""
    place = Path(folder, "lra", each.task, f"s4d-{each.scale}-seed{each.seed}-{each.hash}")
    place.mkdir(parents=True)
    each.write(place)
    return place / "record.json"


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "json"])
@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (b"", "restore it, or move it away"),
        (b'{"benchmark": "lra", "ta', "restore it, or move it away"),
        (b"\xff\xfe\x00", "restore it, or move it away"),
        (json.dumps(dataclasses.asdict(record()) | {"schema": SCHEMA + 1}).encode(), "update the code"),
        (json.dumps(dataclasses.asdict(record()) | {"metrics": {"test/accuracy": float("nan")}}).encode(), "restore"),
        (json.dumps(dataclasses.asdict(record()) | {"chance": float("inf")}).encode(), "restore"),
    ],
    ids=["empty", "cut", "bytes", "newer", "NaN", "infinity"],
)
def test_a_bad_record_stands_beside_good_ones(
    form: str, damage: bytes, named: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(record(value=0.5))
    write(record(value=0.7, seed=1, hash="00000001"))
    bad = write(record(value=0.9, seed=2, hash="00000002"))
    bad.write_bytes(damage)
    assert main(["table", "lra", "--format", form]) == 1
    said = capsys.readouterr()
    [line] = said.err.splitlines()
    assert str(bad) in line
    assert named in line
    assert "delete" not in line
    assert "60.0" in said.out
    assert bad.read_bytes() == damage


def test_a_record_that_may_not_be_read_stands_beside_good_ones(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(record(value=0.5))
    closed = write(record(value=0.9, seed=2, hash="00000002"))
    read = Path.read_bytes

    def refuse(file: Path) -> bytes:
        if file == closed.resolve() or file == closed:
            raise PermissionError(13, "Permission denied", str(file))
        return read(file)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert main(["table", "lra"]) == 1
    said = capsys.readouterr()
    assert "Permission denied" in said.err
    assert str(closed) in said.err
    assert "50.00" in said.out


def test_only_bad_records_are_no_table(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = write(record())
    bad.write_bytes(b"")
    assert main(["table", "lra"]) == 2
    said = capsys.readouterr()
    assert str(bad) in said.err
    assert not said.out


def test_a_run_that_diverged_is_named(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(record(value=0.5))
    write(record(value=None, seed=1, hash="00000001"))
    write(record("text", None, seed=1, hash="00000002"))
    assert main(["table", "lra", "--format", "markdown"]) == 0
    assert "| s4d | 1-2 | 50.00 (1 of 2 diverged) | diverged | - |" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "json"])
def test_hostile_names_pass_through_every_form(form: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["=1+1", "[bold]x[/y]", "a|b", "<b>c</b>", "\x1b[2Jd", "e\nf", "@g", "-h", "*i*"]
    for number, name in enumerate(names):
        write(record(value=0.5, model=name, hash=f"{number:08}"))
    assert main(["table", "lra", "--format", form]) == 0
    said = capsys.readouterr().out
    if form == "json":
        assert {row["model"] for row in json.loads(said)["own"]} == set(names)
        return
    if form == "csv":
        own = [row["model"] for row in csv.DictReader(io.StringIO(said)) if row["kind"] == "own"]
        assert {name.removeprefix("'") for name in own} == set(names)
        assert not [name for name in own if name[0] in "=+-@"]
        return
    assert "\x1b" not in said
    assert "<b>" not in said if form == "markdown" else "[bold]x[/y]" in said
    assert said.count("50.00") == len(names) + (said.count("50.00*") or said.count("50.00\\*"))


def test_published_numbers_without_ours_need_a_record(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "lra"]) == 2
    assert "run bench lra first" in capsys.readouterr().err


def test_every_scale_that_has_records_has_a_table(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(record(value=0.5))
    write(record(value=0.6, scale="smoke", hash="00000001"))
    write(record(value=0.7, benchmark="scifar", hash="00000002", task="smnist"))
    assert main(["table", "lra", "--format", "markdown"]) == 0
    said = capsys.readouterr().out
    assert said.index("Mini scale") < said.index("Smoke scale")
    assert "Paper scale" not in said
    assert "70.00" not in said
    assert main(["table", "lra", "--scale", "smoke", "--format", "markdown"]) == 0
    assert "Mini scale" not in capsys.readouterr().out
