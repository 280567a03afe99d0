"""The S4 authors' code (state-spaces/s4, version 4): its settings and parameter names in our terms."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from ssm_models.config import LayerConfig, S4NDLayerConfig

Config = TypeVar("Config", bound=LayerConfig)

_MODES = {
    "diag": "diagonal",
    "s4d": "diagonal",
    "dplr": "dplr",
    "nplr": "dplr",
    "s4": "dplr",
}
_RENAMED = {"measure": "init", "postact": "final_act"}
_WITHOUT_EFFECT = {"_name_", "backend", "verbose", "transposed", "layer"}
_PARAMETERS = ("A", "B", "C", "dt")


def layer_config(settings: Mapping[str, Any], *, l_kernel: int | None = None) -> LayerConfig:
    """The layer that the settings of ``S4Block`` describe.

    Args:
        settings: in the reference's vocabulary; what is absent takes the reference's class default.
        l_kernel: the length that the C of a DPLR kernel is tied to (the state dict's ``l_kernel``).

    Raises:
        ValueError: a setting that has no counterpart here.
    """
    options = _options(settings)
    if options["kernel"] == "dplr":
        options["l_kernel"] = l_kernel or None
    return _build(LayerConfig, options)


def s4nd_layer_config(settings: Mapping[str, Any]) -> S4NDLayerConfig:
    """The layer that the settings of ``S4ND`` describe, likewise."""
    settings = {"final_act": None, "bidirectional": True, **settings}
    settings.pop("contract_version", None)  # two ways to compute the same
    size = settings.pop("l_max", None)
    dim = int(settings.pop("dim", 2))
    if settings.pop("linear", False):
        settings.update(activation=None, final_act=None)
    options = _options(settings)
    options["dim"] = dim
    options["size"] = None if size is None else tuple(size) if isinstance(size, list | tuple) else (size,) * dim
    return _build(S4NDLayerConfig, options)


def _options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options of our configurations that the reference's settings name or leave to its defaults."""
    settings = {key: value for key, value in settings.items() if key not in _WITHOUT_EFFECT}
    options: dict[str, Any] = {"final_act": "glu", "lr": None, "wd": None}
    mode = settings.pop("mode", "dplr")
    if mode not in _MODES:
        raise ValueError(f"The reference's kernel mode {mode!r} has no counterpart here.")
    options["kernel"] = _MODES[mode]
    if options["kernel"] == "dplr":
        settings.pop("disc", None)  # read by its diagonal kernel alone
    else:
        options["disc"] = "zoh"
    for key, value in settings.items():
        if key == "init_args":
            options.update(value)
        else:
            options[_RENAMED.get(key, key)] = value
    for key in ("lr", "wd"):
        options[key] = _per_parameter(options[key])
    for key in ("activation", "gate_act", "mult_act"):
        if key in options and options[key] in (None, "id"):
            options[key] = "none"
    if options["final_act"] == "id":
        options["final_act"] = "none"
    return options


def _build(cls: type[Config], options: dict[str, Any]) -> Config:
    try:
        return cls(**options)
    except TypeError as error:
        raise ValueError(f"The reference's settings have no counterpart here: {error}.") from error


def parameters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of ``S4Block`` or of a stack of them, under our names."""
    return {_name(key): value for key, value in state.items()}


def minimal_s4d_config(d_state: int) -> LayerConfig:
    """The layer of the reference's stand-alone S4D: zero-order hold, B = 1."""
    return LayerConfig(kernel="diagonal", disc="zoh", init="diag-lin", d_state=d_state, lr={"B": 0.0})


def minimal_s4d_parameters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the stand-alone S4D, under our names and in our shapes."""
    C = state["kernel.C"]
    return {
        "D": state["D"][None],
        "kernel.C": C[None],
        "kernel.B": torch.tensor([1.0, 0.0], dtype=C.dtype, device=C.device).expand(1, *C.shape).clone(),
        "kernel.inv_dt": state["kernel.log_dt"][:, None],
        "kernel.A_real": state["kernel.log_A_real"],
        "kernel.A_imag": -state["kernel.A_imag"],  # it stores the other member of each pair
        "output_linear.weight": state["output_linear.0.weight"][..., 0],
        "output_linear.bias": state["output_linear.0.bias"],
    }


def _name(key: str) -> str:
    key = re.sub(r"(^|\.)layer\.(D$|kernel\.)", r"\1\2", key)
    key = re.sub(r"(input_linear|output_linear|input_gate|output_gate)\.0\.", r"\1.", key)
    return key.replace("norm.norm.", "norm.")


def _per_parameter(value: float | Mapping[str, float] | None) -> dict[str, float]:
    """The reference's lr or wd: a number holds for all kernel parameters, a mapping for those it names."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {key: each for key, each in value.items() if each is not None}
    return dict.fromkeys(_PARAMETERS, value)
