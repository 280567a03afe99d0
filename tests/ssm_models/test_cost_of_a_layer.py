"""A new layer costs its file with its configuration and one entry of the zoo; no table elsewhere is touched."""

import sys
from pathlib import Path

import pytest
import torch
from ssm_models import zoo
from ssm_models.config import Interface
from ssm_models.model import build_model
from ssm_models.optim import parameter_groups
from ssm_models.options import from_options, to_options

LAYER = '''
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from ssm_models.config.checks import Positive, Share
from ssm_models.config.layer import LayerConfig
from ssm_models.contract import SequenceLayer
from ssm_models.modules.padding import mask_padding
from ssm_models.parameters import register


@dataclass(frozen=True, kw_only=True)
class LeakyLayerConfig(LayerConfig):
    """A leaky integrator for each feature. decay: of each step; lr: of the decay."""

    layer_class: ClassVar[str] = "throwaway_layer:LeakyLayer"
    decay: Share = 0.5
    lr: Positive = 0.001


class LeakyLayer(SequenceLayer):
    """``x = decay x + u``, ``y = W x``."""

    def __init__(self, d_model, config):
        super().__init__()
        self.d_output = d_model
        register(self, "decay", torch.full((d_model,), config.decay), lr=config.lr)
        self.output_linear = nn.Linear(d_model, d_model)

    def forward(self, u, state=None, *, lengths=None, rate=1.0):
        carried = self.initial_state(len(u)) if state is None else state
        step, outputs = self.stepper(rate), []
        for sample in mask_padding(u, lengths).unbind(1):
            y, carried = step(sample, carried)
            outputs.append(y)
        return torch.stack(outputs, 1), None if state is None else carried

    def initial_state(self, batch_size):
        return self.decay.new_zeros(batch_size, self.d_output)

    def stepper(self, rate=1.0):
        def step(u, x):
            x = self.decay**rate * x + u
            return self.output_linear(x), x
        return step
'''


@pytest.fixture
def leaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "throwaway_layer.py").write_text(LAYER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "throwaway_layer", raising=False)
    import throwaway_layer

    paper = zoo.Paper("A paper", "0000.00000")
    entry = zoo.Entry("leaky", paper, throwaway_layer.LeakyLayerConfig, preset={"decay": 0.9}, name="leaky")
    monkeypatch.setitem(zoo.ZOO, "leaky", entry)
    return "leaky"


def test_a_throw_away_layer_is_a_model_of_the_zoo(leaky: str) -> None:
    config = from_options(leaky, {"n_layers": 2, "d_model": 4, "decay": 0.8, "norm": "batch"})
    assert from_options(leaky, to_options(config)) == config
    assert to_options(config, changed_only=True) == {"n_layers": 2, "d_model": 4, "norm": "batch", "decay": 0.8}
    with pytest.raises(ValueError, match="There is no option 'decai' of leaky; the nearest known: decay"):
        from_options(leaky, {"decai": 0.5})
    with pytest.raises(ValueError, match=r"decay is below 1, not 1\.5"):
        from_options(leaky, {"decay": 1.5})
    io = Interface(tokens=True, d_input=5, d_output=3, l_max=12)
    assert not zoo.ZOO[leaky].why_not(io)
    model = build_model(config, io)
    model(torch.randint(0, 5, (3, 12)), torch.tensor([12, 4, 1])).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert {0.001, 0.01} == {group["lr"] for group in parameter_groups(model, 0.01, 0.0)}


def test_its_three_forms_agree(leaky: str) -> None:
    torch.manual_seed(0)
    model = build_model(from_options(leaky, {"n_layers": 2, "d_model": 4}), Interface(
        tokens=False, d_input=4, d_output=3, l_max=9
    )).backbone.double()  # fmt: skip
    u = torch.randn(2, 9, 4, dtype=torch.float64)
    whole, _ = model(u)
    first, state = model(u[:, :4], model.initial_state(2))
    second, _ = model(u[:, 4:], state)
    torch.testing.assert_close(torch.cat((first, second), 1), whole)
    step, state, outputs = model.stepper(), model.initial_state(2), []
    for sample in u.unbind(1):
        y, state = step(sample, state)
        outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs, 1), whole)
