"""Parameters with a transform, a learning rate and a weight decay of their own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssm_models.config import Transform

#: The smallest initial value of a transformed parameter.
_FLOOR = 1e-4

#: The functions that a configuration can name; each acts on every element.
TRANSFORMS: dict[Transform, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "exp": torch.exp,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    # The floor keeps the value positive if the parameter becomes negative.
    "relu": lambda x: F.relu(x) + _FLOOR,
}

_INVERSES: dict[Transform, Callable[[Tensor], Tensor]] = {
    "none": lambda y: y,
    "exp": torch.log,
    "softplus": lambda y: y + torch.log(-torch.expm1(-y)),
    "sigmoid": torch.logit,
    "relu": lambda y: y,
}


def inverse(value: Tensor, transform: Transform) -> Tensor:
    """Return the parameter whose transform is ``value``. Values below 1e-4 are raised to 1e-4 first.

    Raises:
        ValueError: the transform cannot reach the value.
    """
    if transform == "sigmoid" and bool((value >= 1).any()):
        raise ValueError("A sigmoid stays below 1 and cannot start from larger values; use exp or softplus.")
    return _INVERSES[transform](value.clamp_min(_FLOOR))


def register(module: nn.Module, name: str, value: Tensor, *, lr: float | None = None, wd: float | None = None) -> None:
    """Add a parameter in the default dtype to a module, with its own learning rate and weight decay.

    The attribute ``optim`` of the parameter stores both; :func:`ssm_models.optim.parameter_groups` reads it.

    Args:
        module: the module that gets the parameter, or a buffer if the learning rate is 0.
        name: name of the parameter.
        value: its initial value.
        lr: its learning rate; None: the learning rate of the run.
        wd: its weight decay; None: the weight decay of the run.
    """
    value = value.detach().to(torch.get_default_dtype()).clone()
    if lr == 0:
        module.register_buffer(name, value)
        return
    parameter = nn.Parameter(value)
    options: dict[str, Any] = {"lr": lr, "weight_decay": wd}
    parameter.optim = {key: each for key, each in options.items() if each is not None}  # type: ignore[attr-defined]
    module.register_parameter(name, parameter)
