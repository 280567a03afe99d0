"""The typed form of a recipe: frozen dataclasses, the one source of the harness's defaults. Does not import torch.

Model options are in ``ssm_models.config``, data options in the data set classes of ``ssm_data``; a recipe holds one of
each. Every field states its range; :func:`ssm_bench.recipe.build` checks it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field
from ssm_data.contract import Dataset
from ssm_models.config import StackConfig

#: No field accepts NaN or infinity.
FINITE = {"allow_inf_nan": False}
#: Larger numbers of examples, steps and processes are typing mistakes.
MANY = 10**9

# Strict: a number cannot be given as text or as a flag, nor an integer as a fraction.
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1, le=MANY)]
CountOrNone = Annotated[int, Field(strict=True, ge=0, le=MANY)]
Positive = Annotated[float, Field(strict=True, gt=0)]
NotNegative = Annotated[float, Field(strict=True, ge=0)]
Momentum = Annotated[float, Field(strict=True, ge=0, lt=1)]


def _as_text(value: Any) -> Any:
    """Turn an integer into text, because YAML and the command line read ``precision=16`` as a number."""
    return str(value) if type(value) is int else value


def _as_tuple(value: Any) -> Any:
    """Turn a list, which YAML and the command line give, into a tuple."""
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimiser of every parameter that has no settings of its own.

    decay_norms_and_biases: also decay biases, norms and embeddings inside the backbone.
    """

    __pydantic_config__: ClassVar[Any] = FINITE

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: Positive = 0.001
    weight_decay: NotNegative = 0.0
    betas: Annotated[tuple[Momentum, Momentum], BeforeValidator(_as_tuple)] = (0.9, 0.999)
    decay_norms_and_biases: Flag = False


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig:
    """The learning rate over training.

    constant, linear_warmup, cosine_warmup: the rate rises linearly from 0 over ``warmup_steps``. Then it stays
        constant, or falls along a line or half a cosine to 0 at ``total_steps`` (null: the length of the run). It
        changes every step.
    plateau: the rate is multiplied by ``factor`` after more than ``patience`` epochs in a row without a better
        validation metric.
    multistep: the rate is multiplied by ``factor`` after each of the epochs in ``milestones``.
    """

    __pydantic_config__: ClassVar[Any] = FINITE

    name: Literal["constant", "linear_warmup", "cosine_warmup", "plateau", "multistep"] = "constant"
    warmup_steps: CountOrNone = 0
    total_steps: Count | None = None
    factor: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.2
    patience: CountOrNone = 20
    milestones: Annotated[tuple[Count, ...], BeforeValidator(_as_tuple)] = ()

    def __post_init__(self) -> None:
        if self.name in ("plateau", "multistep") and self.warmup_steps:
            raise ValueError(f"A {self.name} schedule has no warm-up; leave scheduler.warmup_steps at 0.")
        if (self.name == "multistep") != bool(self.milestones):
            raise ValueError("scheduler.milestones belong to scheduler.name=multistep, which needs them.")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"scheduler.milestones are epochs in ascending order, not {list(self.milestones)}.")
        if self.total_steps is not None and self.warmup_steps >= self.total_steps:
            raise ValueError(
                f"scheduler.warmup_steps={self.warmup_steps} must be below scheduler.total_steps={self.total_steps}."
            )


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """The training loop.

    gradient_clip: largest norm of the gradient of all parameters; null: no limit.
    drop_last: drop the last partial batch of a training epoch, never of an evaluation.
    bucket: group training examples of similar length, to pad less.
    carry_state: carry the detached state of the model from window to window of a stream; otherwise start each window
        from zero.
    """

    __pydantic_config__: ClassVar[Any] = FINITE

    batch_size: Annotated[int, Field(strict=True, ge=1, le=10**6)] = 50
    epochs: Annotated[int, Field(strict=True, ge=1, le=10**6)] = 1
    gradient_clip: Positive | None = None
    precision: Annotated[Literal["32", "bf16", "16"], BeforeValidator(_as_text)] = "32"
    drop_last: Flag = True
    bucket: Flag = False
    carry_state: Flag = False


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that determines a run's result; its hash names the run folder.

    model_name: the name in tables: a zoo name, with ``@variant`` if the variant is not the default one, or
        ``file.py:Class``.
    source_digest: digest of the code of a layer of the user's own; empty for a model of the zoo.
    must_beat_chance: the run fails if its test metric is not clearly above chance.
    """

    __pydantic_config__: ClassVar[Any] = FINITE

    benchmark: str
    version: int
    task: str
    model_name: str
    scale: Literal["paper", "mini", "smoke"]
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)]
    data: Dataset
    model: StackConfig
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    must_beat_chance: Flag = False
    source_digest: str = ""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How a run is carried out; it does not change what is computed, so it is not hashed.

    logger: where curves go besides metrics.csv, which is always written.
    loader_workers: processes that load data, for each process of the run.
    accelerator: ``auto`` takes a GPU if there is one.
    devices: GPUs on each node, or processes on its CPU. A GPU has one process, and the processes share each batch
        equally.
    nodes: number of machines; more than one needs srun.
    checkpoint_minutes: minutes between two saves within an epoch; 0 saves after every step.
    """

    __pydantic_config__: ClassVar[Any] = FINITE

    logger: Literal["csv", "wandb"] = "csv"
    loader_workers: Annotated[int, Field(strict=True, ge=0, le=1024)] = 0
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Annotated[int, Field(strict=True, ge=1, le=1024)] = 1
    nodes: Annotated[int, Field(strict=True, ge=1, le=10**4)] = 1
    checkpoint_minutes: NotNegative = 15.0

    @property
    def processes(self) -> int:
        """All processes of a run."""
        return self.devices * self.nodes
