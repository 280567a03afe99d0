"""The linear recurrent unit against its recurrence."""

import torch
from ssm_models.config import LRULayerConfig
from ssm_models.layers.lru import LRULayer


def test_lru_is_its_recurrence_and_starts_in_its_ring() -> None:
    torch.manual_seed(0)
    config = LRULayerConfig(d_state=64, r_min=0.5, r_max=0.9, max_phase=0.3)
    layer = LRULayer(4, config).double()
    A_bar = torch.polar((-layer.nu_log.exp()).exp(), layer.theta_log.exp())
    assert A_bar.abs().min() >= 0.5
    assert A_bar.abs().max() <= 0.9
    assert A_bar.angle().max() <= 0.3
    torch.testing.assert_close(layer.gamma_log.exp(), (1 - A_bar.abs() ** 2).sqrt(), rtol=1e-5, atol=1e-6)
    B, C = (torch.view_as_complex(each.detach()) for each in (layer.B, layer.C))
    u = torch.randn(2, 70, 4, dtype=torch.float64)
    x, outputs = torch.zeros(2, 64, dtype=torch.complex128), []
    for sample in u.unbind(1):
        x = A_bar * x + layer.gamma_log.exp() * (sample.to(x) @ B.mT)
        y = torch.nn.functional.gelu((x @ C.mT).real + layer.D * sample)
        outputs.append(torch.nn.functional.glu(layer.output_linear(y), -1))
    torch.testing.assert_close(layer(u)[0], torch.stack(outputs, 1), rtol=1e-10, atol=1e-10)
