"""Every recipe has the settings of the S4 authors' code that it claims, row by row of ``tests/facts/recipes.csv``.

The file holds their settings under their names. :data:`OURS` reads each of them from our recipe, our data set or our
initial system, in their words. :data:`BY_CONSTRUCTION` lists what cannot be set here because only one value exists.
:data:`DEVIATIONS` lists every value that differs, with the reason.
"""

import csv
import dataclasses
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from ssm_bench.catalog import benchmarks
from ssm_bench.config import Recipe
from ssm_bench.fit import interface
from ssm_bench.metrics import METRICS
from ssm_bench.recipe import compose_recipe
from ssm_core.initialize import ssm
from ssm_data.contract import Spec
from ssm_data.datasets import cifar10, mnist, pathfinder
from ssm_models.model import build_model
from ssm_models.options import to_options

BENCHMARKS = tuple(benchmarks().values())
FILE = Path(__file__).parents[1] / "facts" / "recipes.csv"
#: How the authors' command line names the layer of each of our models; their files name that of ``s4``.
FLAGS = {
    "s4": ("nplr", "legs"),
    "s4-fout": ("nplr", "fourier"),
    "s4d": ("diag", "diag-legs"),
    "s4d-inv": ("diag", "diag-inv"),
    "s4d-lin": ("diag", "diag-lin"),
}
#: Version 1 has no diagonal layer.
MODELS = {"v1": ("s4", "s4-fout"), "v3": tuple(FLAGS), "v3-revised": tuple(FLAGS), "v4": tuple(FLAGS)}
#: Versions whose facts were read in version 4 of the code.
LATER = ("v3-revised", "v4")
DATA = {"listops": "listops", "text": "imdb", "retrieval": "aan", "image": "cifar", "pathfinder": "pathfinder"}
DATA |= {"path-x": "pathfinder", "scifar": "cifar", "smnist": "mnist", "pmnist": "mnist"}
SPLIT_SEEDS = {"pathfinder": pathfinder.SPLIT_SEED, "cifar": cifar10.SPLIT_SEED, "mnist": mnist.SPLIT_SEED}


class Ours(NamedTuple):
    """One of our recipes, with what its facts are compared to."""

    version: str
    model: str
    recipe: Recipe
    spec: Spec
    options: dict[str, Any]

    @property
    def data(self) -> Any:
        return self.recipe.data


def say(value: Any) -> str:
    """Return a value in the words of the file: nothing for none, and no activation is ``id``."""
    return "" if value is None else str(value)


def share(ours: Ours, split: str) -> str:
    """Return the share of a split among the examples that the authors divide, or 0.0 if it is the test split itself."""
    if ours.spec.sizes["val"] == ours.spec.sizes["test"] and getattr(ours.data, "validation", "") == "test":
        return "0.0"
    divided = {"pathfinder": ("train", "val", "test")}.get(DATA[ours.recipe.task], ("train", "val"))
    return str(ours.spec.sizes[split] / sum(ours.spec.sizes[each] for each in divided))


def permute(ours: Ours) -> str:
    if DATA[ours.recipe.task] == "cifar":
        return ""
    return str(getattr(ours.data, "order", "") == "bit-reversal")


def learning_rate(ours: Ours) -> str:
    """Return the one learning rate of all parameters that the authors' kernel gives it to."""
    rates = {ours.options["lr"].get(name) for name in covered(ours).split()}
    assert len(rates) == 1, rates
    return str(rates.pop())


def covered(ours: Ours) -> str:
    return " ".join(sorted(ours.options["lr"]))


def input_vector(ours: Ours) -> str:
    """Return how B of a diagonal kernel starts."""
    options = ours.options
    B = ssm(options["init"], options["d_state"], B_init=options["B_init"]).B
    ones = torch.zeros_like(B)
    ones[..., 0] = 1
    return "constant" if torch.equal(B, ones) else "hippo"


