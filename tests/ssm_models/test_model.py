"""Whole models: sizes, heads, layers of the user's own, refusals, imports."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ssm_models.config import Interface
from ssm_models.model import build_model
from ssm_models.options import from_options
from ssm_models.zoo import ZOO
from ssm_testing.configs import s4_config

LISTOPS = Interface(tokens=True, d_input=18, d_output=10, l_max=2048)
TEXT = Interface(tokens=True, d_input=135, d_output=2, l_max=4096)
RETRIEVAL = Interface(tokens=True, d_input=98, d_output=2, l_max=4000, pair=True)
IMAGE = Interface(tokens=False, d_input=1, d_output=10, l_max=1024)
PATHFINDER = Interface(tokens=False, d_input=1, d_output=2, l_max=1024)
COLOUR = Interface(tokens=False, d_input=3, d_output=10, l_max=1024)


@pytest.mark.parametrize(
    ("io", "options", "parameters"),
    [
        (LISTOPS, {"n_layers": 8, "d_model": 128, "norm": "batch"}, 599_562),
        (TEXT, {"norm": "batch", "prenorm": True}, 1_322_754),
        (RETRIEVAL, {"norm": "batch", "prenorm": True}, 1_575_682),
        (IMAGE, {"d_model": 512, "n_ssm": 2}, 3_565_834),
        (PATHFINDER, {"norm": "batch", "prenorm": True, "decoder": "last"}, 1_288_706),
        (COLOUR, {"d_model": 512, "n_ssm": 2}, 3_566_858),
        (COLOUR, {"n_layers": 4, "d_model": 128, "n_ssm": 1, "final_act": "none"}, 136_202),
    ],
)
def test_sizes_are_those_of_the_published_s4_recipes(io: Interface, options: dict, parameters: int) -> None:
    options = {"n_layers": 6, "d_model": 256, "d_state": 64, "bidirectional": True, **options}
    with torch.device("meta"):
        config = s4_config(kernel="diagonal", init="diag-lin", **options)
        model = build_model(config, io)
    # What the low-rank part adds: P, for each layer and copy.
    kernel = config.layer.kernel
    low_rank = config.n_layers * (kernel.n_ssm or config.d_model) * kernel.d_state
    assert sum(p.numel() for p in model.parameters()) + low_rank == parameters


@pytest.mark.parametrize("name", ["s4", "s4d", "s4d-real", "dss-softmax"])
def test_a_zoo_model_has_the_size_of_its_formula(name: str) -> None:
    H, N, layers = 8, 4, 2
    model = build_model(ZOO[name](d_model=H, d_state=N, n_layers=layers), LISTOPS)
    system = {"s4": 3 * H * N, "s4d": 2 * H * N, "s4d-real": 2 * H * N, "dss-softmax": N}[name]
    each = system + H * N + H + H + (2 * H * H + 2 * H) + 2 * H  # A, B (P); C; D; dt; output; norm
    assert sum(p.numel() for p in model.parameters()) == 18 * H + layers * each + 10 * H + 10


@pytest.mark.parametrize("decoder", ["pool", "last"])
@pytest.mark.parametrize("pair", [False, True])
def test_padding_has_no_effect(decoder: str, pair: bool) -> None:
    """With lengths, a padded row gives what the row alone gives; also for a bidirectional layer."""
    torch.manual_seed(0)
    io = Interface(tokens=True, d_input=7, d_output=3, l_max=32, pair=pair)
    config = ZOO["s4d"](d_model=8, d_state=4, n_layers=2, bidirectional=True, prenorm=True, decoder=decoder)
    model = build_model(config, io).double().eval()
    lengths = torch.tensor([13, 13, 32, 32] if pair else [13, 1, 32, 7])
    x = torch.randint(0, 7, (4, 32))
    whole = model(x, lengths)
    noisy = torch.where(torch.arange(32) < lengths[:, None], x, torch.randint(0, 7, (4, 32)))
    torch.testing.assert_close(model(noisy, lengths), whole, rtol=1e-10, atol=1e-10)
    if not pair:
        for row, n in enumerate(lengths.tolist()):
            torch.testing.assert_close(model(x[row : row + 1, :n])[0], whole[row], rtol=1e-9, atol=1e-9)


def test_a_pair_is_compared_with_its_own_partner() -> None:
    torch.manual_seed(0)
    io = Interface(tokens=True, d_input=7, d_output=2, l_max=16, pair=True)
    model = build_model(ZOO["s4d"](d_model=8, d_state=4, n_layers=1), io).eval()
    first, second = torch.randint(0, 7, (2, 3, 16))
    together = model(torch.cat((first, second)))
    for i in range(3):
        alone = model(torch.stack((first[i], second[i])))
        torch.testing.assert_close(together[i], alone[0], rtol=1e-5, atol=1e-5)


CUSTOM = """
import torch
from torch import nn

class Mean(nn.Module):
    def __init__(self, d_model, scale=1.0):
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)
        self.scale = scale
    def forward(self, x):
        positions = torch.arange(1, x.shape[1] + 1).view(1, -1, 1)
        return self.scale * self.linear(x.cumsum(1) / positions)

