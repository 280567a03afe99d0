"""Sweeps: which points there are, and that validation alone chooses among them."""

import dataclasses
import time
from pathlib import Path

import pytest
from ssm_bench.catalog import benchmark
from ssm_bench.cli import main
from ssm_bench.errors import UserError
from ssm_bench.plan import make_plan
from ssm_bench.recipe import as_dict
from ssm_bench.record import Record
from ssm_bench.results.formats import as_json, as_markdown
from ssm_bench.results.sweeps import find_sweeps
from ssm_bench.results.table import make_points, make_results
from ssm_models.options import to_options
from ssm_testing.runs import record as small_record

LRA = benchmark("lra")


def plan(*words: str, seeds: tuple[int, ...] = (), tasks: tuple[str, ...] = ("listops",), sweep: bool = True) -> list:
    return make_plan(LRA, ["s4d"], tasks, "smoke", seeds, words, sweep=sweep)


def test_every_combination_is_a_cell() -> None:
    cells = plan("optimizer.lr=1e-3,4e-3", "model.d_state=range(16,65,16)", "trainer.epochs=3", seeds=(0, 1))
    assert len(cells) == 2 * 4 * 2
    found = {(cell.recipe.optimizer.lr, to_options(cell.recipe.model)["d_state"], cell.recipe.seed) for cell in cells}
    assert found == {(lr, n, seed) for lr in (1e-3, 4e-3) for n in (16, 32, 48, 64) for seed in (0, 1)}
    assert {cell.sweep for cell in cells} == {("model.d_state", "optimizer.lr")}
    assert all("trainer.epochs=3" in cell.overrides and len(cell.overrides) == 3 for cell in cells)


