"""No product of a state space model is one that ``torch.set_float32_matmul_precision`` lets a GPU round to TF32."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ssm_core.dplr import generating_function
from ssm_models.backbones.stack import ResidualStack
from ssm_models.config import LRULayerConfig, S5LayerConfig, StackConfig
from ssm_models.contract import SequenceLayer
from ssm_models.kernels import make_kernel
from ssm_models.layers.lru import LRULayer
from ssm_models.layers.mimo import MIMOLayer
from ssm_models.layers.s4 import S4Layer
from ssm_models.layers.s5 import S5Layer
from ssm_testing.configs import kernel_config, s4_layer_config
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
PRODUCTS = {
    *(aten.mm, aten.bmm, aten.addmm, aten.baddbmm, aten.addbmm, aten.mv, aten.addmv, aten.dot, aten.vdot),
    *(aten.linalg_matrix_exp, aten._linalg_solve_ex, aten.linalg_inv_ex, aten.linalg_solve_triangular),
}


class Float32Products(TorchDispatchMode):
    """Lists the products of float32 numbers, and counts those of ``ssm_core.products``, which keep float32."""

    def __init__(self) -> None:
        super().__init__()
        self.guarded = 0
        self.found: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [each for each in args if isinstance(each, Tensor)]
        if func.overloadpacket in PRODUCTS and any(t.dtype in (torch.float32, torch.complex64) for t in tensors):
            self.found.append((func, [tuple(t.shape) for t in tensors]))
        self.guarded += func is torch.ops.ssm_core.bmm.default
        return func(*args, **(kwargs or {}))


KERNELS = {
    "s4": {},
    "s4-tied": {"l_kernel": 16},
    "s4-rank2": {"init": "legt", "rank": 2, "dt_tie": False},
    "s4d-zoh": {"kernel": "diagonal", "init": "diag-lin", "disc": "zoh"},
    "s4d-bilinear": {"kernel": "diagonal", "init": "diag-lin"},
    "dss": {"kernel": "diagonal", "init": "diag-legs", "disc": "dss", "real_transform": "none", "l_kernel": 40},
    "lssl": {"kernel": "dense"},
    "lssl-zoh": {"kernel": "dense", "disc": "zoh"},
    "ema": {"kernel": "ema"},
}


def stack(name: str) -> SequenceLayer:
    """Two layers that step together, without the maps between features, which are the network's and may be rounded."""
    layers = [S4Layer(3, s4_layer_config(d_state=6, final_act=None, **KERNELS[name])) for _ in range(2)]
    return ResidualStack(layers, StackConfig(n_layers=2, d_model=3))


def without_mix(layer: MIMOLayer) -> MIMOLayer:
    layer.mix = lambda y: y
    return layer


MODELS: dict[str, Callable[[], SequenceLayer]] = {
    **{name: lambda name=name: stack(name) for name in KERNELS},
    "s5": lambda: without_mix(S5Layer(3, S5LayerConfig(d_state=6))),
    "lru": lambda: without_mix(LRULayer(3, LRULayerConfig(d_state=6))),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("form", ["convolution", "chunk", "step"])
def test_forward_and_backward(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generating_function, "_float64_suffices", lambda *_: False)  # as on a GPU
    model, u = MODELS[name](), torch.randn(2, 40, 3)
    with Float32Products() as products:
        if form == "convolution":
            y, _ = model(u)
        elif form == "chunk":
            y, _ = model(u, model.initial_state(2))
        else:
            step, state = model.stepper(), model.initial_state(2)
            for sample in u[:, :2].unbind(1):
                y, state = step(sample, state)
        y.sum().backward()
    assert not products.found


def test_a_product_is_seen() -> None:
    kernel = make_kernel(3, 2, kernel_config(d_state=6, kernel="dense"))
    with Float32Products() as products:
        kernel(40)
        assert products.guarded
        assert not products.found
        torch.randn(2, 3) @ kernel(1)[0]
    assert [func for func, _ in products.found] == [aten.mm.default]