class WithState(Mean):
    def forward(self, x):
        return super().forward(x), None

class Narrow(nn.Module):
    def __init__(self, d_model):
        super().__init__()
    def forward(self, x):
        return x[..., :1]
"""


@pytest.fixture
def custom(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(CUSTOM)
    return path


@pytest.mark.parametrize("name", ["Mean", "WithState"])
def test_a_layer_of_the_users_own_trains(custom: Path, name: str) -> None:
    config = from_options("custom", {"path": f"{custom}:{name}", "args": {"scale": 0.5}, "n_layers": 2, "d_model": 8})
    model = build_model(config, LISTOPS)
    assert model.backbone.layers[0].layer.module.scale == 0.5
    y = model(torch.randint(0, 18, (3, 11)), torch.tensor([11, 4, 1]))
    assert y.shape == (3, 10)
    y.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("path", "args", "sentence"),
    [
        ("{}:Absent", {}, "has no nn.Module called 'Absent'; it has Mean, WithState, Narrow"),
        ("{}x.py:Mean", {}, "There is no file"),
        ("{}", {}, "file.py:Class"),
        ("{}:Mean", {"wrong": 1}, "wrong"),
    ],
)
def test_a_custom_layer_that_cannot_be_had(custom: Path, path: str, args: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        build_model(from_options("custom", {"path": path.format(custom), "args": args}), LISTOPS)


def test_a_custom_layer_of_the_wrong_width(custom: Path) -> None:
    model = build_model(from_options("custom", {"path": f"{custom}:Narrow", "d_model": 8}), LISTOPS)
    with pytest.raises(ValueError, match=r"must give a tensor of its input's shape \(2, 5, 8\), not \(2, 5, 1\)"):
        model(torch.zeros(2, 5, dtype=torch.long))


def test_configurations_and_the_zoo_do_not_import_torch() -> None:
    code = "import sys, ssm_models.config, ssm_models.zoo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ZOO)
def test_every_zoo_model_builds_from_its_presets(name: str) -> None:
    config = ZOO[name](d_model=8, n_layers=1)
    if name == "s4nd":
        model = build_model(config, Interface(tokens=False, d_input=3, d_output=3, l_max=(5, 4)))
        x = torch.randn(2, 5, 4, 3)
    else:
        model = build_model(config, Interface(tokens=True, d_input=5, d_output=3, l_max=16))
        x = torch.randint(0, 5, (2, 16))
    assert model(x).shape == (2, 3)


@pytest.mark.parametrize(("image", "options", "parameters"), [
    ((32, 32), {"d_model": 512}, 3_964_170),
    ((16, 16), {"d_model": 256, "init": "diag-lin", "bandlimit": 0.2}, 1_196_810),
])  # fmt: skip
def test_sizes_are_those_of_the_published_s4nd_recipes(image: tuple[int, int], options: dict, parameters: int) -> None:
    model = build_model(
        ZOO["s4nd"](n_layers=6, **options), Interface(tokens=False, d_input=3, d_output=10, l_max=image)
    )
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("extent", [(6, 5), (3, 4, 5)])
def test_a_stack_over_several_axes_is_equivariant_and_trains(extent: tuple[int, ...]) -> None:
    """Transposing the axes and the kernels along them transposes nothing else; every parameter gets a gradient."""
    torch.manual_seed(0)
    io = Interface(tokens=False, d_input=3, d_output=4, l_max=extent)
    config = ZOO["s4nd"](d_model=8, d_state=4, n_layers=2, norm="batch", dim=len(extent))
    model = build_model(config, io).double()
    turned = build_model(config, Interface(tokens=False, d_input=3, d_output=4, l_max=extent[::-1])).double()
    turned.load_state_dict({k: v for k, v in model.state_dict().items() if ".kernel." not in k}, strict=False)
    for layer, other in zip(model.backbone.layers, turned.backbone.layers, strict=True):
        for kernel, mirrored in zip(layer.layer.kernel, list(other.layer.kernel)[::-1], strict=True):
            mirrored.load_state_dict(kernel.state_dict())
    x = torch.randn(3, *extent, 3, dtype=torch.float64)
    y = model(x)
    order = (0, *range(len(extent), 0, -1), len(extent) + 1)
    torch.testing.assert_close(turned(x.permute(order)), y, rtol=1e-9, atol=1e-9)
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    half = model.eval()(x[:, ::2, ::2], rate=2.0)
    assert half.shape == y.shape


def test_axes_must_fit_the_model() -> None:
    image = Interface(tokens=False, d_input=3, d_output=4, l_max=(6, 5))
    for name, io, sentence in (
        ("s4d", image, "runs over one axis"),
        ("s4nd", IMAGE, "takes the extent along each"),
        ("s4nd", Interface(tokens=False, d_input=3, d_output=4, l_max=(6, 5, 4)), "dim=2 axes"),
    ):
        with pytest.raises(ValueError, match=sentence):
            build_model(ZOO[name](d_model=4, d_state=4, n_layers=1), io)
    with pytest.raises(ValueError, match="no last element"):
        ZOO["s4nd"](decoder="last")