def parameters(ours: Ours) -> str:
    """Count the parameters at the width and depth of the recipe; none depends on the length."""
    model = build_model(ours.recipe.model, interface(dataclasses.replace(ours.spec, l_max=16)))
    return str(sum(parameter.numel() for parameter in model.parameters()))


def decays_norms_and_biases(ours: Ours) -> str:
    return str(ours.recipe.optimizer.decay_norms_and_biases)


def clip(ours: Ours) -> str:
    """Return the bound of the gradient's norm; where there is none, version 3 writes 0.0 and version 4 nothing."""
    bound = ours.recipe.trainer.gradient_clip
    return "0.0" if bound is None and ours.version not in LATER else say(bound)


def final_act(ours: Ours) -> str:
    return "" if ours.options["final_act"] == "none" else say(ours.options["final_act"])


def option(name: str) -> Callable[[Ours], str]:
    return lambda ours: say(ours.options[name])


KERNELS = {"dplr": "nplr", "diagonal": "diag"}
OURS: dict[str, Callable[[Ours], str]] = {
    "train.seed": lambda o: str(o.recipe.seed),
    "train.interval": lambda o: "epoch" if o.recipe.scheduler.name in ("plateau", "multistep") else "step",
    "train.monitor": lambda o: f"val/{o.spec.metric}",
    "train.mode": lambda o: METRICS[o.spec.metric].mode,
    "train.state.mode": lambda o: "bptt" if o.recipe.trainer.carry_state else "",
    "train.optimizer_param_grouping.bias_weight_decay": decays_norms_and_biases,
    "train.optimizer_param_grouping.normalization_weight_decay": decays_norms_and_biases,
    "trainer.max_epochs": lambda o: str(o.recipe.trainer.epochs),
    "trainer.gradient_clip_val": clip,
    "trainer.limit_train_batches": lambda o: "1.0" if o.data.limit is None else "less",
    "trainer.limit_val_batches": lambda o: "1.0" if o.data.limit is None else "less",
    "loader.batch_size": lambda o: str(o.recipe.trainer.batch_size),
    "loader.drop_last": lambda o: str(o.recipe.trainer.drop_last),
    "evaluation.drop_last": lambda o: "False",
    "evaluation.dropped_test_examples": lambda o: "0",
    "dataset._name_": lambda o: DATA[o.recipe.task],
    "dataset.__l_max": lambda o: str(o.spec.l_max),
    "dataset.l_max": lambda o: str(o.data.l_max),
    "dataset.min_freq": lambda o: str(o.data.min_freq),
    "dataset.vocabulary": lambda o: str(o.spec.d_input),
    "dataset.seed": lambda o: str(SPLIT_SEEDS.get(DATA[o.recipe.task], "")),
    "dataset.val_split": lambda o: share(o, "val"),
    "dataset.test_split": lambda o: share(o, "test"),
    "dataset.permute": permute,
    "dataset.grayscale": lambda o: str(o.spec.d_input == 1),
    "dataset.tokenize": lambda o: str(o.spec.tokens),
    "dataset.resolution": lambda o: str(round(o.spec.l_max**0.5)),
    "dataset.sequential": lambda o: str(not o.spec.axes),
    "dataset.center": lambda o: str(o.data.centre),
    "task.metrics": lambda o: str([o.spec.metric]),
    "task.loss": lambda o: "cross_entropy" if o.spec.target == "class" else "mse",
    "optimizer._name_": lambda o: o.recipe.optimizer.name,
    "optimizer.lr": lambda o: str(o.recipe.optimizer.lr),
    "optimizer.weight_decay": lambda o: str(o.recipe.optimizer.weight_decay),
    "optimizer.betas": lambda o: str(list(o.recipe.optimizer.betas)),
    "scheduler._name_": lambda o: o.recipe.scheduler.name,
    "scheduler.num_warmup_steps": lambda o: str(o.recipe.scheduler.warmup_steps),
    "scheduler.num_training_steps": lambda o: str(o.recipe.scheduler.total_steps),
    "scheduler.mode": lambda o: METRICS[o.spec.metric].mode,
    "scheduler.factor": lambda o: str(o.recipe.scheduler.factor),
    "scheduler.patience": lambda o: str(o.recipe.scheduler.patience),
    "encoder": lambda o: "embedding" if o.spec.tokens else "linear",
    "decoder._name_": lambda o: "retrieval" if o.spec.pair else "sequence",
    "decoder.mode": option("decoder"),
    "decoder.use_lengths": lambda o: str(o.spec.lengths),
    "model.n_layers": option("n_layers"),
    "model.d_model": option("d_model"),
    "model.norm": option("norm"),
    "model.prenorm": option("prenorm"),
    "model.dropout": option("dropout"),
    "model.tie_dropout": option("tie_dropout"),
    "model.layer.dropout": option("dropout"),
    "model.layer.tie_dropout": option("tie_dropout"),
    "model.layer.d_state": option("d_state"),
    "model.layer.channels": option("channels"),
    "model.layer.bidirectional": option("bidirectional"),
    "model.layer.activation": option("activation"),
    "model.layer.final_act": final_act,
    "model.layer.postact": lambda o: "" if o.version in LATER else final_act(o),
    "model.layer.gate": option("gate"),
    "model.layer.gate_act": lambda o: {"none": "id"}.get(o.options["gate_act"], o.options["gate_act"]),
    "model.layer.mult_act": lambda o: {"none": ""}.get(o.options["mult_act"], o.options["mult_act"]),
    "model.layer.bottleneck": option("bottleneck"),
    "model.layer.drop_kernel": option("drop_kernel"),
    "model.layer.mode": lambda o: KERNELS[o.options["kernel"]],
    "model.layer.init": option("init"),
    "model.layer.measure": lambda o: "" if o.version in LATER else o.options["init"],
    "model.layer.rank": option("rank"),
    "model.layer.n_ssm": lambda o: str(o.options["n_ssm"] or o.options["d_model"]),
    "model.layer.dt_min": option("dt_min"),
    "model.layer.dt_max": option("dt_max"),
    "model.layer.dt_transform": option("dt_transform"),
    "model.layer.deterministic": option("deterministic"),
    "model.layer.l_max": lambda o: str(o.spec.l_max),
    "model.layer.lr": learning_rate,
    "model.layer.lr.A": lambda o: say(o.options["lr"].get("A")),
    "model.layer.lr.B": lambda o: say(o.options["lr"].get("B")),
    "model.layer.lr.dt": lambda o: say(o.options["lr"].get("dt")),
    "model.layer.wd": lambda o: " ".join({str(o.options["wd"].get(name)) for name in ("A", "B", "dt")}),
    "kernel.nplr.B_clip": option("B_clip"),
    "kernel.diag.disc": option("disc"),
    "kernel.diag-legs.B": input_vector,
    "kernel.diag-inv.B": input_vector,
    "kernel.diag-lin.B": input_vector,
    "kernel.lr_of_one_number": covered,
    "kernel.inner_dropouts": lambda o: "1",
    "parameters": parameters,
}
#: What cannot be set here: the one value that exists, and where it is.
BY_CONSTRUCTION = {
    "train.ema": ("0.0", "weights are not averaged over the steps"),
    "trainer.accumulate_grad_batches": ("1", "every batch is one step of the optimiser"),
    "dataset.append_bos": ("False", "prepared sequences have no symbol for the start"),
    "dataset.append_eos": ("True", "prepared sequences end with a symbol for the end"),
    "dataset.level": ("char", "the symbols of text are characters"),
    "dataset.augment": ("False", "images that are read pixel by pixel are not augmented"),
    "dataset.cutout": ("False", "as above"),
    "dataset.random_erasing": ("False", "as above"),
    "dataset.pool": ("1", "images keep their resolution"),
    "task._name_": ("base", "classification"),
    "scheduler.min_lr": ("0.0", "a plateau schedule has no lowest learning rate"),
    "decoder.nli": ("True", "the retrieval decoder sees both members, their difference and their product"),
    "decoder.activation": ("gelu", "of the retrieval decoder"),
    "decoder.d_model": ("", "the retrieval decoder has the width of the model"),
    "model._name_": ("model", "a residual stack"),
    "model.bidirectional": ("False", "one stack; a layer may run in both directions"),
    "model.residual": ("R", "the input of a block is added to its output"),
    "model.pool._name_": ("pool", "no pooling between layers, as its stride is 1"),
    "model.pool.stride": ("1", "as above"),
    "model.encoder": ("", "no encoder beside the task's"),
    "model.decoder": ("", "no decoder beside the task's"),
    "model.layer._name_": ("s4", "the layer of every model of the two families"),
    "model.layer.layer": ("fftconv", "a convolution by FFT"),
    "model.layer.initializer": ("", "linear maps start as torch starts them"),
    "model.layer.weight_norm": ("False", "the output map is trained as it is"),
    "model.layer.hyper_act": ("", "a layer has no second, multiplicative kernel"),
}
#: What changes no number in the authors' code, and why.
WITHOUT_EFFECT = {
    "dataset.max_vocab": "no line of the code reads it; dataset.vocabulary is the size that results",
    "model.transposed": "the order of the axes in memory",
    "model.pool.expand": "the factor of the width where the stride is above 1",
}
NO_DECAY = "the weight decay of these recipes is 0"
KEPT_CODE = "v3-revised has the corrected settings and the code of version 3, which made the published numbers"
#: (version, task, key) -> (our value, reason). ``*`` is every task, and for the version every version.
DEVIATIONS: dict[tuple[str, str, str], tuple[str, str]] = {
    ("*", "*", "evaluation.drop_last"): ("False", "every test example counts once"),
    ("v3", "text", "evaluation.dropped_test_examples"): ("0", "every test example counts once"),
    ("v3", "retrieval", "evaluation.dropped_test_examples"): ("0", "every test example counts once"),
    ("v3", "pathfinder", "evaluation.dropped_test_examples"): ("0", "every test example counts once"),
    ("*", "text", "dataset.seed"): ("", "it draws a validation split, and this recipe has none"),
    ("v3-revised", "*", "model.layer.dt_transform"): ("exp", KEPT_CODE),
    ("v3-revised", "*", "train.optimizer_param_grouping.bias_weight_decay"): ("True", KEPT_CODE),
    ("v3-revised", "*", "train.optimizer_param_grouping.normalization_weight_decay"): ("True", KEPT_CODE),
    ("v3-revised", "*", "kernel.nplr.B_clip"): ("", KEPT_CODE),
    ("v3-revised", "*", "kernel.diag.disc"): ("bilinear", KEPT_CODE),
    ("v3-revised", "*", "kernel.diag-legs.B"): ("constant", KEPT_CODE),
    ("v3-revised", "*", "kernel.lr_of_one_number"): ("A B dt", KEPT_CODE),
    ("v3-revised", "*", "kernel.inner_dropouts"): ("1", KEPT_CODE),
    ("v4", "*", "kernel.inner_dropouts"): (
        "1",
        "the layer has one; the second one acts on image and scifar alone",
    ),
    ("v3", "text", "parameters"): ("1322498", "the released reviews have 134 symbols, one embedding of 256 fewer"),
    ("v4", "text", "parameters"): ("843338", "the released reviews have 134 symbols, one embedding of 256 fewer"),
    ("v3", "smnist", "train.optimizer_param_grouping.bias_weight_decay"): ("False", NO_DECAY),
    ("v3", "smnist", "train.optimizer_param_grouping.normalization_weight_decay"): ("False", NO_DECAY),
    ("v3", "pmnist", "train.optimizer_param_grouping.bias_weight_decay"): ("False", NO_DECAY),
    ("v3", "pmnist", "train.optimizer_param_grouping.normalization_weight_decay"): ("False", NO_DECAY),
    ("*", "image", "model.layer.l_max"): ("1024", "their kernel grows to the length of the images, which is the same"),
    ("*", "scifar", "model.layer.l_max"): ("1024", "their kernel grows to the length of the images, which is the same"),
}


