"""Options of the layers."""

from dataclasses import dataclass, fields
from typing import Literal

from ssm_models.config.checks import require, require_choices, require_share
from ssm_models.config.kernel import KernelConfig

Activation = Literal["gelu", "relu", "silu", "tanh", "sigmoid", "glu", "none"]


@dataclass(frozen=True, kw_only=True)
class LayerConfig(KernelConfig):
    """The S4 layer: convolution with a kernel, skip D, nonlinearity, mixing of features.

    bidirectional: a second kernel runs backward; such a layer cannot step.
    channels: kernels (heads) a feature.
    swap_channels: the channels of a feature lie together in the output, instead of the features of a channel.
    activation: after the convolution; ``glu`` doubles the channels and gates one half by the other.
    final_act: after the linear map that mixes features; ``none`` is the map alone, null leaves it out.
    gate: width factor of a multiplicative gate branch, as in Gated State Spaces; null: no gate.
    gate_act, mult_act: activation of the gate branch, and of its product with the layer.
    bottleneck: the convolution runs at d_model / bottleneck features.
    drop_kernel: dropout of the kernel's taps.
    dropout, tie_dropout: dropout of features; tied: one mask for the whole length.
    """

    bidirectional: bool = False
    channels: int = 1
    swap_channels: bool = False
    activation: Activation = "gelu"
    final_act: Activation | None = "glu"
    gate: int | None = None
    gate_act: Activation = "none"
    mult_act: Activation = "none"
    bottleneck: int | None = None
    drop_kernel: float = 0.0
    dropout: float = 0.0
    tie_dropout: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.channels >= 1, f"channels is at least 1, not {self.channels}.")
        require(self.gate is None or self.gate >= 1, f"gate is a width factor of at least 1, not {self.gate}.")
        require(
            self.bottleneck is None or self.bottleneck >= 1,
            f"bottleneck is a factor of at least 1, not {self.bottleneck}.",
        )
        for name in ("drop_kernel", "dropout"):
            require_share(name, getattr(self, name))
        kernels = self.channels * (2 if self.activation == "glu" else 1)
        require(
            kernels > 1 or not self.swap_channels,
            "swap_channels orders the channels of a feature, and there is one; set channels.",
        )
        require(
            kernels > 1 or self.bidirectional or not self.share_channels,
            "share_channels is for several kernels a feature, and there is one; set channels or bidirectional.",
        )
        if self.gate is not None:
            require(
                self.gate_act != "glu" and self.mult_act != "glu",
                "A gate branch keeps its width: gate_act and mult_act cannot be glu.",
            )
        else:
            require(
                self.gate_act == "none" and self.mult_act == "none",
                "gate_act and mult_act act on a gate branch; set gate to have one.",
            )
        if self.gate is not None or self.bottleneck is not None:
            require(
                self.final_act is not None,
                "A gated or bottlenecked layer needs its output map to return to d_model; set final_act.",
            )


@dataclass(frozen=True, kw_only=True)
class S4NDLayerConfig(LayerConfig):
    """The S4ND layer: one kernel for each axis.

    dim: number of axes.
    trank: tensor rank: the kernel is the mean of so many outer products.
    size: the data's extent along each axis, where the kernels end; null: they are as long as the input.
    """

    dim: int = 2
    trank: int = 1
    size: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.dim >= 1, f"dim is the number of axes, at least 1, not {self.dim}.")
        require(self.trank >= 1, f"trank is at least 1, not {self.trank}.")
        require(
            self.size is None or len(self.size) == self.dim,
            f"size has one extent for each of the {self.dim} axes, not {self.size}.",
        )
        require(self.l_max is None, "The kernels of S4ND end at size, by axis; l_max is for one axis.")
        require(self.l_kernel is None, "C is tied to size, by axis; l_kernel is for one axis.")
        require(self.gate is None and self.bottleneck is None, "S4ND has no gate and no bottleneck; leave them out.")
        require(not self.swap_channels, "S4ND keeps the features of a channel together; leave swap_channels out.")

    def axis(self, i: int) -> KernelConfig:
        """The kernel's configuration along axis i."""
        options = {each.name: getattr(self, each.name) for each in fields(KernelConfig)}
        l_kernel = self.size[i] if self.size is not None and self.has_length else None
        return KernelConfig(**{**options, "l_kernel": l_kernel})


