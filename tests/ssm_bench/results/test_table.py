"""Tables: averages, seeds, scales, runs that diverged, and which runs are seeds of one recipe."""

import dataclasses
from typing import Any

import pytest
from ssm_bench.catalog import benchmark
from ssm_bench.record import Record
from ssm_bench.results.table import Row, make_points, make_results, row_texts
from ssm_testing.runs import record

LRA = benchmark("lra")


def rows(records: list[Record], scale: str = "mini") -> list[Row]:
    return make_results(LRA, scale, records).ours


def texts(records: list[Record]) -> dict[str, str]:
    """Return the text of ListOps in each row, by the name of the row."""
    results = make_results(LRA, "mini", records)
    return {row.model: row_texts(results, row)[2] for row in results.ours}


def test_mean_and_deviation_are_over_seeds() -> None:
    [row] = rows([record("listops", v, seed=seed) for seed, v in enumerate((0.50, 0.52, 0.57))])
    value = row.values["listops"]
    assert value.mean == pytest.approx(53.0)
    assert value.std == pytest.approx(3.605551275)
    assert (value.n, row.seeds, row.average) == (3, "3", None)
    assert str(value) == "53.00 ± 3.61"


def test_average_needs_every_task() -> None:
    values = dict(zip(LRA.tasks, (0.6, 0.8, 0.9, 0.88, 0.94, 0.5), strict=True))
    [row] = rows([record(task, value) for task, value in values.items()])
    assert row.average is not None
    assert row.average.mean == pytest.approx(100 * sum(values.values()) / 6)


def test_scales_and_changed_recipes_do_not_mix() -> None:
    records = [
        record("listops", 0.5, scale="smoke"),
        record("listops", 0.6),
        record("listops", 0.7, overrides=["optimizer.lr=1.0"]),
    ]
    assert [row.values["listops"].mean for row in rows(records, "smoke")] == [50.0]
    assert {row.model: row.values["listops"].mean for row in rows(records)} == {
        "s4d": 60.0,
        "s4d optimizer.lr=1.0": 70.0,
    }
    assert not rows(records, "paper")


def recipes(*each: dict[str, Any]) -> list[Record]:
    """Return records of one model and no words, with the recipes given, a later one newer."""
    return [
        record("listops", 0.1 * (n + 1), recipe={"seed": 0, **recipe}, hash=f"{n:08}", finished=f"2026-01-0{n + 1}")
        for n, recipe in enumerate(each)
    ]


def test_runs_of_several_recipes_are_rows_that_say_what_differs() -> None:
    """The newest one has the plain name."""
    old = {"optimizer": {"lr": 0.5, "name": "adam"}}
    new = {"optimizer": {"lr": 0.1, "name": "adam"}}
    assert texts(recipes(old, new)) == {"s4d": "20.00", "s4d [optimizer.lr=0.5]": "10.00"}
    gone = {"optimizer": {"lr": 0.1, "name": "adam", "eps": 1}}
    assert texts(recipes(old, gone, new)) == {
        "s4d": "30.00",
        "s4d [optimizer.eps=1]": "20.00",
        "s4d [optimizer.lr=0.5]": "10.00",
    }


def test_runs_on_other_data_are_rows_of_their_own() -> None:
    one, two = recipes({}, {})
    two = dataclasses.replace(two, data_fingerprint="0123456789abcdef", seed=1)
    one = dataclasses.replace(one, data_fingerprint="fedcba9876543210")
    assert texts([one, two]) == {"s4d": "20.00", "s4d [data fedcba98]": "10.00"}


def test_the_code_of_a_layer_is_part_of_its_recipe() -> None:
    one, two = recipes({"source_digest": "aa"}, {"source_digest": "bb"})
    assert texts([one, two]) == {"s4d": "20.00", 's4d [source_digest="aa"]': "10.00"}


def test_the_same_seed_counts_once_and_the_earliest_run_counts() -> None:
    one, two = recipes({}, {})
    assert texts([two, one]) == {"s4d": "10.00"}


def test_a_task_whose_recipe_changed_does_not_take_its_model_apart() -> None:
    """Other tasks of the model stay in the plain row."""
    old, new = recipes({"optimizer": {"lr": 0.5}}, {"optimizer": {"lr": 0.1}})
    text = record("text", 0.8, recipe={"optimizer": {"lr": 0.7}})
    plain, other = rows([old, new, text])
    assert (plain.model, set(plain.values)) == ("s4d", {"listops", "text"})
    assert (other.model, set(other.values)) == ("s4d [optimizer.lr=0.5]", {"listops"})


def test_a_run_that_diverged_is_named_and_has_no_number() -> None:
    assert texts([record(value=None)]) == {"s4d": "diverged"}
    assert texts([record(value=None), record(value=None, seed=1)]) == {"s4d": "2 diverged"}


def test_one_of_three_seeds_diverged() -> None:
    records = [record(value=0.5), record(value=0.6, seed=1), record(value=None, seed=2)]
    [row] = rows(records)
    value = row.values["listops"]
    assert (value.mean, value.n, value.diverged, row.seeds) == (pytest.approx(55.0), 2, 1, "3")
    assert texts(records) == {"s4d": "55.00 ± 7.07 (1 of 3 diverged)"}


def test_a_model_that_diverged_on_a_task_has_no_average() -> None:
    values = dict(zip(LRA.tasks, (0.6, 0.8, 0.9, 0.88, 0.94, None), strict=True))
    [row] = rows([record(task, value) for task, value in values.items()])
    assert row.average is None


def test_a_point_of_a_sweep_that_diverged_is_not_chosen() -> None:
    points = [
        record(
            value=value,
            recipe={"optimizer": {"lr": lr}},
            overrides=[f"optimizer.lr={lr}"],
            sweep=["optimizer.lr"],
            hash=f"{lr}",
        )
        for lr, value in ((0.1, 0.4), (0.2, 0.5), (9.0, None))
    ]
    results = make_results(LRA, "mini", points)
    assert results.notes == ["s4d on ListOps: optimizer.lr=0.2, the best of 2 in validation"]
    assert [row.model for row in make_points(LRA, "mini", points).ours] == [
        "s4d optimizer.lr=0.1",
        "s4d optimizer.lr=0.2",
    ]


def test_a_task_that_is_no_longer_declared_is_left_out() -> None:
    assert not rows([record("listops-2019")])