def test_a_point_is_the_cell_that_a_single_run_would_be() -> None:
    [point] = (cell for cell in plan("optimizer.lr=1e-3,4e-3") if cell.recipe.optimizer.lr == 4e-3)
    [single] = plan("optimizer.lr=0.004", sweep=False)
    assert point.folder(Path()) == single.folder(Path())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("optimizer.lr=1e-3",), "several values"),
        (("optimizer.lr=interval(0,1)",), "names no points"),
        (("optimizer.lr=1e-3,0.001",), "same recipe"),
        (("loader_workers=0,1",), "does not change the result"),
        (("seed=0,1",), "--seed takes several"),
        (("optimizer.lr=1e-3,fast",), "optimizer.lr='fast'"),
        (("optimizer.l=1,2",), "optimizer.lr"),
    ],
)
def test_what_is_no_sweep_is_refused(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan(*words)


def test_a_thousand_cells_are_planned_in_seconds() -> None:
    """A bound that a recomposed or revalidated recipe for each cell would miss by far."""
    began = time.process_time()
    values = ",".join(str(number / 1000) for number in range(1, 168))
    assert len({cell.hash for cell in plan(f"optimizer.lr={values}", tasks=tuple(LRA.tasks))}) == 1002
    assert time.process_time() - began < 30


def record(lr: float, val: float, test: float, seed: int = 0, sweep: bool = True, epochs: int = 5) -> Record:
    words = (f"optimizer.lr={lr}", f"trainer.epochs={epochs}")
    [cell] = make_plan(LRA, ["s4d"], ["listops"], "mini", [seed], words)
    return small_record(
        seed=seed,
        metrics={"val/accuracy": val, "test/accuracy": test},
        hash=cell.hash,
        recipe=as_dict(cell.recipe),
        overrides=sorted(words) if sweep else [],
        sweep=["optimizer.lr"] if sweep else [],
    )


def test_validation_chooses_and_the_test_does_not() -> None:
    points = [(0.1, 0.50, 0.90), (0.2, 0.70, 0.40), (0.3, 0.60, 0.95)]
    records = [record(lr, val + seed / 100, test, seed) for lr, val, test in points for seed in (0, 1)]
    results = make_results(LRA, "mini", records)
    [row] = results.ours
    assert (row.values["listops"].mean, row.values["listops"].n) == (pytest.approx(40.0), 2)
    assert row.model == "s4d trainer.epochs=5, best of 3 (optimizer.lr)"
    assert results.notes == ["s4d on ListOps: optimizer.lr=0.2, the best of 3 in validation"]
    assert results.notes[0] in as_markdown(results)
    assert results.notes[0] in as_json(results)
    rows = {row.model: str(row.values["listops"]) for row in make_points(LRA, "mini", records).ours}
    assert rows == {
        "s4d optimizer.lr=0.1": "50.50 ± 0.71",
        "s4d optimizer.lr=0.2": "70.50 ± 0.71 (best)",
        "s4d optimizer.lr=0.3": "60.50 ± 0.71",
    }


def test_a_point_with_fewer_seeds_is_not_chosen() -> None:
    records = [record(0.1, 0.5, 0.5, 0), record(0.1, 0.5, 0.5, 1), record(0.2, 0.9, 0.9, 0)]
    [sweep] = find_sweeps(records)
    assert sweep.best("listops") == "optimizer.lr=0.1"


def test_a_run_that_was_done_before_is_a_point_and_another_recipe_is_none() -> None:
    before, other = record(0.3, 0.9, 0.8, sweep=False), record(0.4, 0.95, 0.9, sweep=False, epochs=6)
    records = [record(0.1, 0.5, 0.5), record(0.2, 0.6, 0.5), before, other]
    [sweep] = find_sweeps(records)
    assert sorted(sweep.points["listops"]) == ["optimizer.lr=0.1", "optimizer.lr=0.2", "optimizer.lr=0.3"]
    assert sweep.best("listops") == "optimizer.lr=0.3"


def test_two_recipes_of_the_same_words_are_two_sweeps() -> None:
    """The recipe was edited between two sweeps of the same words: their runs are no seeds of one point."""

    def edited(one: Record) -> Record:
        return dataclasses.replace(
            one, recipe=one.recipe | {"source_digest": "new"}, hash=f"x{one.hash[1:]}", finished="2100-01-01T00:00:00"
        )

    old = [record(0.1, 0.5, 0.1), record(0.2, 0.6, 0.2)]
    new = [edited(record(0.1, 0.8, 0.8)), edited(record(0.2, 0.7, 0.7))]
    for records in (old + new, new + old):
        rows = {row.model: row.values["listops"] for row in make_results(LRA, "mini", records).ours}
        assert {name: (value.mean, value.n) for name, value in rows.items()} == {
            "s4d trainer.epochs=5, best of 2 (optimizer.lr)": (80.0, 1),
            "s4d' trainer.epochs=5, best of 2 (optimizer.lr)": (20.0, 1),
        }


def test_a_swept_key_that_changes_the_data_makes_one_sweep() -> None:
    first, second = record(0.1, 0.5, 0.1), record(0.2, 0.6, 0.2)
    [sweep] = find_sweeps([first, dataclasses.replace(second, data_fingerprint="other")])
    assert len(sweep.points["listops"]) == 2


def test_a_seed_counts_once_and_the_earliest_run_of_it() -> None:
    again = dataclasses.replace(record(0.1, 0.9, 0.9), hash="0ther", finished="2100-01-01T00:00:00")
    [sweep] = find_sweeps([again, record(0.1, 0.5, 0.5), record(0.2, 0.6, 0.6)])
    assert [one.metrics["val/accuracy"] for one in sweep.points["listops"]["optimizer.lr=0.1"]] == [0.5]
    assert sweep.best("listops") == "optimizer.lr=0.2"


def test_a_run_from_before_an_option_was_added_is_no_point() -> None:
    before = record(0.3, 0.9, 0.8, sweep=False)
    del before.recipe["optimizer"]["lr"]
    [sweep] = find_sweeps([record(0.1, 0.5, 0.5), record(0.2, 0.6, 0.5), before])
    assert len(sweep.points["listops"]) == 2


def test_a_sweep_from_command_to_table(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["model.d_model=8", "model.d_state=4", "trainer.epochs=1", "must_beat_chance=false"]
    limit = "data.limit={train:64,val:32,test:32}"
    command = ["lra", "--model", "s4d", "--task", "listops", "--scale", "smoke", "--sweep", *tiny, limit]
    assert main([*command, "optimizer.lr=1e-3,1e-2", "model.n_layers=1,2"]) == 0
    assert "best of 4" in capsys.readouterr().out
    assert len(list(work.rglob("record.json"))) == 4
    assert main(["table", "lra", "--sweep", "--format", "csv"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("own")]
    assert len(rows) == 4
    assert main(["table", "lra", "--sweep", "--scale", "mini"]) == 2
