"""The HiPPO-RNN against the S4 authors' implementation, and its three forms."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from ssm_models.config import HiPPORNNLayerConfig
from ssm_models.layers.hippo_rnn import HiPPORNNLayer

GOLDEN = Path(os.environ.get("SSM_GOLDEN_DIR", Path(__file__).parents[2] / "golden")) / "more"
INDEX = json.loads((GOLDEN / "index.json").read_text()) if GOLDEN.is_dir() else {}
CASES = {name: case for name, case in INDEX.items() if case["kind"].startswith("HiPPO-RNN")}
RENAMED = {"W_uxh.0.": "W_uxh.", "W_gxm.W_g.": "W_gxm."}


def rename(key: str) -> str:
    for theirs, ours in RENAMED.items():
        key = key.replace(theirs, ours)
    return key


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, dtype: torch.dtype, tolerance: float) -> None:
    case, arrays = CASES[name], dict(np.load(GOLDEN / f"{name}.npz"))
    config = HiPPORNNLayerConfig(
        measure=name.rpartition("_")[2],
        memory_size=case["memory_size"],
        memory_order=case["memory_order"],
        gate={"G": "gru", "N": "none"}[case["gate"]],
        **{key: case[key] for key in ("dt", "l_max") if key in case},
    )
    layer = HiPPORNNLayer(case["d_model"], config, d_input=case["d_input"]).to(dtype)
    parameters = {rename(k.removeprefix("param/")): torch.as_tensor(v) for k, v in arrays.items() if "param/" in k}
    for key in ("A", "B"):
        torch.testing.assert_close(getattr(layer, key).double(), parameters[key].double(), rtol=1e-6, atol=2e-7)
    layer.load_state_dict(parameters)

    def assert_close(actual: torch.Tensor, expected: np.ndarray) -> None:
        error = (actual.detach().double() - torch.as_tensor(expected)).abs().max() / np.abs(expected).max()
        assert error <= tolerance

    u = torch.as_tensor(arrays["u"]).to(dtype).requires_grad_()
    y, (h, m, t) = layer(u, layer.initial_state(len(u)))
    assert t == u.shape[1]
    assert_close(y, arrays["y"])
    assert_close(h, arrays["y"][:, -1])
    assert_close(m, arrays["memory"])
    (y * torch.as_tensor(arrays["g"]).to(dtype)).sum().backward()
    ours = dict(layer.named_parameters())
    for key, expected in arrays.items():
        if key.startswith("grad/"):
            name = rename(key.removeprefix("grad/"))
            assert_close(u.grad if name == "u" else ours[name].grad, expected)


def test_the_memory_of_a_half_rate_signal() -> None:
    """LegT at rate 2 on every second sample keeps the memory of the whole signal."""
    torch.manual_seed(0)
    config = HiPPORNNLayerConfig(measure="legt", memory_order=8, dt=0.004)
    layer = HiPPORNNLayer(2, config).double()
    t = torch.linspace(0, 2, 501, dtype=torch.float64)[1:]
    with torch.no_grad():  # write the input itself
        layer.W_uxh.weight.zero_()[:, 0] = 1.0
        layer.W_uxh.bias.zero_()
    u = torch.stack((torch.sin(3 * t), torch.zeros_like(t)), -1)[None]
    _, (_, fine, _) = layer(u, layer.initial_state(1))
    _, (_, coarse, _) = layer(u[:, 1::2], layer.initial_state(1), rate=2.0)
    assert (coarse - fine).norm() < 0.03 * fine.norm()
