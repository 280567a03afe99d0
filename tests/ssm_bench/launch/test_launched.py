"""A launched plan is the plan: its cells are composed again as they were, or the change is a sentence."""

import json
import os
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


def _cut(text: str) -> str:
    return text[: len(text) // 2]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        _cut,
        lambda text: "null",
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace('"cells"', '"cell"'),
        lambda text: text.replace('"overrides"', '"override"'),
        lambda text: text.replace('"pid": ', '"pid": "').replace(f'"{os.getpid()}', f'"{os.getpid()}"'),
        lambda text: json.dumps(json.loads(text) | {"cells": []}),
        lambda text: text.replace("s4d", "\0\ud800", 1).encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
def test_a_damaged_plan_is_named_and_set_aside_and_the_others_are_listed(
    damage: Callable[[str], str], plan: Plan, launch: Launch, work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cells = plan(tasks=["image"], seeds=[0])
    first, second, third = (launch(cells) for _ in range(3))
    second.file.write_text(damage(second.file.read_text()))
    with pytest.raises(DamagedLaunchError, match=r"plan\.json is damaged"):
        _ = Launched(second.folder).content
    assert Launched.all(work / "runs") == [first, third]
    [warning] = caplog.records
    assert f"{second.file} is damaged" in warning.message
    assert "kept as plan.json.damaged" in warning.message
    assert second.file.with_name("plan.json.damaged").is_file()
    assert not second.file.exists()
    caplog.clear()
    assert Launched.all(work / "runs") == [first, third]
    assert not caplog.records


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
