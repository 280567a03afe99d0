"""Conversion of settings and parameters of the reference, the S4 authors' code (state-spaces/s4, version 4)."""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from ssm_models.config import DiagonalConfig, S4LayerConfig, S4NDLayerConfig, SashimiConfig
from ssm_models.config.checks import field_types
from ssm_models.config.flat import layer_from_options
from ssm_models.config.kernels import DIAGONAL_OPTIONS, KERNELS, is_diagonal

Layer = TypeVar("Layer", S4LayerConfig, S4NDLayerConfig)

#: Our kernels by the kernel modes of the reference.
_KERNELS = {
    **dict.fromkeys(("dplr", "nplr", "s4"), "dplr"),
    **dict.fromkeys(("diag", "s4d"), "diagonal"),
    **dict.fromkeys(("dense", "slow", "real"), "dense"),
    "conv": "free",
    "ema": "ema",
}
#: Our names of options by the names of the reference.
_RENAMED = {"measure": "init", "postact": "final_act", "efficient_bidirectional": "share_channels"}
_ACTIVATIONS = {None: "none", "id": "none", "identity": "none", "linear": "none", "swish": "silu"}
#: Settings that do not change the results.
_WITHOUT_EFFECT = {"_name_", "backend", "verbose", "transposed", "layer", "dtype", "diagonalize_precision"}
#: Settings that have no counterpart here, with the only value that is accepted.
_OFF: dict[str, Any] = {"weight_norm": False, "initializer": None, "comp": False, "force_real": False}


def layer_config(settings: Mapping[str, Any], *, l_kernel: int | None = None) -> S4LayerConfig:
    """Return the layer that the settings of ``S4Block`` describe.

    Args:
        settings: values by the names of the reference; an absent setting has the default of the reference's class.
        l_kernel: the length that the C of a DPLR kernel is tied to, the entry ``l_kernel`` of the state dict.

    Raises:
        ValueError: a setting has no counterpart here, or its value is refused.
    """
    options = _options(settings)
    if options["kernel"] == "dplr":
        options["l_kernel"] = l_kernel or None
    return _build(S4LayerConfig, options)


def s4nd_layer_config(settings: Mapping[str, Any]) -> S4NDLayerConfig:
    """Return the layer that the settings of ``S4ND`` describe; see :func:`layer_config`."""
    settings = {"final_act": None, "bidirectional": True, **settings}
    settings.pop("contract_version", None)  # it chooses between two ways to compute the same function
    size = settings.pop("l_max", None)
    dim = int(settings.pop("dim", 2))
    if settings.pop("linear", False):
        settings.update(activation=None, final_act=None)
    options = _options(settings)
    options["dim"] = dim
    options["size"] = None if size is None else tuple(size) if isinstance(size, list | tuple) else (size,) * dim
    return _build(S4NDLayerConfig, options)


