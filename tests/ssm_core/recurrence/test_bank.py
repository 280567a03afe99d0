"""Recurrences advanced together are those of the layers one by one."""

import pytest
import torch
from ssm_core.recurrence.bank import Bank
from ssm_models.backbones.stack import ResidualStack
from ssm_models.config import StackConfig
from ssm_models.layers.s4 import S4Layer
from ssm_testing.configs import s4_layer_config

OPTIONS = {
    "s4": {},
    "s4-rank3": {"rank": 3, "channels": 2, "swap_channels": True},
    "s4d": {"kernel": "diagonal", "init": "diag-lin", "disc": "zoh"},
    "gated": {"gate": 2, "bottleneck": 2, "l_kernel": 16},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_bank_is_the_layers_one_by_one(name):
    torch.manual_seed(0)
    layers = [S4Layer(4, s4_layer_config(d_state=6, **OPTIONS[name])).double() for _ in range(3)]
    bank = Bank([each.recurrence() for each in layers])
    states = [torch.randn_like(each.initial_state(2)) for each in layers]
    inputs = [torch.randn(2, 4, dtype=torch.float64) for _ in layers]
    predicted, before = bank.predict(states)
    outputs, entered = zip(
        *(
            layer.respond(u, y, direct + layer.D)
            for layer, u, y, direct in zip(layers, inputs, predicted, bank.direct, strict=True)
        ),
        strict=True,
    )
    for layer, u, state, y, after in zip(layers, inputs, states, outputs, bank.advance(before, entered), strict=True):
        expected_y, expected_state = layer.step(u, state)
        torch.testing.assert_close(y, expected_y, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(after, expected_state, rtol=1e-10, atol=1e-10)


def test_a_stack_of_unlike_layers_steps():
    """Two banks, and a layer whose finite kernel goes into none."""
    torch.manual_seed(0)
    options = [OPTIONS["s4"], OPTIONS["s4d"], {"l_max": 5}, OPTIONS["s4"], OPTIONS["s4d"]]
    layers = [S4Layer(4, s4_layer_config(d_state=6, **each)) for each in options]
    model = ResidualStack(layers, StackConfig(d_model=4, n_layers=5, norm="layer")).double().eval()
    u = torch.randn(2, 19, 4, dtype=torch.float64)
    step, state, outputs = model.stepper(), model.initial_state(2), []
    kept = [each.clone() for each in state]
    first = state
    for sample in u.unbind(1):
        y, state = step(sample, state)
        outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs, 1), model(u)[0], rtol=1e-10, atol=1e-10)
    for one, other in zip(first, kept, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
