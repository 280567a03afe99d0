"""Recipes: equal to the published ones, complete, and each builds and takes one step."""

import dataclasses

import pytest
import torch
from ssm_bench.catalog import SCALES, benchmarks
from ssm_bench.config import Recipe
from ssm_bench.errors import UserError
from ssm_bench.plan import make_plan
from ssm_bench.recipe import compose_recipe, recipe_hash
from ssm_models.model import build_model

LRA = benchmarks()["lra"]
EVERY = [
    (benchmark.name, model, task, scale)
    for benchmark in benchmarks().values()
    for model in benchmark.models
    if model != "custom"
    for task in benchmark.tasks
    for scale in SCALES
]


def compose(task: str, model: str = "s4d", scale: str = "paper", words: tuple[str, ...] = ()) -> Recipe:
    return compose_recipe(LRA, task, model, scale, None, words)[0]


@pytest.mark.parametrize(
    ("task", "layers", "d_model", "norm", "prenorm", "dropout", "lr", "decay", "batch", "epochs", "warmup", "total"),
    [
        ("listops", 8, 128, "batch", False, 0.0, 0.01, 0.05, 50, 40, 1_000, 80_000),
        ("text", 6, 256, "batch", True, 0.0, 0.01, 0.05, 16, 32, 1_000, 50_000),
        ("retrieval", 6, 256, "batch", True, 0.0, 0.01, 0.05, 64, 20, 2_500, 50_000),
        ("image", 6, 512, "layer", False, 0.1, 0.01, 0.05, 50, 200, 900, 180_000),
        ("pathfinder", 6, 256, "batch", True, 0.0, 0.004, 0.03, 64, 200, 2_500, 500_000),
        ("path-x", 6, 256, "batch", True, 0.0, 0.001, 0.05, 16, 50, 50_000, 500_000),
    ],
)
def test_paper_scale_is_the_published_recipe(
    task: str,
    layers: int,
    d_model: int,
    norm: str,
    prenorm: bool,
    dropout: float,
    lr: float,
    decay: float,
    batch: int,
    epochs: int,
    warmup: int,
    total: int,
) -> None:
    recipe = compose(task)
    model = recipe.model
    assert (model.n_layers, model.d_model, model.norm, model.prenorm) == (layers, d_model, norm, prenorm)
    assert (model.dropout, model.d_state, model.bidirectional, model.final_act) == (dropout, 64, True, "glu")
    assert (model.dt_min, model.dt_max) == (0.0001 if task == "path-x" else 0.001, 0.1)
    kernel = {"pathfinder": {"A": 1e-3, "B": 1e-3, "dt": 1e-3}, "path-x": {"A": 5e-4, "B": 5e-4, "dt": 5e-4}}
    assert model.lr == kernel.get(task, {"A": 1e-3, "B": 1e-3})
    assert (recipe.optimizer.lr, recipe.optimizer.weight_decay) == (lr, decay)
    assert recipe.optimizer.decay_norms_and_biases
    assert (recipe.trainer.batch_size, recipe.trainer.epochs) == (batch, epochs)
    assert (recipe.scheduler.name, recipe.scheduler.warmup_steps) == ("cosine_warmup", warmup)
    assert (recipe.scheduler.total_steps, recipe.seed, recipe.recipe) == (total, 2222, "s4-v3")


@pytest.mark.parametrize(
    ("task", "parameters"),
    [
        ("listops", 599_562),
        ("retrieval", 1_575_682),
        ("image", 3_565_834),
        ("pathfinder", 1_288_706),
        ("path-x", 1_288_706),
    ],
)
def test_parameter_counts_are_the_authors(task: str, parameters: int) -> None:
    """S4 as the authors' code builds it from these recipes; S4D is S4 without the low-rank part P."""
    from ssm_bench.estimate import published_spec
    from ssm_bench.task import interface

    io = interface(published_spec(LRA, task))
    recipe = compose(task, "s4")
    s4, s4d = (build_model(compose(task, model).model, io) for model in ("s4", "s4d"))
    assert sum(p.numel() for p in s4.parameters()) == parameters
    low_rank = recipe.model.n_layers * (recipe.model.n_ssm or recipe.model.d_model) * recipe.model.d_state
    assert sum(p.numel() for p in s4d.parameters()) == parameters - low_rank


def test_hash_follows_what_determines_the_result() -> None:
    recipe = compose("listops")
    assert recipe_hash(recipe) == recipe_hash(compose("listops"))
    assert recipe_hash(recipe) == recipe_hash(compose("listops", words=("logger=wandb", "workers=3")))
    assert recipe_hash(recipe) != recipe_hash(compose("listops", words=("optimizer.lr=0.02",)))
    assert recipe_hash(recipe) != recipe_hash(dataclasses.replace(recipe, seed=1))


def test_recipe_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        compose("listops").seed = 3  # type: ignore[misc]


def test_one_plan_has_every_cell_once() -> None:
    plan = make_plan(LRA, ["s4d", "s4d-lin"], [], "smoke", [0, 1, 2], [])
    assert len(plan) == 2 * 6 * 3
    assert len({cell.hash for cell in plan}) == len(plan)
    with pytest.raises(UserError, match="twice"):
        make_plan(LRA, ["s4d"], ["listops", "listops"], "smoke", [], [])


@pytest.mark.parametrize(("name", "model", "task", "scale"), EVERY, ids=lambda value: str(value))
def test_recipe_builds_and_takes_one_step(name: str, model: str, task: str, scale: str) -> None:
    """On the published data's shape but for its length, of which no parameter's shape depends."""
    from ssm_bench.estimate import published_spec, random_batch
    from ssm_bench.task import Task, interface, target_sums

    benchmark = benchmarks()[name]
    recipe, _ = compose_recipe(benchmark, task, model, scale, 0, ())
    spec = dataclasses.replace(published_spec(benchmark, task), l_max=24)
    torch.manual_seed(0)
    net = build_model(recipe.model, interface(spec))
    module = Task(net, recipe, spec, 1)
    optimizer = module.configure_optimizers()["optimizer"]
    for group in optimizer.param_groups:
        # The peak of the schedule: the first step of a long warm-up is below float32's resolution.
        group["lr"] = group.get("initial_lr", group["lr"])
    x, y, lengths = random_batch(spec, 2)
    if lengths is not None:
        lengths[1::2] = torch.tensor([7, 11])[: len(lengths[1::2])]
    before = {key: value.clone() for key, value in net.named_parameters()}
    for _ in range(2):
        count, loss, _ = target_sums(spec, net(x, lengths), y)
        assert torch.isfinite(loss)
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
    frozen = [key for key, value in net.named_parameters() if torch.equal(value, before[key])]
    assert not frozen, f"{frozen} did not move"
