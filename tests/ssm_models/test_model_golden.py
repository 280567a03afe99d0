"""Whole stacks, S4ND and the minimal S4D against the S4 authors' implementation."""

import ast
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ssm_models.backbones.stack import ResidualStack
from ssm_models.checkpoints.reference import (
    layer_config,
    minimal_s4d_config,
    minimal_s4d_parameters,
    parameters,
    s4nd_layer_config,
    sashimi_parameters,
)
from ssm_models.config import StackConfig
from ssm_models.contract import SequenceLayer
from ssm_models.layers.s4 import S4Layer
from ssm_models.layers.s4nd import S4NDLayer
from ssm_models.model import build_backbone
from ssm_testing.close import assert_close
from ssm_testing.configs import sashimi_config
from torch import Tensor

GOLDEN = Path(os.environ.get("SSM_GOLDEN_DIR", Path(__file__).parents[1] / "golden")) / "models"
CASES = json.loads((GOLDEN / "index.json").read_text()) if GOLDEN.is_dir() else {}

Rename = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def _literal(value: Any) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def build_stack(case: dict, arrays: dict[str, np.ndarray]) -> tuple[SequenceLayer, Rename]:
    lengths = [int(value) for key, value in arrays.items() if key.endswith("l_kernel") and "after" in key]
    layer = layer_config(case["layer"], l_kernel=lengths[0] if lengths else None)
    stack = StackConfig(n_layers=case["n_layers"], d_model=case["d_model"], norm=case["norm"], prenorm=case["prenorm"])
    layers = [S4Layer(case["d_model"], layer) for _ in range(case["n_layers"])]
    model = ResidualStack(layers, stack)
    return model.train(case["mode"].startswith("train")), parameters


def build_s4nd(case: dict, arrays: dict[str, np.ndarray]) -> tuple[SequenceLayer, Rename]:
    settings = {key: _literal(value) for key, value in case.items() if key != "kind"}
    return S4NDLayer(arrays["input0"].shape[1], s4nd_layer_config(settings)), parameters


def build_minimal(case: dict, arrays: dict[str, np.ndarray]) -> tuple[SequenceLayer, Rename]:
    _, M, _ = arrays["param/kernel.C"].shape
    return S4Layer(arrays["input0"].shape[1], minimal_s4d_config(2 * M)), minimal_s4d_parameters


def build_sashimi(case: dict, arrays: dict[str, np.ndarray]) -> tuple[SequenceLayer, Rename]:
    options = {key: tuple(value) if key == "pool" else value for key, value in case.items() if key != "kind"}
    config = sashimi_config(prenorm=True, pool_weight_norm=False, l_kernel=arrays["input0"].shape[1], **options)
    return build_backbone(config), lambda state: sashimi_parameters(state, config)


BUILDERS = {"SaShiMi": build_sashimi, "stack": build_stack, "S4ND": build_s4nd, "minimal S4D": build_minimal}
KINDS = {name: next((kind for kind in BUILDERS if case["kind"].startswith(kind)), None) for name, case in CASES.items()}


class Case:
    def __init__(self, name: str, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.tolerance = 1e-9 if dtype == torch.float64 else 1e-4
        self.arrays = dict(np.load(GOLDEN / f"{name}.npz"))
        self.channels_first = "H, L" in CASES[name]["kind"]
        model, self.rename = BUILDERS[KINDS[name]](CASES[name], self.arrays)
        self.model = model.to(dtype)
        self.model.load_state_dict(self.rename(self.group("param/") | self.group("param_after_first_forward/")))
        for name, kernel in self.model.named_modules():
            key = f"param_after_first_forward/{name}."
            if key + "l_kernel" in self.arrays and key + "C" not in self.arrays:
                with torch.no_grad():  # the plain C stands in the archive
                    kernel.C.copy_(kernel.tied_C(int(kernel.l_kernel)))

    def group(self, prefix: str) -> dict[str, Tensor]:
        return {
            key.removeprefix(prefix): torch.as_tensor(value)
            for key, value in self.arrays.items()
            if key.startswith(prefix)
        }

    def tensor(self, name: str) -> Tensor:
        """An array of activations with its features last."""
        value = torch.as_tensor(self.arrays[name])
        return (value.movedim(1, -1) if self.channels_first else value).to(self.dtype)

    def assert_close(self, actual: Tensor, expected: Tensor, name: str) -> None:
        assert_close(actual, expected, self.tolerance, name, floor=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", [name for name in CASES if KINDS[name]])
def test_output_and_gradients(name: str, dtype: torch.dtype) -> None:
    case = Case(name, dtype)
    u = case.tensor("input0").requires_grad_()
    y, _ = case.model(u)
    case.assert_close(y, case.tensor("y"), "the output")
    (y * case.tensor("g")).sum().backward()
    gradients = case.group("grad/")
    for key in ("input0", "u"):
        if key in gradients:
            case.assert_close(u.grad, case.tensor(f"grad/{key}"), "the gradient of the input")
            del gradients[key]
    ours = dict(case.model.named_parameters())
    if case.rename is not parameters:
        # Shapes differ as well: the gradients go through the same conversion as the parameters.
        gradients = case.rename(gradients)
        gradients.pop("kernel.B", None)
    else:
        gradients = case.rename(gradients)
    assert gradients
    for key, expected in gradients.items():
        case.assert_close(ours[key].grad, expected, f"the gradient of {key}")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", [name for name in CASES if KINDS[name]])
def test_half_the_resolution(name: str, dtype: torch.dtype) -> None:
    case = Case(name, dtype)
    if "y_rate2" not in case.arrays:
        pytest.skip("the case has one resolution")
    y, _ = case.model(case.tensor("input_rate2"), rate=2.0)
    case.assert_close(y, case.tensor("y_rate2"), "the output at half the resolution")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", [name for name in CASES if KINDS[name]])
def test_recurrent_forms(name: str, dtype: torch.dtype) -> None:
    case = Case(name, dtype)
    if "y_recurrent" not in case.arrays:
        pytest.skip("the reference cannot step this case")
    expected = case.tensor("y_recurrent")
    u = case.tensor("input0")[:, : expected.shape[1]]
    state, step, outputs = case.model.initial_state(len(u)), case.model.stepper(), []
    for sample in u.unbind(1):
        y, state = step(sample, state)
        outputs.append(y)
    case.assert_close(torch.stack(outputs, 1), expected, "the output of steps")
    first, carried = case.model(u[:, :17], case.model.initial_state(len(u)))
    second, _ = case.model(u[:, 17:], carried)
    case.assert_close(torch.cat((first, second), 1), expected, "the output of chunks")