@cache
def facts() -> dict[tuple[str, str], dict[str, str]]:
    """Return (version, task) -> key -> value."""
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    with FILE.open(newline="") as file:
        for row in csv.DictReader(file):
            assert row["key"] not in found[row["version"], row["task"]], row
            assert row["source"], row
            found[row["version"], row["task"]][row["key"]] = row["value"]
    return dict(found)


def ours(version: str, task: str, model: str) -> Ours:
    benchmark = next(each for each in BENCHMARKS if task in each.tasks)
    recipe, _ = compose_recipe(benchmark, task, f"{model}@{version}", "paper", None, ())
    return Ours(version, model, recipe, recipe.data.expected(), to_options(recipe.model))


def applies(key: str, model: str) -> bool:
    """Say whether a fact about one kind of kernel is about a model; the count of parameters is that of S4-LegS."""
    mode, init = FLAGS[model]
    if key == "parameters":
        return model == "s4"
    if key == "model.layer.rank":
        return mode == "nplr"
    if key.startswith("kernel.") and key.count(".") == 2:
        return key.split(".")[1] in (mode, init)
    return True


def expected(version: str, task: str, model: str) -> dict[str, str]:
    """Return the facts for a model: the authors' file, with the two flags that choose its layer."""
    known = dict(facts()[version, task])
    mode, init = FLAGS[model]
    known["model.layer.mode"] = mode
    known["model.layer.init" if version in LATER else "model.layer.measure"] = init
    return {key: value for key, value in known.items() if applies(key, model)}


