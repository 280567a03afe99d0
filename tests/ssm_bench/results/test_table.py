"""Tables: averages, seeds, scales."""

import csv
import json
from pathlib import Path

import pytest
from ssm_bench.catalog import benchmark
from ssm_bench.errors import UserError
from ssm_bench.published import published_root, published_rows
from ssm_bench.record import Record, find_records
from ssm_bench.table import as_csv, as_json, as_markdown, make_results

LRA = benchmark("lra")


def _record(task: str, value: float, seed: int = 0, scale: str = "mini", overrides: tuple[str, ...] = ()) -> Record:
    return Record(
        benchmark="lra",
        task=task,
        model="s4d",
        scale=scale,
        seed=seed,
        metric="accuracy",
        metrics={"test/accuracy": value},
        chance=0.1,
        parameters=1,
        steps=1,
        epochs=1,
        wall_seconds=1.0,
        samples_per_second=1.0,
        peak_memory_bytes=1,
        device="cpu",
        hash="0",
        recipe={},
        overrides=list(overrides),
        data_fingerprint="",
        data_sizes={},
        code="",
        packages={},
        command="",
        finished="",
    )


def test_mean_and_deviation_are_over_seeds() -> None:
    results = make_results(LRA, "mini", [_record("listops", v, seed) for seed, v in enumerate((0.50, 0.52, 0.57))])
    [row] = results.ours
    value = row.values["listops"]
    assert value.mean == pytest.approx(53.0)
    assert value.std == pytest.approx(3.605551275)
    assert (value.n, row.seeds, row.average) == (3, "3", None)
    assert str(value) == "53.00 ± 3.61"


def test_average_needs_every_task() -> None:
    values = dict(zip(LRA.tasks, (0.6, 0.8, 0.9, 0.88, 0.94, 0.5), strict=True))
    [row] = make_results(LRA, "mini", [_record(task, value) for task, value in values.items()]).ours
    assert row.average is not None
    assert row.average.mean == pytest.approx(100 * sum(values.values()) / 6)


def test_scales_and_changed_recipes_do_not_mix() -> None:
    records = [
        _record("listops", 0.5, scale="smoke"),
        _record("listops", 0.6),
        _record("listops", 0.7, overrides=("optimizer.lr=1.0",)),
    ]
    assert [row.values["listops"].mean for row in make_results(LRA, "smoke", records).ours] == [50.0]
    rows = make_results(LRA, "mini", records).ours
    assert {row.model: row.values["listops"].mean for row in rows} == {"s4d": 60.0, "s4d optimizer.lr=1.0": 70.0}
    assert not make_results(LRA, "paper", records).ours


def test_every_form_holds_own_and_published_rows() -> None:
    results = make_results(LRA, "mini", [_record("listops", 0.5)])
    for text in (as_markdown(results), as_csv(results), as_json(results)):
        assert "50.0" in text
        assert "60.47" in text
    assert {row["scale"] for row in csv.DictReader(as_csv(results).splitlines())} == {"mini", "paper"}
    assert json.loads(as_json(results))["published"][0]["source"]


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


def test_records_are_read_back_and_damage_is_named(tmp_path: Path) -> None:
    record = _record("listops", 0.5)
    record.write(tmp_path)
    assert list(find_records(tmp_path)) == [record]
    (tmp_path / "record.json").write_text('{"benchmark": "lra"')
    with pytest.raises(UserError, match=r"record\.json is not a record"):
        list(find_records(tmp_path))
