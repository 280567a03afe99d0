"""Options of the kernels."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Literal

from ssm_models.config.checks import require, require_choices

Transform = Literal["exp", "softplus", "relu", "sigmoid", "none"]


@dataclass(frozen=True, kw_only=True)
class KernelConfig:
    """A state space kernel.

    kernel: ``diagonal`` (S4D, DSS), ``dplr`` (S4), ``dense`` (LSSL), ``ema`` (Mega's moving averages) or
        ``free`` (every tap a parameter, ``l_max`` of them).
    d_state: N; conjugate pairs are stored once, in N/2 complex entries.
    init: a name of :mod:`ssm_core.initialize`; ``dense`` takes every measure of :mod:`ssm_core.hippo` too.
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
        for name, where in without_meaning(self.kernel, self.init, self.disc, is_real=self.is_real).items():
            value = getattr(self, name)
            require(value == defaults[name], f"{name} has no meaning for {where}; leave it out instead of {value}.")
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
            require(self.disc != "dss", "disc=dss is a complex kernel; set is_real=false.")

    @property
    def has_length(self) -> bool:
        """Whether parameters or the kernel belong to a length, ``l_kernel``."""
        return _has_length(self.kernel, self.disc)


def without_meaning(kernel: str, init: str, disc: str, *, is_real: bool) -> dict[str, str]:
    """The options that could have no effect in a combination of these four, each with what makes it so."""
    found = dict.fromkeys(_NO_MEANING[kernel], f"kernel={kernel}")
    if kernel in ("ema", "free"):
        return found
    for names, has_meaning in _BY_INIT:
        if not has_meaning(init):
            found |= dict.fromkeys(names, f"init={init}")
    if not _has_length(kernel, disc):
        found["l_kernel"] = f"kernel={kernel}, disc={disc}"
    if kernel == "dense" and not init.startswith("dplr-"):
        found["rank"] = f"kernel=dense, init={init}"
    if kernel == "dense" and init not in ("hippo", "all"):
        found["B_clip"] = f"kernel=dense, init={init}"
    if is_real:
        found["imag_transform"] = "is_real=true"
    return found


def _has_length(kernel: str, disc: str) -> bool:
    return kernel == "dplr" or disc == "dss"


def is_diagonal(init: str) -> bool:
    """Whether a part of the initialisation is one of the diagonals with options of their own."""
    return init.startswith(("diag-", "dplr-")) or init in ("diag", "all")


DIAGONAL_INIT = ("real_random", "real_scale", "imag_random", "imag_scale", "B_init", "B_scale", "normalize")
_BY_INIT: tuple[tuple[tuple[str, ...], Callable[[str], bool]], ...] = (
    (DIAGONAL_INIT, is_diagonal),
    (("imag_random",), lambda init: init.rpartition("-")[2] not in ("real", "legs", "hippo", "rand", "random")),
    (("imag_scale", "bandlimit"), lambda init: not init.endswith("-real")),
    (("B_clip",), lambda init: not init.startswith(("diag-", "dplr-")) and init != "diag"),
    (("P_scale",), lambda init: init.startswith("dplr-")),
)
_SYSTEM = (
    *DIAGONAL_INIT,
    *("is_real", "real_transform", "imag_transform", "bandlimit", "dt_fast", "B_clip", "P_scale", "rank", "l_kernel"),
    *("n_ssm", "deterministic", "dt_transform", "dt_min", "dt_max", "init", "disc"),
)
_NO_MEANING: dict[str, tuple[str, ...]] = {
    "diagonal": ("rank", "P_scale", "share_channels"),
    "dplr": ("is_real", "share_channels"),
    "dense": ("is_real", "real_transform", "imag_transform", "bandlimit", "dt_fast", "dt_tie", "share_channels"),
    "ema": _SYSTEM,
    "free": (*_SYSTEM, "dt_tie", "share_channels", "d_state"),
}