def _options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return our flat options for the settings of the reference and its defaults."""
    settings = dict(settings)
    settings.update(settings.pop("init_args", None) or {})
    mode = settings.pop("mode", "dplr")
    if mode not in _KERNELS:
        raise ValueError(f"The reference has no kernel mode {mode!r}; it has {', '.join(_KERNELS)}.")
    kernel = _KERNELS[mode]
    for key, off in _OFF.items():
        if settings.pop(key, off) != off:
            raise ValueError(f"The reference's setting {key} has no counterpart here; leave it at {off}.")
    options: dict[str, Any] = {"kernel": kernel, "final_act": "glu", "tie_dropout": False}
    if kernel == "diagonal":
        options["disc"] = "zoh"
    if kernel == "ema":
        options |= {"d_state": 2, "dt_tie": False}
    for key, value in settings.items():
        name = _RENAMED.get(key, key)
        if name not in _WITHOUT_EFFECT and (name != "init" or value is not None):
            options[name] = value
    for name in _idle(options):
        options.pop(name, None)
    for key in ("lr", "wd"):
        options[key] = _per_parameter(kernel, options.get(key))
    for key in ("activation", "gate_act", "mult_act"):
        if key in options:
            options[key] = _ACTIVATIONS.get(options[key], options[key])
    if options["final_act"] is not None:
        options["final_act"] = _ACTIVATIONS.get(options["final_act"], options["final_act"])
    return options


def _idle(options: Mapping[str, Any]) -> set[str]:
    """Return the options that the reference accepts and ignores in this combination; our configurations refuse them.

    The reference fails on the options of a diagonal initialisation with a HiPPO measure, on the options of a HiPPO
    measure with a diagonal initialisation, and on a few options that a kernel does not know. This function does not
    return these options, so that our configurations refuse them too.
    """
    kernel, init = options["kernel"], options.get("init", "legs")
    known = {each.name for each in fields(KERNELS[kernel])}
    elsewhere = {each.name for cls in KERNELS.values() for each in fields(cls)} - known
    idle = elsewhere | set(KERNELS[kernel].without_meaning(options))
    if kernel not in ("ema", "free"):
        fails = {"B_clip"} if is_diagonal(init) else {*DIAGONAL_OPTIONS, "P_scale"}
        idle -= fails | {"is_real", "dt_tie", "share_channels"}
    if kernel == "dense":
        idle.add("disc")
    if options.get("gate") is None:
        idle |= {"gate_act", "mult_act"}
    if options.get("channels", 1) == 1 and options.get("activation") != "glu":
        idle.add("swap_channels")
        if not options.get("bidirectional"):
            idle.add("share_channels")
    return idle


def _build(cls: type[Layer], options: dict[str, Any]) -> Layer:
    """Return the layer that flat options describe; raise a ValueError for options that we do not have."""
    known = {"kernel"}.union(*(field_types(part) for part in (S4LayerConfig, cls, *KERNELS.values())))
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ValueError(f"The reference's settings {', '.join(unknown)} have no counterpart here.")
    return cast(Layer, layer_from_options(cls, options))


def parameters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of ``S4Block``, or of a stack of them, under our names and in our shapes.

    The reference stores a dense system in complex numbers; we store the same system in a real basis.
    """
    return {_name(key): _value(key, value, state) for key, value in state.items()}


