"""The S4 authors' code (state-spaces/s4, version 4): its settings and parameter names in our terms."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssm_models.config import LayerConfig

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
    settings = {key: value for key, value in settings.items() if key not in _WITHOUT_EFFECT}
    options: dict[str, Any] = {"final_act": "glu", "dt_transform": "exp", "wd": None, "lr": None}
    mode = settings.pop("mode", "dplr")
    if mode not in _MODES:
        raise ValueError(f"The reference's kernel mode {mode!r} has no counterpart here.")
    options["kernel"] = _MODES[mode]
    if options["kernel"] == "dplr":
        options["l_kernel"] = l_kernel or None
        # The reference's disc is read by its diagonal kernel alone.
        settings.pop("disc", None)
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
        if options.get(key, "none") in (None, "id"):
            options[key] = "none"
    if options["final_act"] == "id":
        options["final_act"] = "none"
    try:
        return LayerConfig(**options)
    except TypeError as error:
        raise ValueError(f"The reference's settings have no counterpart here: {error}.") from error


def parameters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of ``S4Block`` or of a stack of them, under our names."""
    return {_name(key): value for key, value in state.items()}


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
