"""The private parts of torch that ssm-models uses are there, and do what is expected of them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ssm_models import torch_internals
from torch import Tensor
from torch.nn import functional as F

VERSION = f"torch {torch.__version__}"


@pytest.mark.parametrize(("name", "public"), [("gelu", F.gelu), ("glu", F.glu), ("silu", F.silu)])
def test_an_activation_writes_where_it_is_told(name: str, public: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(3, 8)
    expected = public(x)
    out = torch.empty_like(expected)
    result = getattr(torch_internals, name)(x, out=out)
    assert result.data_ptr() == out.data_ptr(), VERSION
    assert torch.equal(out, expected), VERSION


def test_views_share_a_key_and_other_tensors_do_not() -> None:
    x = torch.randn(3, 4)
    assert torch_internals.storage_key(x.mT[1:]) == torch_internals.storage_key(x), VERSION
    assert torch_internals.storage_key(x.clone()) != torch_internals.storage_key(x), VERSION


def test_operators_that_write_into_their_inputs_are_known() -> None:
    aten = torch.ops.aten
    assert torch_internals.writes_into_inputs(aten.add_.Tensor), VERSION
    assert not torch_internals.writes_into_inputs(aten.add.Tensor), VERSION


def test_a_weak_reference_expires_with_its_storage() -> None:
    x = torch.randn(3)
    reference = torch_internals.StorageWeakRef(x.untyped_storage())
    assert not reference.expired(), VERSION
    del x
    assert reference.expired(), VERSION


def test_a_dispatch_mode_sees_every_operator() -> None:
    seen = []

    class Watch(torch_internals.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with Watch():
        torch.ones(2) + 1
    assert torch.ops.aten.add.Tensor in seen, VERSION


def test_trees_of_tensors() -> None:
    tree = {"a": (torch.zeros(1), None), "b": [2]}
    leaves, structure = torch_internals.tree_flatten(tree)
    assert [type(each) for each in leaves] == [Tensor, type(None), int], VERSION
    assert torch_internals.tree_unflatten(leaves, structure) == tree, VERSION
    assert torch_internals.tree_leaves(tree) == leaves, VERSION
    mapped = torch_internals.tree_map_only(Tensor, lambda x: x + 1, tree)
    assert mapped == {"a": (torch.ones(1), None), "b": [2]}, VERSION
