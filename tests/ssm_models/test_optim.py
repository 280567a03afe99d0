import math

import pytest
import torch
from ssm_models.config import Interface, StackConfig
from ssm_models.model import build_model
from ssm_models.optim import constant, cosine_warmup, linear_warmup, parameter_groups
from ssm_testing.configs import s4_config
from torch import nn

IO = Interface(tokens=True, d_input=5, d_output=2, l_max=16)


def groups_by_name(config: StackConfig, **options: bool) -> dict[str, tuple[float, float]]:
    model = build_model(config, IO)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, 0.01, 0.05, **options)
    found = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert found.keys() == set(names.values())
    return found


def test_kernel_parameters_take_their_own_rates_and_decays() -> None:
    found = groups_by_name(s4_config(n_layers=1, d_model=4, d_state=4, norm="batch", lr={"A": 0.001, "C": 0.002}))
    layer = "backbone.layers.0."
    for name in ("A_real", "A_imag", "P"):
        assert found[f"{layer}layer.kernel.{name}"] == (0.001, 0.0)
    assert found[f"{layer}layer.kernel.C"] == (0.002, 0.05)
    assert found[f"{layer}layer.kernel.inv_dt"] == (0.01, 0.0)
    assert found[f"{layer}layer.D"] == found[f"{layer}layer.output_linear.weight"] == (0.01, 0.05)
    assert found[f"{layer}norm.weight"] == found[f"{layer}layer.output_linear.bias"] == (0.01, 0.0)
    assert found["encoder.weight"] == found["decoder.output_transform.bias"] == (0.01, 0.05)


def test_norms_and_biases_may_decay() -> None:
    found = groups_by_name(s4_config(n_layers=1, d_model=4, d_state=4), decay_norms_and_biases=True)
    assert found["backbone.layers.0.norm.weight"] == (0.01, 0.05)
    assert found["backbone.layers.0.layer.kernel.inv_dt"] == (0.001, 0.0)


def test_a_rate_of_zero_freezes() -> None:
    model = build_model(s4_config(n_layers=1, d_model=4, d_state=4, lr={"A": 0.0, "dt": 0.0}), IO)
    names = {name.rpartition(".")[2] for name, _ in model.named_parameters()}
    assert not names & {"A_real", "A_imag", "P", "inv_dt"}
    assert {"B", "C"} <= names
    assert any(key.endswith("kernel.A_real") for key in model.state_dict())


def run(schedule: torch.optim.lr_scheduler.LambdaLR, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        schedule.optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda o: constant(o, 4), lambda t: min(1, t / 4)),
        (lambda o: linear_warmup(o, 4, 12), lambda t: t / 4 if t < 4 else max(0, (12 - t) / 8)),
        (
            lambda o: cosine_warmup(o, 4, 12),
            lambda t: t / 4 if t < 4 else (1 + math.cos(math.pi * min(1, (t - 4) / 8))) / 2,
        ),
    ],
)
def test_schedules(make: object, expected: object) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    rates = run(make(optimizer), 15)
    assert rates == pytest.approx([0.5 * expected(t) for t in range(15)], abs=1e-12)
