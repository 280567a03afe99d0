"""Every model with the tensors of a GPU that is not there: all on one device, nothing waits for it, sums in order.

The tensors are fake ones, with shape, dtype and device but no numbers. Gradients need the streams of a real GPU, so
they are those of another device that is no CPU, ``lazy``.
"""

import copy
from contextlib import nullcontext
from itertools import product
from typing import Any

import pytest
import torch
from ssm_core import backends
from ssm_models.config import Interface
from ssm_models.model import SequenceModel, build_model
from ssm_models.zoo import ZOO
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "repeat_interleave", "_linalg_check_errors"}
UNORDERED = {"scatter_add", "scatter_add_", "scatter_reduce", "index_add", "index_add_", "cumsum"}
"""Whose sums a GPU makes in any order."""

SERIES = Interface(tokens=False, d_input=3, d_output=4, l_max=6)
PICTURES = Interface(tokens=False, d_input=3, d_output=4, l_max=(2, 3))
WORDS = Interface(tokens=True, d_input=7, d_output=2, l_max=6)
PAIRS = Interface(tokens=True, d_input=7, d_output=2, l_max=6, pair=True)
STEPS = Interface(tokens=True, d_input=7, d_output=7, l_max=6, l_output=6)

OPTIONS: dict[str, tuple[str, Interface, dict[str, Any]]] = {
    **{name: (name, SERIES, {}) for name in ("hippo-legs", "lssl", "s4", "s5", "lru", "ema", "s4d")},
    "s4nd": ("s4nd", PICTURES, {}),
    "sashimi": ("sashimi", SERIES, {"pool": (2,)}),
    "s4-rank2": ("s4", SERIES, {"init": "legt", "rank": 2, "channels": 2, "bandlimit": 0.4, "dt_tie": False}),
    "s4-both-ways": ("s4", WORDS, {"bidirectional": True, "norm": "batch", "decoder": "last", "dropout": 0.1}),
    "s4d-pairs": ("s4d", PAIRS, {"bidirectional": True, "tie_dropout": True, "dropout": 0.1, "n_ssm": 2}),
    "s4d-gated": ("s4d", STEPS, {"gate": 3, "bottleneck": 2, "norm": "scalar", "prenorm": True}),
    "s4d-cut": ("s4d", SERIES, {"l_max": 4, "disc": "zoh", "activation": "glu", "final_act": None}),
    "dss-softmax": ("dss-softmax", SERIES, {}),
    "lssl-zoh": ("lssl", SERIES, {"disc": "zoh"}),
    "free": ("s4", SERIES, {"kernel": "free", "l_max": 4}),
    "lru-both-ways": ("lru", SERIES, {"bidirectional": True}),
}


class Watch(TorchDispatchMode):
    """The calls that wait for a device, and the names of all."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[str] = []
        self.calls: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves((args, kwargs, result)) if isinstance(each, Tensor)]
        name = func.overloadpacket.__name__
        crosses = name in ("copy_", "_to_copy") and len({each.device.type for each in tensors}) > 1
        if name in WAITING or crosses:
            self.waiting.append(str(func))
        self.calls.add(name)
        return result


def on(device: str, model: SequenceModel) -> SequenceModel:
    """The model with fake parameters and buffers."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
            setattr(module, name, nn.Parameter(empty))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype, device=device))
    return model


def build(name: str) -> SequenceModel:
    zoo, io, options = OPTIONS[name]
    sizes = {"n_layers": 1, "d_model": 8}
    if not zoo.startswith("hippo") and options.get("kernel") != "free":
        sizes["d_state"] = 8
    return build_model(ZOO[zoo](**{**sizes, **options}), io)


def run(model: SequenceModel, form: str, io: Interface, device: str) -> Tensor:
    dtype = next(model.parameters()).dtype
    if form == "whole":
        extent = io.l_max if isinstance(io.l_max, tuple) else (io.l_max,)
        shape, dtype = ((6, *extent), torch.long) if io.tokens else ((6, *extent, io.d_input), dtype)
        lengths = torch.full((6,), 5, device=device) if io.tokens else None
        return model(torch.ones(shape, dtype=dtype, device=device), lengths)
    backbone, u = model.backbone, torch.ones(3, 5, 8, dtype=dtype, device=device)
    state = backbone.initial_state(3)
    if form == "chunk":
        return backbone(u, state)[0]
    step = backbone.stepper()
    for sample in u[:, :2].unbind(1):
        y, state = step(sample, state)
    return y


KERNELS = {("s4", "whole"): "cauchy", ("s4d", "whole"): "vandermonde", ("s4d", "chunk"): "diagonal_scan"}
STEPPING = ("hippo-legs", "lssl", "s4", "lru", "ema", "s4d", "sashimi", "s4d-cut", "dss-softmax")


@pytest.mark.parametrize(("name", "form"), [*product(OPTIONS, ["whole"]), ("s4", "chunk"), ("s4d", "chunk")])
def test_gradients(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which does not know the device
    model = build(name)
    with FakeTensorMode():
        on("lazy", model)
        with Watch() as forward:
            y = run(model, form, OPTIONS[name][1], "lazy")
        with Watch() as backward:
            y.sum().backward()
    assert not forward.waiting + backward.waiting
    assert UNORDERED.isdisjoint(backward.calls)
    learning = model if form == "whole" else model.backbone
    assert all(each.grad is not None and each.grad.device.type == "lazy" for each in learning.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("name", "form"), [*product(OPTIONS, ["whole"]), *product(STEPPING, ["chunk", "step"])])
def test_numbers_are_those_of_the_cpu(name: str, form: str) -> None:
    torch.manual_seed(0)
    model = build(name).double().eval()

    def results(device: str, dtype: torch.dtype) -> list[Tensor]:
        placed = copy.deepcopy(model).to(device, dtype)
        y = run(placed, form, OPTIONS[name][1], device)
        gradients = torch.autograd.grad(y.sin().sum(), [*placed.backbone.parameters()], allow_unused=True)
        return [y, *(each for each in gradients if each is not None)]

    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-3)):
        for one, other in zip(results("cuda", dtype), results("cpu", torch.float64), strict=True):
            atol = tolerance * max(1.0, other.abs().max().item())
            torch.testing.assert_close(one.cpu().double(), other, rtol=0, atol=atol)


@pytest.mark.parametrize(("name", "form"), [*product(OPTIONS, ["whole"]), *product(STEPPING, ["chunk", "step"])])
def test_mixed_precision_and_our_kernels(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "kernels_missing", lambda: None)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    model = build(name)
    with FakeTensorMode():
        on("cuda", model)
        with Watch() as forward, torch.autocast("cuda", dtype=torch.bfloat16):
            y = run(model, form, OPTIONS[name][1], "cuda")
    assert y.device.type == "cuda"
    assert not forward.waiting
    if (name, form) in KERNELS:
        assert KERNELS[name, form] in forward.calls