def deviation(version: str, task: str, key: str) -> tuple[str, str] | None:
    for place in ((version, task), (version, "*"), ("*", task), ("*", "*")):
        if (*place, key) in DEVIATIONS:
            return DEVIATIONS[(*place, key)]
    return None


CASES = [(version, task, model) for version, task in facts() for model in MODELS[version]]


@pytest.mark.parametrize(("version", "task", "model"), CASES)
def test_recipe_has_every_setting_of_the_authors(version: str, task: str, model: str) -> None:
    mine = ours(version, task, model)
    wrong = []
    for key, value in expected(version, task, model).items():
        if key in WITHOUT_EFFECT:
            continue
        found = BY_CONSTRUCTION[key][0] if key in BY_CONSTRUCTION else OURS[key](mine)
        known = deviation(version, task, key)
        if found != (value if known is None else known[0]):
            wrong.append(f"{key}: theirs {value!r}, ours {found!r}, listed deviation {known}")
    assert not wrong, "\n".join(wrong)


def test_every_key_is_read_in_exactly_one_way() -> None:
    keys = {key for known in facts().values() for key in known}
    tables = [set(OURS), set(BY_CONSTRUCTION), set(WITHOUT_EFFECT)]
    assert keys == set().union(*tables)
    assert sum(map(len, tables)) == len(keys)


@pytest.mark.parametrize("listed", DEVIATIONS, ids="-".join)
def test_a_listed_deviation_is_one(listed: tuple[str, str, str]) -> None:
    """The table names no setting that agrees, in any version and task that it is about."""
    value, reason = DEVIATIONS[listed]
    places = [
        (version, task)
        for version, task in facts()
        if listed[0] in ("*", version) and listed[1] in ("*", task) and listed[2] in facts()[version, task]
    ]
    assert places
    assert reason
    for version, task in places:
        assert facts()[version, task][listed[2]] != value, (version, task)
