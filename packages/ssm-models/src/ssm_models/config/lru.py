"""Options of the linear recurrent unit."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from ssm_models.config.checks import Count, NonNegative, Positive, Range, Share, require
from ssm_models.config.layer import LayerConfig


@dataclass(frozen=True, kw_only=True)
class LRULayerConfig(LayerConfig):
    """The linear recurrent unit.

    d_state: complex entries of the one state for all features.
    r_min, r_max: ring in which the eigenvalues start.
    max_phase: their largest initial phase, in radians.
    bidirectional: a second read-out of a scan from the end; such a layer cannot step.
    lr: learning rate of the eigenvalues and the input normaliser; null: the run's.
    dropout, tie_dropout: dropout of features; tied: one mask for the whole length.
    """

    layer_class: ClassVar[str] = "ssm_models.layers.lru:LRULayer"

    d_state: Count = 64
    r_min: Annotated[float, Range(0, 1)] = 0.0
    r_max: Annotated[float, Range(0, 1)] = 1.0
    max_phase: Positive = 6.283185307179586
    bidirectional: bool = False
    lr: NonNegative | None = 0.001
    dropout: Share = 0.0
    tie_dropout: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.r_min < self.r_max, f"The ring needs r_min < r_max, not {self.r_min} and {self.r_max}.")
