"""Typed, frozen configurations of the models: the one source of every default. Does not import torch.

The classes are flat by inheritance, so that a command line says ``model.d_state=16``: a kernel's
options are in :class:`KernelConfig`, a layer's in :class:`LayerConfig`, those of the residual stack
around any layer in :class:`StackConfig`, and a model's class joins what it needs.
Bad values and combinations that are not supported raise a ValueError at construction.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from ssm_models.layers.base import SequenceLayer
    from ssm_models.model import SequenceModel


@dataclass(frozen=True, kw_only=True)
class Interface:
    """What a task feeds to a model and wants back from it.

    tokens: the input is integers (B, L) below ``d_input``; otherwise it is real, (B, L, d_input).
    d_input: vocabulary size, or channels of a real signal.
    d_output: numbers the model gives for each example (classes).
    l_max: longest sequence.
    pair: two sequences an example (retrieval): the input is (2B, L), all first members before all second.
    """

    tokens: bool
    d_input: int
    d_output: int
    l_max: int
    pair: bool = False


Transform = Literal["exp", "softplus", "relu", "sigmoid", "none"]
Activation = Literal["gelu", "relu", "silu", "tanh", "sigmoid", "glu", "none"]


@dataclass(frozen=True, kw_only=True)
class KernelConfig:
    """A state space kernel.

    kernel: ``diagonal`` (S4D, DSS), ``dplr`` (S4), ``dense`` (LSSL), ``ema`` (Mega's moving averages) or
        ``free`` (every tap a parameter, ``l_max`` of them).
    d_state: N; conjugate pairs are stored once, in N/2 complex entries.
    init: a name of :mod:`ssm_core.initialize`; for ``dense`` a measure of :mod:`ssm_core.hippo`.
    disc: discretisation; ``dss`` is the softmax kernel of DSS; ``dplr`` has only ``bilinear``.
    is_real: N real modes instead of N/2 conjugate pairs (diagonal only; init ``diag-real``).
    n_ssm: independent copies of (A, B, P), each shared by d_model / n_ssm features; None: one a feature.
    rank: rank of the low-rank part of ``dplr``.
    dt_min, dt_max: range of the initial step sizes, log-uniform.
    dt_tie: one step size a feature; otherwise one for each feature and state.
    share_channels: the channels of ``ema`` share their averages.
    dt_transform, real_transform, imag_transform: the function of the parameter that gives dt, -Re A, -Im A.
    dt_fast: the parameter of dt passes through sinh first, which makes large changes cheap.
    bandlimit: modes of a frequency at or above half this share of rate 1's sampling rate are silenced.
    deterministic: evenly spaced step sizes and C = the first basis vector.
    l_kernel: length to which C of ``dplr`` is tied (the parameter is then C (I - A_bar^l_kernel)), and the
        length of the softmax of ``dss``. None: C itself; the softmax takes the length of each call.
        A model sets it to the task's longest sequence.
    l_max: the kernel is cut at this length; None: it is as long as the sequence.
    lr: learning rates of A (with P), B, C, dt; those not named take the run's. 0 freezes a parameter.
    wd: weight decays, likewise.
    real_random ... normalize: see :func:`ssm_core.initialize.ssm`.
    """

    kernel: Literal["diagonal", "dplr", "dense", "ema", "free"] = "dplr"
    d_state: int = 64
    init: str = "legs"
    disc: Literal["zoh", "bilinear", "dss"] = "bilinear"
    is_real: bool = False
    n_ssm: int | None = None
    rank: int = 1
    dt_min: float = 0.001
    dt_max: float = 0.1
    dt_tie: bool = True
    share_channels: bool = False
    dt_transform: Transform = "exp"
    dt_fast: bool = False
    real_transform: Transform = "exp"
    imag_transform: Transform = "none"
    bandlimit: float | None = None
    deterministic: bool = False
    l_kernel: int | None = None
    l_max: int | None = None
    lr: dict[Literal["A", "B", "C", "dt"], float] = field(default_factory=lambda: {"A": 0.001, "B": 0.001, "dt": 0.001})
    wd: dict[Literal["A", "B", "C", "dt"], float] = field(default_factory=lambda: {"A": 0.0, "B": 0.0, "dt": 0.0})
    real_random: bool = False
    real_scale: float = 1.0
    imag_random: bool = False
    imag_scale: float = 1.0
    B_init: Literal["constant", "random", "alternating", "unit-cw", "unit-ccw", "hippo"] | None = None
    B_scale: float = 1.0
    B_clip: float | None = 2.0
    P_scale: float = 1.0
    normalize: bool = False

    def __post_init__(self) -> None:
        require_choices(self)
        require(self.d_state >= 2, f"d_state is the size of a state, at least 2, not {self.d_state}.")
        require(
            self.is_real or self.d_state % 2 == 0 or self.kernel not in ("diagonal", "dplr"),
            f"d_state counts both members of conjugate pairs, so it is even, not {self.d_state}.",
        )
        require(self.rank >= 1, f"rank is at least 1, not {self.rank}.")
        require(
            0 < self.dt_min <= self.dt_max,
            f"Step sizes need 0 < dt_min <= dt_max, not {self.dt_min} and {self.dt_max}.",
        )
        for name in ("n_ssm", "l_kernel", "l_max"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} is at least 1 or null, not {value}.")
        require(
            self.bandlimit is None or self.bandlimit > 0,
            f"bandlimit is a positive share of the sampling rate or null, not {self.bandlimit}.",
        )
        for name in ("lr", "wd"):
            for key, value in getattr(self, name).items():
                require(key in ("A", "B", "C", "dt"), f"{name} has entries for A, B, C and dt, not for {key!r}.")
                require(value >= 0, f"{name}.{key} is not negative, so it cannot be {value}.")
        defaults = {each.name: each.default for each in fields(KernelConfig)}
        for name in _NO_MEANING[self.kernel]:
            value = getattr(self, name)
            require(
                value == defaults[name],
                f"{name} has no meaning for kernel={self.kernel}; leave it out instead of {value}.",
            )
        if self.kernel == "free":
            require(self.l_max is not None, "kernel=free has l_max taps; set l_max.")
        if self.kernel in ("ema", "free"):
            return
        if self.kernel == "dense":
            require(self.disc != "dss", "disc=dss is a diagonal kernel's; set kernel=diagonal.")
        if self.kernel == "dplr":
            require(
                self.disc == "bilinear",
                f"The dplr kernel has only disc=bilinear; disc={self.disc} needs kernel=diagonal.",
            )
        if self.is_real:
            require(
                self.init == "diag-real",
                f"A real diagonal state starts from init=diag-real; {self.init} has imaginary parts.",
            )
            require(self.bandlimit is None, "A real state has no frequencies: bandlimit needs is_real=false.")
            require(self.disc != "dss", "disc=dss is a complex kernel; set is_real=false.")


_DIAGONAL_INIT = ("real_random", "real_scale", "imag_random", "imag_scale", "B_init", "B_scale", "normalize")
_COMPLEX_MODES = ("is_real", "real_transform", "imag_transform", "bandlimit", "dt_fast", "B_clip", "P_scale", "rank")
_SYSTEM = (*_DIAGONAL_INIT, *_COMPLEX_MODES, "l_kernel", "n_ssm", "deterministic", "dt_transform")
_NO_MEANING: dict[str, tuple[str, ...]] = {
    "diagonal": ("rank", "P_scale", "share_channels"),
    "dplr": ("is_real", "share_channels"),
    "dense": (*_DIAGONAL_INIT, *_COMPLEX_MODES, "dt_tie", "l_kernel", "share_channels"),
    "ema": _SYSTEM,
    "free": (*_SYSTEM, "dt_tie", "share_channels"),
}


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
    trank: tensor rank; the kernel is a sum of so many outer products.
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
        return KernelConfig(**{**options, "l_kernel": None if self.size is None else self.size[i]})


@dataclass(frozen=True, kw_only=True)
class HiPPORNNLayerConfig:
    """The HiPPO-RNN.

    measure: of the memory.
    memory_size: signals that are memorised.
    memory_order: N, coefficients for each.
    gate: a gate decides how much of the hidden state is renewed.
    dt: step size of ``legt`` and ``lagt``, in units of their time scale.
    l_max: samples after which ``legs`` stops to stretch its time scale.
    """

    measure: Literal["legs", "legt", "lagt"] = "legs"
    memory_size: int = 1
    memory_order: int = 64
    gate: bool = True
    dt: float = 0.01
    l_max: int = 1024

    def __post_init__(self) -> None:
        require_choices(self)
        for name in ("memory_size", "memory_order", "l_max"):
            require(getattr(self, name) >= 1, f"{name} is at least 1, not {getattr(self, name)}.")
        require(self.dt > 0, f"dt is positive, not {self.dt}.")


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


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """The residual stack around any layer, with its encoder and decoder.

    norm: ``batch`` normalises over batch and length, ``layer`` over features.
    prenorm: normalise before each layer (and once more at the end) instead of after its residual sum.
    dropout, tie_dropout: in the layer and in the residual branch; tied: one mask for the whole length.
    decoder: mean over the sequence, or its last element.
    """

    n_layers: int = 4
    d_model: int = 128
    norm: Literal["layer", "batch", "none"] = "layer"
    prenorm: bool = False
    dropout: float = 0.0
    tie_dropout: bool = True
    decoder: Literal["pool", "last"] = "pool"

    def __post_init__(self) -> None:
        require_choices(self)
        require(self.n_layers >= 1, f"n_layers is at least 1, not {self.n_layers}.")
        require(self.d_model >= 1, f"d_model is at least 1, not {self.d_model}.")
        require_share("dropout", self.dropout)

    def build(self, io: Interface) -> SequenceModel:
        """The model: ``forward(x, lengths=None) -> (B, d_output)``."""
        from ssm_models.model import SequenceModel

        return SequenceModel(self, io)

    def build_layer(self, l_max: int) -> SequenceLayer:
        """One layer of the stack, for sequences up to ``l_max``."""
        raise TypeError("StackConfig has no layer; build one of its subclasses.")


@dataclass(frozen=True, kw_only=True)
class S4Config(StackConfig, LayerConfig):
    """A stack of S4 layers: S4, S4D, DSS and their variants."""

    def __post_init__(self) -> None:
        StackConfig.__post_init__(self)
        LayerConfig.__post_init__(self)
        require_divisible("d_model", self.d_model, "bottleneck", self.bottleneck)
        require_divisible("d_model", self.d_model // (self.bottleneck or 1), "n_ssm", self.n_ssm)

    def build_layer(self, l_max: int) -> SequenceLayer:
        from ssm_models.layers.s4 import S4Layer

        tied = self.kernel == "dplr" or self.disc == "dss"
        config = replace(self, l_kernel=l_max) if tied and self.l_kernel is None else self
        return S4Layer(self.d_model, config)


@dataclass(frozen=True, kw_only=True)
class HiPPORNNConfig(StackConfig, HiPPORNNLayerConfig):
    """A stack of HiPPO-RNNs."""

    def __post_init__(self) -> None:
        StackConfig.__post_init__(self)
        HiPPORNNLayerConfig.__post_init__(self)

    def build_layer(self, l_max: int) -> SequenceLayer:
        from ssm_models.layers.hippo_rnn import HiPPORNNLayer

        return HiPPORNNLayer(self.d_model, self)


@dataclass(frozen=True, kw_only=True)
class S5Config(StackConfig, S5LayerConfig):
    """A stack of S5 layers."""

    def __post_init__(self) -> None:
        StackConfig.__post_init__(self)
        S5LayerConfig.__post_init__(self)

    def build_layer(self, l_max: int) -> SequenceLayer:
        from ssm_models.layers.mimo import S5Layer

        return S5Layer(self.d_model, self)


@dataclass(frozen=True, kw_only=True)
class LRUConfig(StackConfig, LRULayerConfig):
    """A stack of linear recurrent units."""

    def __post_init__(self) -> None:
        StackConfig.__post_init__(self)
        LRULayerConfig.__post_init__(self)

    def build_layer(self, l_max: int) -> SequenceLayer:
        from ssm_models.layers.mimo import LRULayer

        return LRULayer(self.d_model, self)


@dataclass(frozen=True, kw_only=True)
class CustomConfig(StackConfig):
    """A stack of a layer of the user's own.

    path: ``file.py:Class``. The class is constructed as ``Class(d_model, **args)``; its ``forward`` maps
        (B, L, d_model) to the same shape, or returns a pair of which that is the first member.
    args: keyword arguments of its constructor.
    """

    path: str
    args: dict[str, Any] = field(default_factory=dict)

    def build_layer(self, l_max: int) -> SequenceLayer:
        from ssm_models.layers.custom import CustomLayer

        return CustomLayer(self.d_model, self)


def require(condition: bool, message: str) -> None:
    """Refuse a configuration with a sentence."""
    if not condition:
        raise ValueError(message)


def require_choices(config: Any) -> None:
    """Refuse a value outside the list that a field's type gives."""
    for name, choices in _choices(config.__class__).items():
        value = getattr(config, name)
        require(value in choices, f"{name} is one of {', '.join(map(str, choices))}, not {value!r}.")


@cache
def _choices(cls: type) -> dict[str, tuple[Any, ...]]:
    """The values of the fields whose type is a Literal, None included where it is allowed."""
    found = {}
    for name, hint in get_type_hints(cls).items():
        literals = [each for each in (hint, *get_args(hint)) if get_origin(each) is Literal]
        if literals and get_origin(hint) is not dict:
            found[name] = get_args(literals[0]) + ((None,) if NoneType in get_args(hint) else ())
    return found


def require_share(name: str, value: float) -> None:
    require(0 <= value < 1, f"{name} is a share from 0 to below 1, not {value}.")


def require_divisible(name: str, value: int, divisor_name: str, divisor: int | None) -> None:
    require(
        divisor is None or value % divisor == 0,
        f"{divisor_name} must divide {name}: {value} is no multiple of {divisor}.",
    )
