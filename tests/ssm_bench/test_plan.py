"""Plans: every cell once, nothing that makes no sense, and nothing so large that it cannot be meant."""

import time
from pathlib import Path

import pytest
from ssm_bench.catalog import benchmark
from ssm_bench.errors import UserError
from ssm_bench.plan import Cell, make_plan

LRA = benchmark("lra")
SCIFAR = benchmark("scifar")


def plan(*words: str, task: str = "image", model: str = "s4d", sweep: bool = False) -> list[Cell]:
    return make_plan(LRA, [model], [task], "smoke", [], words, sweep=sweep)


def test_one_plan_has_every_cell_once() -> None:
    cells = make_plan(LRA, ["s4d", "s4d-lin"], [], "smoke", [0, 1, 2], [])
    assert len(cells) == 2 * 6 * 3
    assert len({cell.hash for cell in cells}) == len(cells)
    with pytest.raises(UserError, match="twice"):
        make_plan(LRA, ["s4d"], ["listops", "listops"], "smoke", [], [])


@pytest.mark.parametrize(
    "word",
    [
        *("trainer.epochs=-1", "trainer.epochs=0", "trainer.epochs=1e20", "trainer.epochs=1.5", "trainer.epochs=nan"),
        *("trainer.batch_size=0", "trainer.batch_size=-4", "trainer.gradient_clip=-1", "trainer.gradient_clip=nan"),
        *("trainer.gradient_clip=inf", "trainer.precision=8", "trainer.precision=64", "trainer.bucket=maybe"),
        *("optimizer.lr=-1", "optimizer.lr=0", "optimizer.lr=nan", "optimizer.lr=inf", "optimizer.lr=null"),
        *("optimizer.lr=true", "optimizer.lr=[1]", "optimizer.lr={a:1}", "optimizer.weight_decay=-1"),
        *("optimizer.betas=[2,2]", "optimizer.betas=[0.9]", "optimizer.betas=0.9", "optimizer.name=lamb"),
        *("scheduler.warmup_steps=-5", "scheduler.warmup_steps=-1", "scheduler.total_steps=0"),
        *("scheduler.total_steps=-1", "scheduler.factor=nan", "scheduler.factor=2", "scheduler.patience=-1"),
        *("model.n_layers=0", "model.n_layers=-1", "model.d_model=0", "model.d_state=0", "model.d_state=3"),
        *("model.dropout=1.5", "model.dropout=-0.1", "model.dropout=nan", "model.dropout=1", "model.dt_min=-1"),
        *("model.dt_min=nan", "model.dt_min=1000", "model.n_layers=1e9", "model.d_model=1.5"),
        *("loader_workers=-1", "loader_workers=1.5", "checkpoint_minutes=-1", "checkpoint_minutes=nan"),
        *("seed=-1", "seed=99999999999999999999", "seed=1.5", "seed=nan", "seed=null", "must_beat_chance=3"),
        *("data.limit={train:0}", "data.limit={train:-1}", "data.limit={most:3}", "data.limit=3", "data.seed=-1"),
        *("devices=0", "devices=-1", "nodes=0", "accelerator=tpu", "logger=tensorboard", "data.miniature=3"),
        *("optimizer.lr.x=3", "trainer.epochs.x=3", "data.limit.train.x=3"),
    ],
)
def test_nonsense_is_refused_and_the_key_is_named(word: str) -> None:
    with pytest.raises(UserError) as refused:
        plan(word)
    section_and_option = word.split("=")[0].split(".")
    assert section_and_option[min(1, len(section_and_option) - 1)] in str(refused.value)


@pytest.mark.parametrize("word", ["data.l_max=-1", "data.l_max=0", "data.l_max=nan", "data.l_max=1.5"])
def test_a_length_that_makes_no_sense_is_refused(word: str) -> None:
    for task in ("listops", "text", "retrieval"):
        with pytest.raises(UserError, match="l_max"):
            plan(word, task=task)


@pytest.mark.parametrize("word", ["devices=3", "nodes=7", "devices=64"])
def test_processes_must_share_a_batch_equally(word: str) -> None:
    with pytest.raises(UserError, match=r"trainer\.batch_size=32 cannot be shared equally"):
        plan(word)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.lr=range(1,10000000)"], "more than 10,000 values"),
        (["optimizer.lr=range(1,1e300)"], "more than 10,000 values"),
        (["optimizer.lr=range(1,100)", "model.d_state=range(2,1000,2)"], "49,401 points"),
        (["optimizer.lr=range(1,100)", "trainer.epochs=range(1,100)", "seed=3", "model.d_state=2,4"], "19,602 points"),
    ],
)
def test_a_sweep_that_cannot_be_meant_is_refused_at_once(words: list[str], said: str) -> None:
    began = time.process_time()
    with pytest.raises(UserError, match=said):
        plan(*words, sweep=True)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "value",
    [
        *("range(1,10,0)", "range(5,1)", "range(1,10,-1)", "range(nan,3)", "range(1,3),4", "range(1,nan)"),
        *("glob(*)", "choice()", "interval(0,1)", "range(0,1,1e-320)", "range(0,inf)", "range()", "range(a,b)"),
        *("sort()", "shuffle()", "tag(a)", "cast(3)", "int(a)", "json_str(3)"),
    ],
)
def test_a_sweep_without_points_is_refused_at_once(value: str) -> None:
    began = time.process_time()
    with pytest.raises(UserError, match=r"optimizer\.lr="):
        plan(f"optimizer.lr={value}", "trainer.epochs=1,2", sweep=True)
    with pytest.raises(UserError, match=r"optimizer\.lr="):
        plan(f"optimizer.lr={value}")
    assert time.process_time() - began < 5


def test_a_model_that_does_not_fit_is_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match=r"s4nd does not fit lra/listops: ."):
        make_plan(LRA, ["s4d", "s4nd"], ["listops"], "smoke", [], [])


@pytest.mark.parametrize("names", [["s4d", "s4d"], ["s4d", "s4d-legs"], ["s4", "s4-legs"], ["s4d", "s4d@v3"]])
def test_two_names_of_one_model_are_one_model_twice(names: list[str]) -> None:
    with pytest.raises(UserError, match=r"twice|same recipe"):
        make_plan(LRA, names, ["listops"], "smoke", [], [])


def test_a_run_folder_is_readable_and_unique(work: Path) -> None:
    [cell] = plan()
    assert cell.folder(Path("out")) == Path(f"out/lra/image/s4d-smoke-seed{cell.recipe.seed}-{cell.hash}")
    (work / f"{'x' * 180} [a].py").write_text("class Layer: ...\n")
    [cell] = plan(model=f"{'x' * 180} [a].py:Layer")
    assert len(cell.folder(Path()).name) < 200
    assert not set(cell.folder(Path()).name) & set(" []/:\\")


def test_runtime_words_are_no_part_of_a_record() -> None:
    [cell] = plan("optimizer.lr=0.5", "loader_workers=1", "seed=3", "logger=wandb")
    assert cell.overrides == ("optimizer.lr=0.5",)
    assert (cell.runtime.loader_workers, cell.runtime.logger, cell.recipe.seed) == (1, "wandb", 3)


def test_tasks_are_in_the_order_of_the_table() -> None:
    cells = make_plan(SCIFAR, ["s4d"], ["pmnist", "scifar"], "smoke", [], [])
    assert [cell.recipe.task for cell in cells] == ["scifar", "pmnist"]
