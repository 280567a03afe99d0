"""Options of the S5 layer."""

from dataclasses import dataclass
from typing import ClassVar

from ssm_models.config.checks import Count, NonNegative, Positive, Share, require, require_steps
from ssm_models.config.layer import LayerConfig


@dataclass(frozen=True, kw_only=True)
class S5LayerConfig(LayerConfig):
    """The S5 layer.

    d_state: N, one state for all features; conjugate pairs are stored once.
    blocks: A starts as so many smaller LegS matrices; d_state must divide into as many even parts.
    dt_min, dt_max: range of the initial step sizes, which are log-uniform in it.
    bidirectional: a second read-out of a scan from the end; such a layer cannot step.
    lr: learning rate of A, B and the step sizes; null: the run's.
    dropout, tie_dropout: dropout of features; tied: one mask for the whole length.
    """

    layer_class: ClassVar[str] = "ssm_models.layers.s5:S5Layer"

    d_state: Count = 64
    blocks: Count = 1
    dt_min: Positive = 0.001
    dt_max: Positive = 0.1
    bidirectional: bool = False
    lr: NonNegative | None = 0.001
    dropout: Share = 0.0
    tie_dropout: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.d_state % (2 * self.blocks) == 0,
            f"d_state must divide into even parts: {self.d_state} cannot make {self.blocks} blocks.",
        )
        require_steps(self.dt_min, self.dt_max)
