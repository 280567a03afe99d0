"""Options of the linear recurrent unit."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from ssm_models.config.checks import Count, NonNegative, Positive, Range, Share, require
from ssm_models.config.layer import LayerConfig


@dataclass(frozen=True, kw_only=True)
class LRULayerConfig(LayerConfig):
    """The linear recurrent unit.

    d_state: number of complex entries of the state, which all features share.
    r_min, r_max: radii of the ring in which the eigenvalues start.
    max_phase: largest initial phase of the eigenvalues, in radians.
    bidirectional: a second scan runs from the end, with its own C; such a layer cannot step.
    lr: learning rate of the eigenvalues and the input normaliser; null: the learning rate of the run.
    dropout, tie_dropout: dropout probability of features, and whether all positions share one mask.
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
