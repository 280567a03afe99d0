"""The activations that a configuration can name."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ssm_models.config import Activation

#: Each function maps (..., H) to the same shape; ``glu`` halves H.
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "glu": lambda x: F.glu(x, -1),
    "none": lambda x: x,
}
