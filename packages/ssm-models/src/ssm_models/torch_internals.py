"""The uses of private parts of torch in ssm-models; ``tests/ssm_models/test_torch_internals.py`` guards them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

__all__ = [
    "StorageWeakRef",
    "TorchDispatchMode",
    "gelu",
    "glu",
    "silu",
    "storage_key",
    "tree_flatten",
    "tree_leaves",
    "tree_map_only",
    "tree_unflatten",
    "writes_into_inputs",
]

#: ``torch.nn.functional`` gives these activations without the argument ``out``.
gelu: Callable[..., Tensor] = torch._C._nn.gelu
glu: Callable[..., Tensor] = torch._C._nn.glu
silu: Callable[..., Tensor] = torch._C._nn.silu


def storage_key(value: Tensor) -> int:
    """Return a number that is the same for all views of one tensor, as long as one of them exists."""
    return value.untyped_storage()._cdata


def writes_into_inputs(operator: Any) -> bool:
    """Return whether an operator of ``torch.ops`` changes one of its arguments."""
    return operator._schema.is_mutable
