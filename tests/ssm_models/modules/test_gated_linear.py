"""The gated linear map in blocks of rows: the same function and gradients as its two parts."""

import pytest
import torch
from ssm_models.modules import gated_linear
from ssm_models.modules.gated_linear import GatedLinear
from torch.nn import functional as F


def two_parts(layer, x, of_gelu=False):
    return F.glu(F.linear(F.gelu(x) if of_gelu else x, layer.weight, layer.bias), -1)


@pytest.mark.parametrize("of_gelu", [False, True])
@pytest.mark.parametrize("shape", [(1, 6), (7, 6), (3, 41, 6), (2, 3, 5, 6)])
@pytest.mark.parametrize("rows", [1, 6, 2**12])
def test_output_and_gradients(of_gelu, shape, rows, monkeypatch):
    monkeypatch.setattr(gated_linear, "_rows", lambda width: rows)
    torch.manual_seed(0)
    layer = GatedLinear(6, 10).double()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(*shape[:-1], 10, dtype=torch.float64)
    learn = [x, *layer.parameters()]
    y, expected = layer(x, of_gelu=of_gelu), two_parts(layer, x, of_gelu)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    gradients = zip(torch.autograd.grad(y, learn, grad), torch.autograd.grad(expected, learn, grad), strict=True)
    for one, other in gradients:
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_any_strides(monkeypatch):
    """A transposed input, and the gradient of a mean, which is one row repeated."""
    monkeypatch.setattr(gated_linear, "_rows", lambda width: 3)
    layer = GatedLinear(6, 10).double()
    x = torch.randn(2, 6, 9, dtype=torch.float64, requires_grad=True)
    learn = [x, *layer.parameters()]
    gradients = (
        torch.autograd.grad(f(x.mT).mean(1).sin().sum(), learn) for f in (layer, lambda x: two_parts(layer, x))
    )
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_autocast_and_half_precision_take_the_two_parts():
    layer, x = GatedLinear(6, 10), torch.randn(5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y, two_parts(layer, x), rtol=0, atol=0)
    layer = layer.bfloat16()
    torch.testing.assert_close(layer(x.bfloat16()), two_parts(layer, x.bfloat16()), rtol=0, atol=0)


def test_compiles_whole():
    layer, x = GatedLinear(6, 10), torch.randn(5, 6)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))


@pytest.mark.parametrize("of_gelu", [False, True])
def test_large_inputs_compile_whole(of_gelu, monkeypatch):
    monkeypatch.setattr(gated_linear, "_rows", lambda width: 16)
    layer, x = GatedLinear(8, 6), torch.randn(50, 8)
    assert layer._in_blocks(x)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, of_gelu=of_gelu), layer(x, of_gelu=of_gelu))
