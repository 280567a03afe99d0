"""The S5 layer against its recurrence."""

import torch
from ssm_models.config import S5LayerConfig
from ssm_models.layers.s5 import S5Layer


def test_s5_is_its_recurrence() -> None:
    torch.manual_seed(0)
    layer = S5Layer(4, S5LayerConfig(d_state=8, blocks=2)).double()
    A = torch.complex(-layer.A_real.exp(), -layer.A_imag)
    A_bar = (A * layer.log_dt.exp()).exp()
    B_bar = ((A_bar - 1) / A)[:, None] * torch.view_as_complex(layer.B)
    C = torch.view_as_complex(layer.C)
    u = torch.randn(2, 40, 4, dtype=torch.float64)
    x, outputs = torch.zeros(2, 4, dtype=torch.complex128), []
    for sample in u.unbind(1):
        x = A_bar * x + sample.to(x) @ B_bar.mT
        y = torch.nn.functional.gelu(2 * (x @ C.mT).real + layer.D * sample)
        outputs.append(y * torch.sigmoid(layer.output_linear(y)))
    torch.testing.assert_close(layer(u)[0], torch.stack(outputs, 1), rtol=1e-10, atol=1e-10)
