"""Whole models under torch.compile and in mixed precision."""

import copy

import pytest
import torch
from ssm_kernels.host import compiler
from ssm_models.config import Interface
from ssm_models.model import build_backbone, build_model
from ssm_models.zoo import ZOO


@pytest.mark.parametrize("name", ["s4", "s4d"])
def test_a_stack_compiles_whole_and_trains(name: str) -> None:
    torch.manual_seed(0)
    io = Interface(tokens=False, d_input=3, d_output=4, l_max=50)
    config = ZOO[name](d_model=8, d_state=4, n_layers=1, norm="batch", prenorm=True, bidirectional=True)
    eager = build_model(config, io)
    x, target = torch.randn(5, 50, 3), torch.randint(0, 4, (5,))
    compiled = torch.compile(build_model(config, io), backend="aot_eager", fullgraph=True)
    compiled._orig_mod.load_state_dict(eager.state_dict())
    losses = []
    for model in (eager, compiled):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            loss = torch.nn.functional.cross_entropy(model(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.exhaustive
@pytest.mark.skipif(compiler() is None, reason="torch's compiler for CPUs needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex operators")
def test_the_default_compiler_agrees_with_eager_training() -> None:
    """One layer, for the sake of time."""
    torch.manual_seed(0)
    config = ZOO["s4d"](d_model=4, d_state=4, n_layers=1)
    eager = build_backbone(config)
    compiled = torch.compile(copy.deepcopy(eager), fullgraph=True)
    x, target = torch.randn(2, 2, 20, 4)
    losses = []
    for model in (eager, compiled):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        losses.append([])
        for _ in range(4):
            loss = torch.nn.functional.mse_loss(model(x)[0], target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0][-1] < 0.95 * losses[0][0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.parametrize("name", ["s4", "s4d", "s5", "lru"])
def test_bfloat16_autocast_keeps_the_system_in_float32(name: str) -> None:
    """Under autocast the states stay float32, and training follows the float32 curve."""
    io = Interface(tokens=False, d_input=1, d_output=2, l_max=40)
    config = ZOO[name](d_model=16, d_state=8, n_layers=2)
    torch.manual_seed(0)
    x = torch.randn(32, 40, 1)
    target = (x.mean((1, 2)) > 0).long()
    curves = []
    for enabled in (False, True):
        torch.manual_seed(1)
        model = build_model(config, io)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        losses = []
        for _ in range(25):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                loss = torch.nn.functional.cross_entropy(model(x).float(), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        curves.append(losses)
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in model.parameters())
        layer = model.backbone.layers[0].layer
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            _, state = layer(torch.randn(2, 5, 16), layer.initial_state(2))
        assert state.dtype == torch.float32
    exact, mixed = (torch.tensor(curve) for curve in curves)
    assert exact[-1] < 0.9 * exact[0]
    assert (mixed - exact).abs().max() < 0.05 * exact[0]