@dataclass(frozen=True, kw_only=True)
class HiPPORNNLayerConfig:
    """The HiPPO-RNN.

    measure: of the memory.
    memory_size: signals that are memorised.
    memory_order: N, coefficients for each.
    gate: how the hidden state is renewed: a single gate (``gru``), the three gates and the cell of an LSTM, or whole.
    dt: step size of ``legt`` and ``lagt``, in units of their time scale.
    l_max: samples after which ``legs`` stops to stretch its time scale.
    """

    measure: Literal["legs", "legt", "lagt"] = "legs"
    memory_size: int = 1
    memory_order: int = 64
    gate: Literal["none", "gru", "lstm"] = "gru"
    dt: float = 0.01
    l_max: int = 1024

    def __post_init__(self) -> None:
        require_choices(self)
        for name in ("memory_size", "memory_order", "l_max"):
            require(getattr(self, name) >= 1, f"{name} is at least 1, not {getattr(self, name)}.")
        require(self.dt > 0, f"dt is positive, not {self.dt}.")
        unused = "dt" if self.measure == "legs" else "l_max"
        require(
            getattr(self, unused) == getattr(HiPPORNNLayerConfig, unused),
            f"{unused} has no meaning for measure={self.measure}; leave it out.",
        )


@dataclass(frozen=True, kw_only=True)
class S5LayerConfig:
    """The S5 layer.

    d_state: N, one state for all features; conjugate pairs are stored once.
    blocks: A starts as so many smaller LegS matrices; divides d_state into even parts.
    dt_min, dt_max: range of the initial step sizes, log-uniform.
    bidirectional: a second read-out of a scan from the end; such a layer cannot step.
    lr: learning rate of A, B and the step sizes; null: the run's.
    """

    d_state: int = 64
    blocks: int = 1
    dt_min: float = 0.001
    dt_max: float = 0.1
    bidirectional: bool = False
    lr: float | None = 0.001
    dropout: float = 0.0
    tie_dropout: bool = True

    def __post_init__(self) -> None:
        require(
            self.blocks >= 1 and self.d_state % (2 * self.blocks) == 0 and self.d_state > 0,
            f"d_state must divide into even parts: {self.d_state} cannot make {self.blocks} blocks.",
        )
        require(
            0 < self.dt_min <= self.dt_max,
            f"Step sizes need 0 < dt_min <= dt_max, not {self.dt_min} and {self.dt_max}.",
        )
        require_share("dropout", self.dropout)


@dataclass(frozen=True, kw_only=True)
class LRULayerConfig:
    """The linear recurrent unit.

    d_state: complex entries of the one state for all features.
    r_min, r_max: ring in which the eigenvalues start.
    max_phase: their largest initial phase, in radians.
    bidirectional: a second read-out of a scan from the end; such a layer cannot step.
    lr: learning rate of the eigenvalues and the input normaliser; null: the run's.
    """

    d_state: int = 64
    r_min: float = 0.0
    r_max: float = 1.0
    max_phase: float = 6.283185307179586
    bidirectional: bool = False
    lr: float | None = 0.001
    dropout: float = 0.0
    tie_dropout: bool = True

    def __post_init__(self) -> None:
        require(self.d_state >= 1, f"d_state is at least 1, not {self.d_state}.")
        require(
            0 <= self.r_min < self.r_max <= 1,
            f"The ring needs 0 <= r_min < r_max <= 1, not {self.r_min} and {self.r_max}.",
        )
        require(self.max_phase > 0, f"max_phase is positive, not {self.max_phase}.")
        require_share("dropout", self.dropout)
