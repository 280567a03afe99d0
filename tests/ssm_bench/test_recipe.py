"""Recipes: equal to the published ones, complete, and each builds and takes one step."""

import dataclasses
import pickle
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ssm_bench import recipe as recipe_module
from ssm_bench.catalog import SCALES, Benchmark, ModelName, benchmarks, models
from ssm_bench.config import OptimizerConfig, Recipe, SchedulerConfig, TrainerConfig
from ssm_bench.errors import UserError
from ssm_bench.fit import find_fit, interface
from ssm_bench.plan import make_plan
from ssm_bench.recipe import as_dict, as_yaml, compose_data, compose_recipe, recipe_hash, values
from ssm_bench.training.losses import target_sums
from ssm_bench.training.module import TrainingModule
from ssm_models.model import build_model
from ssm_models.options import to_options
from ssm_testing.benchmarks import TASK, write_benchmark
from ssm_testing.runs import random_batch

LRA = benchmarks()["lra"]
PAIRS = [
    (benchmark.name, model, task)
    for benchmark in benchmarks().values()
    for model in models()
    for task in benchmark.tasks
    if find_fit(benchmark, task, ModelName.parse(model)).recipe != "none"
]
#: Every pair at every scale; by default those of the two models whose recipes other tests compare with the papers.
EVERY = [
    pytest.param(*pair, scale, marks=() if pair[1] in ("s4", "s4d") else pytest.mark.exhaustive)
    for pair in PAIRS
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
        ("image", 6, 512, "layer", False, 0.1, 0.01, 0.05, 50, 200, 1_000, 200_000),
        ("pathfinder", 6, 256, "batch", True, 0.0, 0.004, 0.03, 64, 200, 2_500, 500_000),
        ("path-x", 6, 256, "batch", True, 0.0, 0.0005, 0.05, 16, 50, 10_000, 500_000),
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
    model = SimpleNamespace(**to_options(recipe.model))
    assert (model.n_layers, model.d_model, model.norm, model.prenorm) == (layers, d_model, norm, prenorm)
    assert (model.dropout, model.d_state, model.bidirectional, model.final_act) == (dropout, 64, True, "glu")
    assert (model.dt_min, model.dt_max) == (0.0001 if task == "path-x" else 0.001, 0.1)
    kernel = {"pathfinder": {"A": 1e-3, "B": 1e-3, "dt": 1e-3}, "path-x": {"A": 5e-4, "B": 5e-4, "dt": 5e-4}}
    assert model.lr == kernel.get(task, {"A": 1e-3, "B": 1e-3})
    assert (recipe.optimizer.lr, recipe.optimizer.weight_decay) == (lr, decay)
    assert recipe.optimizer.decay_norms_and_biases
    assert (recipe.trainer.batch_size, recipe.trainer.epochs) == (batch, epochs)
    assert (recipe.scheduler.name, recipe.scheduler.warmup_steps) == ("cosine_warmup", warmup)
    assert (recipe.scheduler.total_steps, recipe.seed) == (total, 1112 if task == "path-x" else 2222)


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
    io = interface(compose_data(LRA, task, "paper").expected())
    recipe = compose(task, "s4")
    s4, s4d = (build_model(compose(task, model).model, io) for model in ("s4", "s4d"))
    assert sum(p.numel() for p in s4.parameters()) == parameters
    model = SimpleNamespace(**to_options(recipe.model))
    low_rank = model.n_layers * (model.n_ssm or model.d_model) * model.d_state
    assert sum(p.numel() for p in s4d.parameters()) == parameters - low_rank


def test_hash_follows_what_determines_the_result() -> None:
    recipe = compose("listops")
    assert recipe_hash(recipe) == recipe_hash(compose("listops"))
    assert recipe_hash(recipe) == recipe_hash(compose("listops", words=("logger=wandb", "loader_workers=3")))
    assert recipe_hash(recipe) != recipe_hash(compose("listops", words=("optimizer.lr=0.02",)))
    assert recipe_hash(recipe) != recipe_hash(dataclasses.replace(recipe, seed=1))


@pytest.mark.parametrize(
    "word",
    [
        *("seed=7", "must_beat_chance=true", "data.seed=3", "data.limit={train:64}", "data.l_max=1024"),
        *("optimizer.lr=0.02", "optimizer.betas=[0.8,0.99]", "optimizer.name=adam", "scheduler.warmup_steps=7"),
        *("trainer.epochs=2", "trainer.precision=bf16", "trainer.bucket=true", "trainer.gradient_clip=1.0"),
        *("model.d_state=32", "model.dropout=0.1", "model.init=diag-lin", "model.lr={A:0.1}", "model.lr.A=0.1"),
    ],
)
def test_every_word_that_changes_the_result_changes_the_hash(word: str) -> None:
    assert recipe_hash(compose("listops", words=(word,))) != recipe_hash(compose("listops"))


def test_a_value_given_as_its_default_has_the_same_hash() -> None:
    words = ("optimizer.betas=[0.9,0.999]", "trainer.precision=32", "scheduler.total_steps=80000", "data.limit=null")
    assert recipe_hash(compose("listops", words=words)) == recipe_hash(compose("listops"))


@pytest.mark.parametrize("section", ["optimizer", "scheduler", "trainer"])
def test_an_option_that_is_added_with_a_default_leaves_the_hash(section: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe_hash(compose("listops"))
    cls: Any = {"optimizer": OptimizerConfig, "scheduler": SchedulerConfig, "trainer": TrainerConfig}[section]

    @dataclass(frozen=True, kw_only=True)
    class Grown(cls):
        extra: int = 3

    monkeypatch.setitem(recipe_module.CLASSES, section, Grown)
    old = compose("listops")
    grown = dataclasses.replace(old, **{section: Grown(**dataclasses.asdict(getattr(old, section)))})
    assert getattr(grown, section).extra == 3
    assert recipe_hash(grown) == before
    changed = dataclasses.replace(grown, **{section: dataclasses.replace(getattr(grown, section), extra=4)})
    assert recipe_hash(changed) != before


def test_an_option_that_is_added_to_a_data_set_or_a_model_leaves_the_hash() -> None:
    old = compose("listops")
    stack: Any = type(old.model)
    layer: Any = type(old.model.layer)

    @dataclass(frozen=True, kw_only=True)
    class Data(type(old.data)):  # type: ignore[misc]
        extra: int = 3

    @dataclass(frozen=True, kw_only=True)
    class Layer(layer):
        extra: int = 3

    @dataclass(frozen=True, kw_only=True)
    class Stack(stack):
        another: str = "none"

    def fields(value: Any) -> dict[str, Any]:
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}

    model = Stack(**fields(old.model) | {"layer": Layer(**fields(old.model.layer))})
    grown = dataclasses.replace(old, data=Data(**fields(old.data)), model=model)
    assert to_options(model)["extra"] == 3
    assert recipe_hash(grown) == recipe_hash(old)
    other = Stack(**fields(old.model) | {"layer": Layer(**fields(old.model.layer) | {"extra": 4})})
    assert recipe_hash(dataclasses.replace(grown, model=other)) != recipe_hash(old)


@pytest.mark.parametrize(
    ("name", "other"),
    [("s4d", "s4d-legs"), ("s4", "s4-legs"), ("s4d", "s4d@v3"), ("s4", "s4@v3"), ("s4d-legs", "s4d@v3")],
)
def test_a_model_has_one_hash_whatever_it_was_called(name: str, other: str) -> None:
    """``v3`` is the default recipe by its name."""
    one, two = compose("listops", name), compose("listops", other)
    assert one == two
    assert recipe_hash(one) == recipe_hash(two)
    assert two.model_name == name.removesuffix("-legs")


def test_a_variant_that_changes_something_is_a_recipe_of_its_own() -> None:
    one, two = compose("listops", "s4d"), compose("listops", "s4d@v4")
    assert two.model_name == "s4d@v4"
    assert recipe_hash(one) != recipe_hash(two)
    assert (two.seed, two.trainer.batch_size, to_options(two.model)["d_state"]) == (3333, 32, 4)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(UserError, match=r"variant of s4d on listops 'v9'.*v4"):
        compose("listops", "s4d@v9")
    with pytest.raises(UserError, match="variant of s5"):
        compose("listops", "s5@v4")


def test_recipe_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        compose("listops").seed = 3  # type: ignore[misc]


@pytest.mark.parametrize("key", sorted(recipe_module.DECIDED_ELSEWHERE))
def test_a_key_that_another_word_decides_is_refused_and_that_word_is_named(key: str) -> None:
    with pytest.raises(UserError) as refused:
        compose("listops", words=(f"{key}=paper",))
    assert str(refused.value).endswith(f"{recipe_module.DECIDED_ELSEWHERE[key]} decides it.")


@pytest.mark.parametrize("section", ["data", "model", "optimizer", "scheduler", "trainer"])
@pytest.mark.parametrize("value", ["null", "sgd", "{lr:1.0}", "3"])
def test_a_whole_section_is_refused(section: str, value: str) -> None:
    with pytest.raises(UserError, match=f"{section} is a section of options"):
        compose("listops", words=(f"{section}={value}",))


def test_other_entries_of_a_dict_option_stay() -> None:
    whole = to_options(compose("listops").model)["lr"]
    changed = to_options(compose("listops", words=("model.lr.A=0.5",)).model)["lr"]
    assert changed == whole | {"A": 0.5}
    limits = compose("listops", words=("data.limit.train=50", "data.limit.val=20")).data.limit
    assert limits == {"train": 50, "val": 20}


def test_of_several_words_for_one_key_the_last_counts_and_alone_is_recorded() -> None:
    words = ("optimizer.lr=0.1", "trainer.epochs=3", "optimizer.lr=0.2")
    [cell] = make_plan(LRA, ["s4d"], ["listops"], "smoke", [], words)
    assert cell.recipe.optimizer.lr == 0.2
    assert cell.overrides == ("optimizer.lr=0.2", "trainer.epochs=3")


def test_a_word_that_a_later_one_hides_is_refused() -> None:
    with pytest.raises(UserError, match=r"'data\.limit\.train=50' has no effect"):
        compose("listops", words=("data.limit.train=50", "data.limit={val:20}"))
    with pytest.raises(UserError, match=r"'data\.limit\.train=50' has no effect"):
        compose("listops", words=("data.limit={val:10}", "data.limit.train=50", "data.limit={val:20}"))
    with pytest.raises(UserError, match="leave one out"):
        make_plan(LRA, ["s4d"], ["listops"], "smoke", [0], ["seed=1"])


def test_a_composed_recipe_cannot_change_another_one() -> None:
    """Compositions are cached."""
    first = as_dict(compose("listops", scale="mini"))
    compose("listops", scale="mini", words=("data.limit.train=1", "model.lr.A=0.9"))
    assert as_dict(compose("listops", scale="mini")) == first


def test_a_recipe_as_yaml_names_everything() -> None:
    text = as_yaml(compose("listops", "s4d-lin"))
    for line in ("benchmark: lra", "task: listops", "name: s4d-lin", "name: listops", "lr: 0.01", "init: diag-lin"):
        assert line in text


@pytest.mark.parametrize("words", [("optimizer.lr=1e-3,1e-2",), ("optimizer.lr=range(1,5)",)])
def test_several_values_need_a_sweep(words: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="--sweep"):
        compose("listops", words=words)


def test_values_of_a_word() -> None:
    assert values("optimizer.lr=1e-3,1e-2") == ["optimizer.lr=0.001", "optimizer.lr=0.01"]
    assert values("model.d_state=range(16,65,16)") == [f"model.d_state={n}" for n in (16, 32, 48, 64)]
    assert values("trainer.epochs=3") == ["trainer.epochs=3"]


@pytest.mark.parametrize(
    "word",
    [
        *("++optimizer.lr=0.5", "+optimizer.lr=0.5", "~optimizer.lr", "optimizer.lr", "=3", "optimizer..lr=3", "a b=3"),
        *("optimizer.lr=[1", "optimizer.lr={a:", "optimizer/lr=0.5", "optimizer.lr=${x}", "x" * 5000 + "=1"),
        "optimizer.lr=" + "[" * 2000,
    ],
    ids=lambda word: word[:20],
)
def test_what_is_no_override_is_a_sentence(word: str) -> None:
    with pytest.raises(UserError):
        compose("listops", words=(word,))


@pytest.mark.parametrize(("name", "model", "task", "scale"), EVERY)
def test_recipe_builds_and_takes_one_step(name: str, model: str, task: str, scale: str, tmp_path: Path) -> None:
    """On the published data's shape but for its length, on which no parameter's shape depends."""
    benchmark = benchmarks()[name]
    recipe, _ = compose_recipe(benchmark, task, model, scale, 0, ())
    spec = dataclasses.replace(compose_data(benchmark, task, "paper").expected(), l_max=24)
    torch.manual_seed(0)
    net = build_model(recipe.model, interface(spec))
    module = TrainingModule(net, recipe, spec, 1, "", tmp_path)
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


def test_a_recipe_travels_to_other_processes() -> None:
    recipe = compose("listops", "s4")
    assert pickle.loads(pickle.dumps(recipe)) == recipe


@pytest.mark.parametrize(
    "word",
    ["data.l_max='51 '", "data.l_max=true", "data.l_max=51.0", "data.limit={train:true}", "data.limit={train:'5'}"],
)
def test_an_option_of_data_is_taken_as_it_is_or_refused(word: str) -> None:
    with pytest.raises(UserError, match=r"^(data\.)?(l_max|limit)"):
        compose("listops", words=(word,))


@pytest.mark.parametrize("value", ["${nothing.there}", "{null: 3}", "{3: 4}"])
def test_a_declaration_that_cannot_be_merged_is_a_sentence(value: str, tmp_path: Path) -> None:
    task = TASK.replace("model: {d_state: 8}", f"model: {{d_state: {value}}}" if "$" in value else f"model: {value}")
    one = Benchmark(write_benchmark(tmp_path, task=task))
    with pytest.raises(UserError, match=r"copying\.yaml|There is no option"):
        compose_recipe(one, "copying", "s4", "smoke", None, ())
