"""Every field of the harness's configuration has a type and a range, and nonsense is a sentence."""

import dataclasses
from typing import Any

import pytest
from ssm_bench.config import OptimizerConfig, Runtime, SchedulerConfig, TrainerConfig
from ssm_bench.errors import UserError
from ssm_bench.recipe import build

NAN, INF = float("nan"), float("inf")
NONSENSE: list[tuple[type, str, Any]] = [
    *((TrainerConfig, "epochs", value) for value in (-1, 0, 1.5, 1e20, "3", True, None, NAN)),
    *((TrainerConfig, "batch_size", value) for value in (-4, 0, 2.5, 10**7)),
    *((TrainerConfig, "gradient_clip", value) for value in (-1.0, 0.0, NAN, INF, "1")),
    *((TrainerConfig, "precision", value) for value in (8, "64", None, 16.0)),
    *((TrainerConfig, "bucket", value) for value in (1, "yes", None)),
    *((OptimizerConfig, "lr", value) for value in (-1.0, 0, 0.0, NAN, INF, "fast", None, True)),
    *((OptimizerConfig, "weight_decay", value) for value in (-1.0, NAN, INF)),
    *((OptimizerConfig, "betas", value) for value in ([2, 2], [0.9], [0.9, 1.0], [-0.1, 0.9], 0.9, [NAN, 0.9])),
    *((OptimizerConfig, "name", value) for value in ("lamb", 3, None)),
    *((SchedulerConfig, "warmup_steps", value) for value in (-5, 0.5, NAN, None)),
    *((SchedulerConfig, "total_steps", value) for value in (0, -1, 1e20, "all")),
    *((SchedulerConfig, "factor", value) for value in (NAN, -0.1, 0, 1, 2.0)),
    *((SchedulerConfig, "patience", value) for value in (-1, 0.5)),
    *((SchedulerConfig, "milestones", value) for value in ([0], [-3], [2, 1], 4, [1.5])),
    *((Runtime, "loader_workers", value) for value in (-1, 0.5, 10**6)),
    *((Runtime, "devices", value) for value in (0, -1, "auto", 10**6)),
    *((Runtime, "nodes", value) for value in (0, -1, 0.5)),
    *((Runtime, "checkpoint_minutes", value) for value in (-1, NAN, INF, "often")),
    *((Runtime, "logger", value) for value in ("tensorboard", None)),
    *((Runtime, "accelerator", value) for value in ("tpu", 1)),
]


@pytest.mark.parametrize(("cls", "key", "value"), NONSENSE, ids=lambda value: getattr(value, "__name__", str(value)))
def test_nonsense_is_refused_with_a_sentence_that_names_the_key(cls: type, key: str, value: Any) -> None:
    extra = {"name": "multistep"} if key == "milestones" else {}
    with pytest.raises(UserError, match=rf"^(scheduler\.)?{key}(=.* is not valid: | are epochs | belong)"):
        build(cls, {key: value, **extra}, "")


def test_every_field_of_the_harness_is_tried() -> None:
    tried = {(cls, key) for cls, key, _ in NONSENSE}
    exempt = {(SchedulerConfig, "name"), (TrainerConfig, "drop_last"), (TrainerConfig, "carry_state")}
    exempt |= {(OptimizerConfig, "decay_norms_and_biases")}  # other flags than bucket have its type
    for cls in (OptimizerConfig, SchedulerConfig, TrainerConfig, Runtime):
        for field in dataclasses.fields(cls):
            assert (cls, field.name) in tried | exempt


@pytest.mark.parametrize("value", [16, "16", 32, "bf16"])
def test_precision_may_be_written_as_a_number(value: Any) -> None:
    assert build(TrainerConfig, {"precision": value}, "").precision == str(value)


def test_warmup_must_end_before_the_schedule() -> None:
    with pytest.raises(UserError, match="must be below"):
        build(SchedulerConfig, {"name": "cosine_warmup", "warmup_steps": 10, "total_steps": 10}, "")


@pytest.mark.parametrize("value", [None, 3, [1], "adam"])
def test_a_section_holds_keys_and_values(value: Any) -> None:
    with pytest.raises(UserError, match="keys and values"):
        build(OptimizerConfig, value, "optimizer.")
