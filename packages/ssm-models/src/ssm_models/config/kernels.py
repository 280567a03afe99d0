"""Options of the SSM kernels: one class for each kernel, with the options that have a meaning for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import ceil
from typing import Any, ClassVar, Literal, Self

from ssm_models.config.checks import Config, Count, NonNegative, Positive, require, require_divisible, require_steps

#: The name of a function of a parameter, see :mod:`ssm_models.parameters`.
Transform = Literal["exp", "softplus", "relu", "sigmoid", "none"]
#: The parameters of a kernel that can have a learning rate and a weight decay of their own.
Group = Literal["A", "B", "C", "dt"]

#: HiPPO measures with a low-rank correction, and their aliases.
MEASURES = ("legs", "legsd", "legt", "lagt", "fourier", "fourier_decay", "fourier_diag", "fourier2", "fout", "foud")
#: HiPPO measures without a low-rank correction. Only a dense matrix can start from them.
DENSE_MEASURES = ("lmu", "tlagt", "glagt")
#: Mixtures: different copies start from different initialisations.
COMBINATIONS = ("hippo", "diag", "all")
#: Diagonal initialisations without (``diag-``) and with (``dplr-``) a random low-rank part, and their aliases.
DIAGONALS = tuple(
    f"{family}-{name}"
    for family in ("diag", "dplr")
    for name in (
        *("lin", "inv", "inv2", "quad", "legs", "real", "rand"),
        *("linear", "inverse", "inverse2", "quadratic", "hippo", "random"),
    )
)
#: Options that only a diagonal initialisation has.
DIAGONAL_OPTIONS = ("real_random", "real_scale", "imag_random", "imag_scale", "B_init", "B_scale", "normalize")


def is_diagonal(init: str) -> bool:
    """Return whether an initialisation is one of the diagonals or includes one; these have options of their own."""
    return init.startswith(("diag-", "dplr-")) or init in ("diag", "all")


@dataclass(frozen=True, kw_only=True)
class KernelConfig(Config):
    """Base of the configurations of kernels.

    l_max: the kernel is cut at this length; null: it is as long as the sequence.
    lr: learning rates of A (with P), B, C and dt; by default, the learning rate of the run. 0 freezes a parameter.
    wd: weight decays of the same parameters.
    """

    #: The value of the option ``kernel`` for this kernel.
    name: ClassVar[str]
    #: The class of the kernel, as ``module:Class``.
    kernel_class: ClassVar[str]

    l_max: Count | None = None
    lr: dict[Group, NonNegative] = field(default_factory=lambda: {"A": 0.001, "B": 0.001, "dt": 0.001})
    wd: dict[Group, NonNegative] = field(default_factory=lambda: {"A": 0.0, "B": 0.0, "dt": 0.0})

    def __post_init__(self) -> None:
        super().__post_init__()
        defaults = {each.name: each.default for each in fields(self)}
        for name, reason in self.without_meaning(vars(self)).items():
            value = getattr(self, name)
            # A preset of the zoo may have set the option, so the message names the value that turns it off.
            words = ["null" if each is None else each for each in (value, defaults[name])]
            message = (
                f"{name} has no meaning for {reason}; leave it out, or set {name}={words[1]} instead of {words[0]}."
            )
            require(value == defaults[name], message)

    @classmethod
    def without_meaning(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """Return the options that have no effect because of another option, each with that other option.

        Args:
            options: values of some options of this class; the others have their defaults.
        """
        return {}

    @property
    def has_length(self) -> bool:
        """Whether the parameters or the kernel depend on a length, ``l_kernel``."""
        return False

    def for_length(self, length: int) -> Self:
        """Return the same kernel for sequences up to a length."""
        return self

    def for_scale(self, factor: int) -> Self:
        """Return the same kernel for sequences that are shorter by a factor."""
        return self

    def check_width(self, d_model: int) -> None:
        """Raise an error if the number of features does not fit the options.

        Raises:
            ValueError: the width does not fit; the sentence gives the option.
        """


@dataclass(frozen=True, kw_only=True)
class SystemConfig(KernelConfig):
    """Base of the kernels of a continuous state space model, which is discretised.

    d_state: N; conjugate pairs are stored once, in N/2 complex entries.
    init: a name of :mod:`ssm_core.initialize`.
    n_ssm: independent copies of (A, B, P), each shared by d_model / n_ssm features; null: one for each feature.
    dt_min, dt_max: range of the initial step sizes, which are log-uniform in it.
    dt_transform: the function that maps the parameter to dt.
    deterministic: initial step sizes are evenly spaced, and C starts as the first basis vector.
    real_random ... normalize: see :func:`ssm_core.initialize.ssm`.
    """

    #: The initialisations that this kernel can start from.
    inits: ClassVar[tuple[str, ...]] = (*MEASURES, *COMBINATIONS, *DIAGONALS)

    d_state: Count = 64
    init: str = "legs"
    n_ssm: Count | None = None
    dt_min: Positive = 0.001
    dt_max: Positive = 0.1
    dt_transform: Transform = "exp"
    deterministic: bool = False
    real_random: bool = False
    real_scale: Positive = 1.0
    imag_random: bool = False
    imag_scale: NonNegative = 1.0
    B_init: Literal["constant", "random", "alternating", "unit-cw", "unit-ccw", "hippo"] | None = None
    B_scale: Positive = 1.0
    B_clip: NonNegative | None = 2.0
    normalize: bool = False

    def __post_init__(self) -> None:
        require(
            self.init in self.inits,
            f"init of kernel={self.name} is one of {', '.join(self.inits)}, not {self.init!r}.",
        )
        super().__post_init__()
        require(self.d_state >= 2, f"d_state is the size of a state, at least 2, not {self.d_state}.")
        require_steps(self.dt_min, self.dt_max)

    @classmethod
    def without_meaning(cls, options: Mapping[str, Any]) -> dict[str, str]:
        init = options.get("init", cls.init)
        found: dict[str, str] = {}
        if not is_diagonal(init):
            found |= dict.fromkeys(DIAGONAL_OPTIONS, f"init={init}")
        if init.rpartition("-")[2] in ("real", "legs", "hippo", "rand", "random"):
            found["imag_random"] = f"init={init}"
        if init.endswith("-real"):
            found["imag_scale"] = f"init={init}"
        if init.startswith(("diag-", "dplr-")) or init == "diag":
            found["B_clip"] = f"init={init}"
        return found

    def check_width(self, d_model: int) -> None:
        require_divisible("d_model", d_model, "n_ssm", self.n_ssm)


@dataclass(frozen=True, kw_only=True)
class ModalConfig(SystemConfig):
    """Base of the kernels whose state matrix is given by its modes, the diagonal Lambda.

    dt_tie: one step size for each feature; otherwise one for each feature and mode.
    dt_fast: sinh is applied to the parameter of dt before ``dt_transform``, so that one update can change dt more.
    real_transform, imag_transform: the functions that map the parameters to -Re A and -Im A.
    bandlimit: modes with a frequency of at least ``bandlimit / 2`` cycles per sample at rate 1 are set to zero.
    l_kernel: the length on which parameters or the kernel depend. A model sets it to the longest sequence of the task.
    """

    dt_tie: bool = True
    dt_fast: bool = False
    real_transform: Transform = "exp"
    imag_transform: Transform = "none"
    bandlimit: Positive | None = None
    l_kernel: Count | None = None

    @classmethod
    def without_meaning(cls, options: Mapping[str, Any]) -> dict[str, str]:
        found, init = super().without_meaning(options), options.get("init", cls.init)
        return found | ({"bandlimit": f"init={init}"} if init.endswith("-real") else {})

    def for_length(self, length: int) -> Self:
        return replace(self, l_kernel=length) if self.has_length and self.l_kernel is None else self

    def for_scale(self, factor: int) -> Self:
        return self if self.l_kernel is None else replace(self, l_kernel=ceil(self.l_kernel / factor))

    def _require_even(self) -> None:
        require(
            self.d_state % 2 == 0,
            f"d_state counts both members of conjugate pairs, so it is even, not {self.d_state}.",
        )


@dataclass(frozen=True, kw_only=True)
class DiagonalConfig(ModalConfig):
    """A diagonal state matrix: S4D, DSS.

    disc: discretisation; ``dss`` is the softmax kernel of DSS.
    is_real: N real modes instead of N/2 conjugate pairs; init must be ``diag-real``.
    l_kernel: length of the softmax of ``dss``; null: the length of each call.
    """

    name: ClassVar[str] = "diagonal"
    kernel_class: ClassVar[str] = "ssm_models.kernels.diagonal:DiagonalKernel"

    disc: Literal["zoh", "bilinear", "dss"] = "bilinear"
    is_real: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.is_real:
            self._require_even()
            return
        require(
            self.init == "diag-real",
            f"A real diagonal state starts from init=diag-real; {self.init} has imaginary parts.",
        )
        require(self.disc != "dss", "disc=dss is a complex kernel; set is_real=false.")

    @classmethod
    def without_meaning(cls, options: Mapping[str, Any]) -> dict[str, str]:
        found, disc = super().without_meaning(options), options.get("disc", cls.disc)
        if disc != "dss":
            found["l_kernel"] = f"kernel=diagonal, disc={disc}"
        if options.get("is_real", cls.is_real):
            found["imag_transform"] = "is_real=true"
        return found

    @property
    def has_length(self) -> bool:
        return self.disc == "dss"


@dataclass(frozen=True, kw_only=True)
class DPLRConfig(ModalConfig):
    """A diagonal plus low-rank state matrix under the bilinear rule: S4.

    rank: R, the rank of the low-rank part.
    P_scale: factor of the random low-rank part of the initialisations ``dplr-...``.
    l_kernel: length to which C is tied: the parameter is then C (I - A_bar^l_kernel). null: the parameter is C.
    """

    name: ClassVar[str] = "dplr"
    kernel_class: ClassVar[str] = "ssm_models.kernels.dplr:DPLRKernel"

    rank: Count = 1
    P_scale: NonNegative = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_even()

    @classmethod
    def without_meaning(cls, options: Mapping[str, Any]) -> dict[str, str]:
        found, init = super().without_meaning(options), options.get("init", cls.init)
        return found | ({} if init.startswith("dplr-") else {"P_scale": f"init={init}"})

    @property
    def has_length(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class DenseConfig(SystemConfig):
    """A dense state matrix: LSSL.

    init: a measure of :mod:`ssm_core.hippo`, or a name of :mod:`ssm_core.initialize`.
    disc: discretisation.
    rank, P_scale: rank and factor of the random low-rank part of the initialisations ``dplr-...``.
    """

    name: ClassVar[str] = "dense"
    kernel_class: ClassVar[str] = "ssm_models.kernels.dense:DenseKernel"
    inits: ClassVar[tuple[str, ...]] = (*SystemConfig.inits, *DENSE_MEASURES)

    disc: Literal["zoh", "bilinear"] = "bilinear"
    rank: Count = 1
    P_scale: NonNegative = 1.0

    @classmethod
    def without_meaning(cls, options: Mapping[str, Any]) -> dict[str, str]:
        found, init = super().without_meaning(options), options.get("init", cls.init)
        if not init.startswith("dplr-"):
            found |= dict.fromkeys(("rank", "P_scale"), f"kernel=dense, init={init}")
        if init not in ("hippo", "all"):
            found["B_clip"] = f"kernel=dense, init={init}"
        return found


@dataclass(frozen=True, kw_only=True)
class EMAConfig(KernelConfig):
    """Exponential moving averages, as in Mega.

    d_state: N, number of averages for each feature.
    dt_tie: the averages of a feature share the weight p of a new input.
    share_channels: the channels of a feature share their averages.
    lr, wd: A stands for alpha, B for beta, C for gamma, dt for p.
    """

    name: ClassVar[str] = "ema"
    kernel_class: ClassVar[str] = "ssm_models.kernels.ema:EMAKernel"

    d_state: Count = 64
    dt_tie: bool = True
    share_channels: bool = False


@dataclass(frozen=True, kw_only=True)
class FreeConfig(KernelConfig):
    """A kernel of free taps.

    l_max: number of taps.
    lr, wd: C stands for the taps.
    """

    name: ClassVar[str] = "free"
    kernel_class: ClassVar[str] = "ssm_models.kernels.free:FreeKernel"

    lr: dict[Literal["C"], NonNegative] = field(default_factory=dict)  # type: ignore[assignment]
    wd: dict[Literal["C"], NonNegative] = field(default_factory=dict)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.l_max is not None, "kernel=free has l_max taps; set l_max.")


#: The configurations of kernels by the value of the option ``kernel``.
KERNELS: dict[str, type[KernelConfig]] = {
    each.name: each for each in (DiagonalConfig, DPLRConfig, DenseConfig, EMAConfig, FreeConfig)
}
