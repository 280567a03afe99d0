"""Options of whole layers, each alone and each with each other: what is accepted has an effect, the rest is refused."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
import torch
from ssm_models.config import HiPPORNNLayerConfig, LRULayerConfig, S5LayerConfig
from ssm_models.contract import SequenceLayer
from ssm_models.layers.hippo_rnn import HiPPORNNLayer
from ssm_models.layers.lru import LRULayer
from ssm_models.layers.s4 import S4Layer
from ssm_models.layers.s4nd import S4NDLayer
from ssm_models.layers.s5 import S5Layer
from ssm_testing.configs import s4_layer_config, s4nd_layer_config
from torch import Tensor

WIDTH = 4
LAYER: list[tuple[str, Any]] = [
    ("bidirectional", True), ("channels", 2), ("swap_channels", True), ("activation", "tanh"), ("activation", "glu"),
    ("final_act", None), ("final_act", "none"), ("gate", 2), ("gate_act", "tanh"), ("mult_act", "tanh"),
    ("bottleneck", 2), ("drop_kernel", 0.5), ("dropout", 0.5), ("tie_dropout", False), ("l_max", 3),
    ("share_channels", True),
]  # fmt: skip
FAMILIES: dict[str, tuple[Callable[..., SequenceLayer], type, dict[str, Any], list[tuple[str, Any]], int]] = {
    "s4": (S4Layer, s4_layer_config, {"d_state": 4}, LAYER, 1),
    "s4d": (S4Layer, s4_layer_config, {"d_state": 4, "kernel": "diagonal", "init": "diag-lin"}, LAYER, 1),
    "ema": (S4Layer, s4_layer_config, {"d_state": 4, "kernel": "ema"}, LAYER, 1),
    "s4nd": (
        S4NDLayer,
        s4nd_layer_config,
        {"d_state": 4},
        [*LAYER, ("trank", 2), ("size", (3, 2)), ("size", (3, 2, 4)), ("dim", 0), ("l_kernel", 5)],
        2,
    ),
    "s5": (
        S5Layer,
        S5LayerConfig,
        {"d_state": 4},
        [
            *(("d_state", 8), ("d_state", 6), ("blocks", 2), ("dt_min", 0.01), ("dt_max", 0.3), ("dt_min", 0.5)),
            *(("bidirectional", True), ("lr", None), ("dropout", 0.5), ("tie_dropout", False)),
        ],
        1,
    ),
    "lru": (
        LRULayer,
        LRULayerConfig,
        {"d_state": 4},
        [
            *(("d_state", 3), ("r_min", 0.5), ("r_max", 0.9), ("r_max", 0.0), ("max_phase", 1.0), ("lr", None)),
            *(("bidirectional", True), ("dropout", 0.5), ("tie_dropout", False)),
        ],
        1,
    ),
    **{
        f"hippo-{measure}": (
            HiPPORNNLayer,
            HiPPORNNLayerConfig,
            {"measure": measure, "memory_order": 4},
            [("memory_size", 2), ("memory_order", 5), ("gate", "lstm"), ("gate", "none"), ("dt", 0.1), ("l_max", 3)],
            1,
        )
        for measure in ("legs", "legt", "lagt")
    },
}


def made(family: str, options: dict[str, Any]) -> SequenceLayer | str:
    """The layer, or the sentence that refuses it."""
    layer, config, base, _, _ = FAMILIES[family]
    torch.manual_seed(0)
    try:
        return layer(WIDTH, config(**base | options)).double()
    except ValueError as error:
        return str(error)


def marks(layer: SequenceLayer, axes: int) -> tuple[list[Any], Tensor]:
    """All that an option can change: parameters, their options, and the output in training."""
    named = [(name, p.tolist(), getattr(p, "optim", None)) for name, p in layer.named_parameters()]
    torch.manual_seed(1)
    u = torch.randn(2, *(7, 5)[:axes], WIDTH, dtype=torch.float64)
    return named, layer.train()(u)[0].detach()


def assert_effect(one: tuple[list[Any], Tensor], other: tuple[list[Any], Tensor], what: str) -> None:
    same = one[0] == other[0] and one[1].shape == other[1].shape and torch.equal(one[1], other[1])
    assert not same, f"{what} is accepted and does nothing"


def assert_three_forms(layer: SequenceLayer) -> None:
    layer.eval()
    u = torch.randn(2, 7, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        whole, _ = layer(u)
        first, state = layer(u[:, :4], layer.initial_state(2))
        second, _ = layer(u[:, 4:], state)
        torch.testing.assert_close(torch.cat((first, second), 1), whole, rtol=0, atol=1e-10)
        step, state = layer.stepper(), layer.initial_state(2)
        for i, sample in enumerate(u.unbind(1)):
            y, state = step(sample, state)
            torch.testing.assert_close(y, whole[:, i], rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_alone_and_in_pairs(family: str) -> None:
    choices, axes = FAMILIES[family][3:]
    plain = made(family, {})
    assert not isinstance(plain, str), plain
    known: dict[tuple[tuple[str, Any], ...], tuple[list[Any], Tensor]] = {(): marks(plain, axes)}
    sets = [*((each,) for each in choices), *combinations(choices, 2)]
    for chosen in sets:
        options = dict(chosen)
        if len(options) < len(chosen):  # two values of one option
            continue
        layer = made(family, options)
        if isinstance(layer, str):
            assert layer.endswith(".")
            assert len(layer.split()) > 4
            continue
        known[chosen] = marks(layer, axes)
        for each in chosen:
            without = tuple(other for other in chosen if other != each)
            # How a dropout is tied shows where there is one.
            if without in known and (each[0] != "tie_dropout" or "dropout" in options):
                assert_effect(known[chosen], known[without], f"{each} in {options}")
        if axes == 1 and not options.get("bidirectional"):
            assert_three_forms(layer)
    refused = {name for name, _ in choices} - {name for chosen in known for name, _ in chosen}
    assert refused == REFUSED.get(family, set())


REFUSED = {
    "s4": {"share_channels"},
    "s4d": {"share_channels"},
    "s4nd": {
        *("share_channels", "swap_channels", "gate", "gate_act", "mult_act", "bottleneck", "l_max", "l_kernel", "dim"),
    },
    "hippo-legs": {"dt"},
    "hippo-legt": {"l_max"},
    "hippo-lagt": {"l_max"},
}
