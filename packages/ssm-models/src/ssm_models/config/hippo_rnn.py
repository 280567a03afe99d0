"""Options of the HiPPO-RNN."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ssm_models.config.checks import Count, Positive, require
from ssm_models.config.layer import LayerConfig


@dataclass(frozen=True, kw_only=True)
class HiPPORNNLayerConfig(LayerConfig):
    """The HiPPO-RNN.

    measure: HiPPO measure of the memory.
    memory_size: number of memorised signals.
    memory_order: N, number of coefficients for each signal.
    gate: how the hidden state is updated: with one gate (``gru``), with the three gates and the cell of an LSTM
        (``lstm``), or without a gate (``none``).
    dt: step size of ``legt`` and ``lagt``, in units of their time scale.
    l_max: the time scale of ``legs`` grows up to this number of samples.
    """

    layer_class: ClassVar[str] = "ssm_models.layers.hippo_rnn:HiPPORNNLayer"

    measure: Literal["legs", "legt", "lagt"] = "legs"
    memory_size: Count = 1
    memory_order: Count = 64
    gate: Literal["none", "gru", "lstm"] = "gru"
    dt: Positive = 0.01
    l_max: Count = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        unused = "dt" if self.measure == "legs" else "l_max"
        require(
            getattr(self, unused) == getattr(HiPPORNNLayerConfig, unused),
            f"{unused} has no meaning for measure={self.measure}; leave it out.",
        )
