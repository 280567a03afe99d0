"""Options of the S5 layer."""

from dataclasses import dataclass
from typing import ClassVar

from ssm_models.config.checks import Count, NonNegative, Positive, Share, require, require_steps
from ssm_models.config.layer import LayerConfig


@dataclass(frozen=True, kw_only=True)
class S5LayerConfig(LayerConfig):
    """The S5 layer.

    d_state: N, size of the state, which all features share; conjugate pairs are stored once.
    blocks: number of smaller LegS matrices from which A starts; d_state must be a multiple of 2 * blocks.
    dt_min, dt_max: range of the initial step sizes, which are log-uniform in it.
    bidirectional: a second scan runs from the end, with its own C; such a layer cannot step.
    lr: learning rate of A, B and the step sizes; null: the learning rate of the run.
    dropout, tie_dropout: dropout probability of features, and whether all positions share one mask.
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
