"""The S4 layer against its formula in :mod:`ssm_models.layers.naive`, in output and gradients."""

import pytest
import torch
from ssm_models.layers.naive import NaiveS4Layer
from ssm_models.layers.s4 import S4Layer
from ssm_testing.close import assert_close
from ssm_testing.configs import s4_layer_config

OPTIONS = {
    "s4": {"l_kernel": 20},
    "s4-untied": {"init": "fourier"},
    "s4d-zoh": {"kernel": "diagonal", "init": "diag-lin", "disc": "zoh"},
    "s4d-bilinear": {"kernel": "diagonal", "init": "diag-inv", "n_ssm": 2},
    "lssl": {"kernel": "dense", "n_ssm": 1},
    "ema": {"kernel": "ema"},
    "free": {"kernel": "free", "l_max": 20},
}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_output_and_gradients(name: str, bidirectional: bool) -> None:
    torch.manual_seed(0)
    sizes = {} if name == "free" else {"d_state": 6}
    config = s4_layer_config(bidirectional=bidirectional, **sizes, **OPTIONS[name])
    fast, naive = S4Layer(4, config).double(), NaiveS4Layer(4, config).double()
    naive.load_state_dict(fast.state_dict())
    u = torch.randn(3, 20, 4, dtype=torch.float64)
    lengths = torch.tensor([20, 3, 11])
    results = []
    for layer in (fast, naive):
        y, _ = layer(u, lengths=lengths)
        y.square().sum().backward()
        results.append({"output": y, **{key: p.grad for key, p in layer.named_parameters()}})
    assert_close(results[0], results[1], 1e-8, name)


def test_other_layers_are_refused() -> None:
    layer = NaiveS4Layer(4, s4_layer_config(d_state=4, channels=2))
    with pytest.raises(ValueError, match="has one channel"):
        layer(torch.zeros(1, 5, 4))
