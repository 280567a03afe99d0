"""The literature's numbers are complete, and their averages follow from their tasks."""

import csv
from pathlib import Path

import pytest
from ssm_bench.catalog import Benchmark, benchmark, benchmarks
from ssm_bench.errors import UserError
from ssm_bench.results import published
from ssm_bench.results.published import published_root, published_rows

LRA = benchmark("lra")


def test_printed_averages_follow_from_their_tasks() -> None:
    """Every average that a paper prints is recomputed under the convention that the file names."""
    with (published_root() / "lra.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    checked = 0
    for printed in (row for row in rows if row["task"] == "avg"):
        tasks = {r["task"]: r["value"] for r in rows if r["model"] == printed["model"] and r["task"] in LRA.tasks}
        assert len(tasks) == 6
        if printed["averaging"] == "failed task left out":
            numbers = [float(value) for value in tasks.values() if value != "chance"]
        else:
            numbers = [50.0 if value == "chance" else float(value) for value in tasks.values()]
        assert sum(numbers) / len(numbers) == pytest.approx(float(printed["value"]), abs=0.051), printed["model"]
        checked += 1
    assert checked >= 10


def test_published_rows_count_a_failure_at_chance() -> None:
    rows = {row.model: row for row in published_rows(LRA)}
    assert rows["S4D-Lin"].values["path-x"] == 50.0
    assert rows["S4D-Lin"].chance == {"path-x"}
    assert not rows["S4D-LegS"].chance


@pytest.mark.parametrize("name", benchmarks())
def test_every_row_that_a_benchmark_names_is_there(name: str) -> None:
    one = benchmark(name)
    assert [row.model for row in published_rows(one)] == one.meta.get("published", [])


def test_a_row_that_nobody_published_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "published_root", lambda: tmp_path)
    assert published_rows(LRA) == [], "a benchmark without a file has no published numbers"
    (tmp_path / "lra.csv").write_text(",".join(published.COLUMNS) + "\n")
    with pytest.raises(UserError, match="Transformer"):
        published_rows(Benchmark(LRA.folder))


ROW = ["lra", "text", "Transformer", "accuracy", "64.27", "", "", "LRA"]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (ROW[:-1], "it has 7 columns"),
        ([*ROW, "more"], "it has 9 columns"),
        (["scifar", *ROW[1:]], "it is not of lra and accuracy"),
        (["lra", "txt", *ROW[2:]], "'txt' is no task"),
        (["lra", "text", "", *ROW[3:]], "it names no model"),
        ([*ROW[:4], "", *ROW[5:]], "'' is no value"),
        ([*ROW[:4], "nan", *ROW[5:]], "'nan' is no value"),
        ([*ROW[:4], "1e999", *ROW[5:]], "'1e999' is no value"),
        ([*ROW[:4], "6427", *ROW[5:]], "'6427' is no value"),
        ([*ROW[:4], "-1", *ROW[5:]], "'-1' is no value"),
        ([*ROW[:5], "low", *ROW[6:]], "'low' is no std"),
        (ROW, "Transformer has two rows of text"),
    ],
)
def test_a_damaged_row_is_named(cells: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "published_root", lambda: tmp_path)
    (tmp_path / "lra.csv").write_text("\n".join(map(",".join, [published.COLUMNS, ROW, cells])))
    with pytest.raises(UserError, match=rf"Line 3 of .*lra\.csv is no published number: {said}"):
        published_rows(LRA)


def test_a_file_in_another_encoding_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "published_root", lambda: tmp_path)
    (tmp_path / "lra.csv").write_bytes(b"benchmark,\xff\n")
    with pytest.raises(UserError, match="is no CSV file in UTF-8"):
        published_rows(LRA)