def _value(key: str, value: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    """Return a value of the state dict in our shape."""
    prefix, separator, name = key.rpartition("kernel.")
    if not separator:
        return value
    if name in ("delta", "alpha", "beta"):
        return value.squeeze(-1)
    if prefix + "kernel.A" in state and name in ("A", "B", "C"):
        return _real_basis(name, value, complex_pairs=bool(state[prefix + "kernel.A"][..., 1].any()))
    return value


def _real_basis(name: str, value: Tensor, *, complex_pairs: bool) -> Tensor:
    """Return A (S, N, N, 2), B (S, N, 2) or C (C, H, N, 2) of a dense system as a real tensor.

    If the second half of the state is the conjugate of the first, the real state is the real and imaginary parts of the
    first half. Otherwise the system is real already.
    """
    value = torch.view_as_complex(value.contiguous())
    if complex_pairs:
        one = torch.eye(value.shape[-1] // 2, dtype=value.dtype, device=value.device)
        T = torch.cat((torch.cat((one, 1j * one), 1), torch.cat((one, -1j * one), 1)))  # real state to complex
        inverse = T.mH / 2
        value = {"A": lambda A: inverse @ A @ T, "B": lambda B: B @ inverse.mT, "C": lambda C: C @ T}[name](value)
    return value.real


def minimal_s4d_config(d_state: int) -> S4LayerConfig:
    """Return the layer of the stand-alone S4D of the reference: zero-order hold, B = 1."""
    return S4LayerConfig(kernel=DiagonalConfig(disc="zoh", init="diag-lin", d_state=d_state, lr={"B": 0.0}))


def minimal_s4d_parameters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of the stand-alone S4D under our names and in our shapes."""
    C = state["kernel.C"]
    return {
        "D": state["D"][None],
        "kernel.C": C[None],
        "kernel.B": torch.tensor([1.0, 0.0], dtype=C.dtype, device=C.device).expand(1, *C.shape).clone(),
        "kernel.inv_dt": state["kernel.log_dt"][:, None],
        "kernel.A_real": state["kernel.log_A_real"],
        "kernel.A_imag": -state["kernel.A_imag"],  # the reference stores the other member of each pair
        "output_linear.weight": state["output_linear.0.weight"][..., 0],
        "output_linear.bias": state["output_linear.0.bias"],
    }


def _name(key: str) -> str:
    """Return our name of a parameter."""
    key = re.sub(r"(^|\.)layer\.(D$|kernel\.)", r"\1\2", key)
    key = re.sub(r"(input_linear|output_linear|input_gate|output_gate)\.0\.", r"\1.", key)
    key = key.replace("norm.norm.", "norm.")
    return re.sub(r"norm\.([ms])$", lambda match: "norm.shift" if match[1] == "m" else "norm.scale", key)


def sashimi_parameters(state: Mapping[str, Tensor], config: SashimiConfig) -> dict[str, Tensor]:
    """Return the state dict of a SaShiMi backbone or of its U-Net, under our names and in our shapes.

    Args:
        state: state dict of a backbone of the reference, or of its stand-alone file, which has convolutions of width 1.
        config: the options of the model; the indices in the names depend on its number of layers.
    """
    renamed = {_sashimi_name(key, config): value for key, value in state.items()}
    return {
        key: value.squeeze(-1) if re.search(r"(linear|hidden|down|up)\.weight$", key) and value.ndim == 3 else value
        for key, value in parameters(renamed).items()
    }


def _sashimi_name(key: str, config: SashimiConfig) -> str:
    """Return the name of a parameter with our indices of scales and blocks."""
    blocks, coarsest = config.n_layers * (2 if config.ff else 1), len(config.pool) - 1
    if match := re.match(r"c_layers\.(.*)", key):
        key = f"center.{match[1]}"
    elif match := re.match(r"d_layers\.(\d+)\.(.*)", key):
        i, j = divmod(int(match[1]), blocks + 1) if config.unet else (int(match[1]), blocks)
        key = f"scales.{i}.down.{match[2]}" if j == blocks else f"scales.{i}.before.{j}.{match[2]}"
    elif match := re.match(r"u_layers\.(\d+)\.((\d+)\.)?(.*)", key):
        i, j = (int(match[1]), int(match[3])) if match[3] else divmod(int(match[1]), blocks + 1)
        scale = f"scales.{coarsest - i}"
        key = f"{scale}.up.{match[4]}" if j == 0 else f"{scale}.after.{j - 1}.{match[4]}"
    key = re.sub(r"(down|up)\.linear\.", r"\1.", key)
    key = key.replace(".weight_g", ".parametrizations.weight.original0")
    key = key.replace(".weight_v", ".parametrizations.weight.original1")
    return key.replace("ff.0.0.", "hidden.").replace("ff.2.", "output_linear.")


def _per_parameter(kernel: str, value: float | Mapping[str, float] | None) -> dict[str, float]:
    """Return our ``lr`` or ``wd``; the reference has one number for all parameters of the kernel, or a mapping."""
    names = ("A", "B", "C", "dt")
    if value is None:
        return {}
    given: dict[str, float | None] = {**value} if isinstance(value, Mapping) else dict.fromkeys((*names, "K"), value)
    if kernel == "free":
        given = {"C": given.get("K")}
    elif kernel == "ema":
        given = dict.fromkeys(("A", "B", "dt"), given.get("dt"))
    else:
        given.pop("K", None)
    return {key: each for key, each in given.items() if each is not None}
