"""A launched plan is the plan: its cells are composed again as they were, or the change is a sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ssm_bench.errors import RunError
from ssm_bench.launch.launched import DamagedLaunchError, Launched
from ssm_bench.plan import Cell

Plan = Callable[..., list[Cell]]
Launch = Callable[..., Launched]


def test_cells_are_composed_again_as_they_were(plan: Plan, launch: Launch, work: Path) -> None:
    (work / "mine.py").write_text("class Layer: ...\n")
    words = ["model.dropout=0.25", "data.limit={train:96,val:32,test:32}", "checkpoint_minutes=0", "loader_workers=2"]
    cells = plan(*words, models=["s4d", "mine.py:Layer"])
    launched = Launched(launch(cells).folder)
    assert len(launched) == len(cells) == 8
    assert [launched.cell(index) for index in range(8)] == cells
    assert launched.cell(0).runtime.loader_workers == 2
    assert launched.content["command"] == ["lra", "--model", "s4d"]


def test_points_of_a_sweep_are_composed_again(plan: Plan, launch: Launch) -> None:
    cells = plan("optimizer.lr=0.1,0.2", tasks=["image"], seeds=[0], sweep=True)
    launched = launch(cells)
    assert [launched.cell(index) for index in range(2)] == cells
    assert launched.cell(1).sweep == ("optimizer.lr",)


@pytest.mark.parametrize("edited", ["mine.py", "neighbour.py"])
def test_an_edited_layer_is_refused(edited: str, plan: Plan, launch: Launch, work: Path) -> None:
    (work / "mine.py").write_text("import neighbour\nclass Layer: ...\n")
    (work / "neighbour.py").write_text("")
    launched = launch(plan(models=["s4d", "mine.py:Layer"], tasks=["image"], seeds=[0]))
    assert launched.cell(1).recipe.model_name == "mine.py:Layer"
    with (work / edited).open("a") as file:
        file.write("x = 1\n")
    assert launched.cell(0).recipe.model_name == "s4d"
    with pytest.raises(RunError, match=r"mine\.py:Layer was edited after it was launched"):
        launched.cell(1)
    (work / "mine.py").unlink()
    with pytest.raises(RunError, match=r"no file .*mine\.py"):
        launched.cell(1)


def test_another_cell_than_was_launched_is_refused(plan: Plan, launch: Launch) -> None:
    launched = launch(plan())
    content = json.loads(launched.file.read_text())
    content["cells"][1]["overrides"].append("optimizer.lr=0.5")
    launched.file.write_text(json.dumps(content))
    assert Launched(launched.folder).cell(0) == plan()[0]
    with pytest.raises(RunError, match="has changed since it was launched"):
        Launched(launched.folder).cell(1)


def test_names_tell_cells_apart_by_what_they_do_not_share(plan: Plan, launch: Launch) -> None:
    cells = plan("model.d_model=8", "optimizer.lr=0.1") + plan("model.d_model=8", "optimizer.lr=0.2")
    launched = launch(cells)
    assert launched.name(0) == "lra/listops s4d seed 0 optimizer.lr=0.1"
    assert len({launched.name(index) for index in range(len(launched))}) == len(cells)


@pytest.mark.parametrize("damage", [lambda text: b"", lambda text: text[: len(text) // 2], lambda text: text + b"\xff"])
def test_a_cut_plan_is_named_and_set_aside_and_the_others_are_listed(
    damage: Callable[[bytes], bytes], plan: Plan, launch: Launch, work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cells = plan(tasks=["image"], seeds=[0])
    first, second = launch(cells), launch(cells)
    first.file.write_bytes(damage(first.file.read_bytes()))
    with pytest.raises(DamagedLaunchError, match=r"plan\.json is damaged"):
        _ = Launched(first.folder).content
    assert Launched.all(work / "runs") == [second]
    [warning] = caplog.records
    assert f"{first.file} is damaged" in warning.message
    assert "kept as plan.json.damaged" in warning.message
    assert first.file.with_name("plan.json.damaged").is_file()
    assert not first.file.exists()
    caplog.clear()
    assert Launched.all(work / "runs") == [second]
    assert not caplog.records


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: [], "it holds no keys"),
        (lambda content: {}, "'created' is missing or wrong"),
        (lambda content: content | {"pid": "7"}, "'pid' is missing or wrong"),
        (lambda content: content | {"cells": [{"name": "a", "folder": "b"}]}, "'overrides' of a cell is missing"),
        (lambda content: content | {"cells": ["a"]}, "'name' of a cell is missing"),
        (lambda content: content | {"cells": []}, "it has no cells"),
    ],
)
def test_a_plan_of_another_form_is_named_and_left_for_the_jobs_that_may_need_it(
    change: Callable[[Any], Any], said: str, plan: Plan, launch: Launch, work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    launched = launch(plan(tasks=["image"], seeds=[0]))
    launched.file.write_text(json.dumps(change(json.loads(launched.file.read_text()))))
    assert Launched.all(work / "runs") == []
    assert f"is not a plan that this version reads: {said}" in caplog.text
    assert launched.file.is_file()


def test_a_plan_of_an_older_version_is_listed_and_its_cells_are_to_be_launched_again(
    plan: Plan, launch: Launch, work: Path
) -> None:
    launched = launch(plan())
    content = json.loads(launched.file.read_text())
    del content["start"]
    for cell in content["cells"]:
        del cell["source_digest"]
    launched.file.write_text(json.dumps(content))
    [found] = Launched.all(work / "runs")
    assert found.name(0) == "lra/listops s4d seed 0"
    assert not found.launcher_runs()
    with pytest.raises(RunError, match="'source_digest'; launch it again"):
        found.cell(0)


@pytest.mark.parametrize("content", ["", '{"cells": {"0": "12', "null", "[]", '{"cells": []}', '{"cells": {"x": "1"}}'])
def test_a_damaged_list_of_jobs_is_named_and_set_aside(
    content: str, plan: Plan, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    launched = launch(plan())
    launched.note_jobs({0: "12_0", 1: "12_1"}, data="11")
    assert launched.jobs == {0: "12_0", 1: "12_1"}
    (launched.folder / "jobs.json").write_text(content)
    assert Launched(launched.folder).jobs == {}
    assert "jobs.json is damaged" in caplog.text
    assert (launched.folder / "jobs.json.damaged").read_text() == content


def test_a_damaged_plan_of_another_user_is_left_where_it_is(
    plan: Plan, launch: Launch, work: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = launch(plan())
    launched.file.write_text("")

    def refuse(*args: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    assert Launched.all(work / "runs") == []
    assert "could not be renamed (Permission denied)" in caplog.text
