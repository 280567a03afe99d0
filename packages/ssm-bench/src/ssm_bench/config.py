"""The typed form of a recipe: frozen dataclasses, the one source of the harness's defaults. Does not import torch.

Model options live in ``ssm_models.config``, data options in the data set classes of ``ssm_data``; a recipe holds
one of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ssm_data.contract import Dataset
from ssm_models.config import StackConfig


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimiser of every parameter that does not carry settings of its own.

    decay_norms_and_biases: also decay biases, norms and embeddings inside the backbone.
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 0.001
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    decay_norms_and_biases: bool = False


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig:
    """The learning rate over training.

    constant, linear_warmup, cosine_warmup: linear from 0 over ``warmup_steps``, then constant, or down a line or half a
        cosine to 0 at ``total_steps`` (null: the length of the run); every step.
    plateau: times ``factor`` whenever more than ``patience`` epochs in a row brought no better validation metric.
    multistep: times ``factor`` after each of the epochs ``milestones``.
    """

    name: Literal["constant", "linear_warmup", "cosine_warmup", "plateau", "multistep"] = "constant"
    warmup_steps: int = 0
    total_steps: int | None = None
    factor: float = 0.2
    patience: int = 20
    milestones: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.name in ("plateau", "multistep") and self.warmup_steps:
            raise ValueError(f"A {self.name} schedule has no warm-up; leave scheduler.warmup_steps at 0.")
        if (self.name == "multistep") != bool(self.milestones):
            raise ValueError("scheduler.milestones belong to scheduler.name=multistep, which needs them.")


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """The training loop.

    drop_last: drop the last partial batch of a training epoch, never of an evaluation.
    bucket: group training examples of similar length, to pad less.
    carry_state: of a stream, the model's state at the end of a window goes on in the next one, without gradient;
        otherwise each window begins at rest.
    """

    batch_size: int = 50
    epochs: int = 1
    gradient_clip: float | None = None
    precision: Literal["32", "bf16", "16"] = "32"
    drop_last: bool = True
    bucket: bool = False
    carry_state: bool = False


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that determines a run's result; its hash names the run folder.

    recipe: the version of the published recipe that it follows (``s4-v3``: version 3 of the S4 authors' code).
    must_beat_chance: the run fails if its test metric is not clearly above chance.
    """

    benchmark: str
    version: int
    task: str
    model_name: str
    recipe: str
    scale: Literal["paper", "mini", "smoke"]
    seed: int
    data: Dataset
    model: StackConfig
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    must_beat_chance: bool = False


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How a run is carried out; it does not change what is computed, so it is not hashed.

    logger: where curves go besides metrics.csv, which is always written.
    workers: loader processes.
    accelerator: ``auto`` takes a GPU where there is one.
    devices: GPUs on each node, or parts of a CPU. Each has a process, and the processes share each batch equally.
    nodes: machines; more than one under srun.
    checkpoint_minutes: how often a long epoch is saved in its middle.
    """

    logger: Literal["csv", "wandb"] = "csv"
    workers: int = 0
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    nodes: int = 1
    checkpoint_minutes: float = 15.0

    def __post_init__(self) -> None:
        for name in ("devices", "nodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")

    @property
    def processes(self) -> int:
        """All processes of a run."""
        return self.devices * self.nodes
