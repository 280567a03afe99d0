"""SaShiMi: published sizes, its three forms, causality, padding, names of the published parameters."""

import re

import pytest
import torch
from ssm_models.backbones.sashimi import Sashimi
from ssm_models.checkpoints.reference import sashimi_parameters
from ssm_models.config import Interface
from ssm_models.kernels.diagonal import DiagonalKernel
from ssm_models.kernels.dplr import DPLRKernel
from ssm_models.model import build_model
from ssm_models.modules.norms import ScalarNorm
from ssm_models.zoo import ZOO
from ssm_testing.configs import sashimi_config


def backbone(unet: bool, **options: object) -> Sashimi:
    torch.manual_seed(0)
    sizes = {"d_model": 4, "n_layers": 1, "d_state": 4, "pool": (2, 3), "n_ssm": None, **options}
    return Sashimi(ZOO["sashimi-unet" if unet else "sashimi"](**sizes)).double()


@pytest.mark.parametrize(("name", "parameters"), [("sashimi", 4_751_072), ("sashimi-unet", 6_820_512)])
def test_sizes_are_those_of_the_published_audio_models(name: str, parameters: int) -> None:
    """With 8-bit samples in, and their distribution out."""
    model = build_model(ZOO[name](l_kernel=1), Interface(tokens=True, d_input=256, d_output=256, l_max=16000))
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("unet", [False, True])
@pytest.mark.parametrize("L", [1, 5, 6, 29])
@pytest.mark.parametrize("rate", [1.0, 2.0])
def test_chunks_and_steps(unet: bool, L: int, rate: float) -> None:
    model = backbone(unet, l_kernel=12)
    u = torch.randn(2, L, 4, dtype=torch.float64, requires_grad=True)
    whole, none = model(u, rate=rate)
    assert none is None
    for bounds in ([L], [1] * L, [1, 5, 2, 7, 1, 13]):
        state, parts = model.initial_state(2), []
        for chunk in u.split(bounds if sum(bounds) == L else L // 2 + 1, 1):
            y, state = model(chunk, state, rate=rate)
            parts.append(y)
        chunked = torch.cat(parts, 1)
        torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-10)
    step, stepped, outputs = model.stepper(rate), model.initial_state(2), []
    for sample in u.unbind(1):
        y, stepped = step(sample, stepped)
        outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs, 1), whole, rtol=0, atol=1e-10)
    torch.testing.assert_close(stepped, state, rtol=0, atol=1e-10)
    weights = torch.randn_like(whole)
    inputs = [u, *model.parameters()]
    expected = torch.autograd.grad((whole * weights).sum(), inputs, allow_unused=True)
    actual = torch.autograd.grad((chunked * weights).sum(), inputs, allow_unused=True)
    for mine, each, value in zip(actual, expected, inputs, strict=True):
        zero = torch.zeros_like(value)
        torch.testing.assert_close(zero if mine is None else mine, zero if each is None else each, rtol=0, atol=1e-10)


@pytest.mark.parametrize("unet", [False, True])
def test_no_output_depends_on_a_later_input(unet: bool) -> None:
    model = backbone(unet)
    u = torch.randn(1, 17, 4, dtype=torch.float64, requires_grad=True)
    y, _ = model(u)
    for i in range(17):
        (gradient,) = torch.autograd.grad(y[:, i, 0].sum(), u, retain_graph=True)
        assert (gradient[:, i + 1 :].abs() < 1e-14).all()  # what rounding in the transforms leaves
        assert (gradient[:, max(0, i - 8) : i + 1].abs().sum(-1) > 1e-10).all()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("unet", [False, True])
def test_padding_has_no_effect(unet: bool, bidirectional: bool) -> None:
    model = backbone(unet, bidirectional=bidirectional)
    lengths = [13, 1, 24, 7]
    u = torch.randn(4, 24, 4, dtype=torch.float64)
    whole, _ = model(u, lengths=torch.tensor(lengths))
    for row, n in enumerate(lengths):
        alone, _ = model(u[row : row + 1, :n], lengths=torch.tensor([n]))
        torch.testing.assert_close(alone[0], whole[row, :n], rtol=0, atol=1e-10)


def test_a_model_trains() -> None:
    torch.manual_seed(0)
    config = ZOO["sashimi"](d_model=8, n_layers=1, d_state=4, pool=(2, 2))
    model = build_model(config, Interface(tokens=True, d_input=5, d_output=3, l_max=19))
    assert [int(each) for key, each in model.state_dict().items() if key.endswith("l_kernel")] == [19, 10, 5]
    model(torch.randint(0, 5, (2, 19)), torch.tensor([19, 4])).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("unet", [False, True])
def test_published_names(unet: bool) -> None:
    """The authors' backbones number their parts in lists; every one of ours has its place there."""
    model = backbone(unet, n_layers=2)
    ours, theirs = model.state_dict(), {}
    for key, value in ours.items():
        name = re.sub(r"layer\.(D$|kernel)", r"layer.layer.\1", key).replace("output_linear.", "output_linear.0.")
        if "hidden" in key or ("output_linear" in key and key.replace("output_linear", "hidden") in ours):
            name = key.replace("hidden", "ff.0.0").replace("output_linear", "ff.2")
        name = re.sub(r"(\d)\.norm\.(shift|scale)", lambda m: f"{m[1]}.norm.norm.{'ms'[m[2] == 'scale']}", name)
        name = name.replace("parametrizations.weight.original0", "linear.weight_g")
        name = name.replace("parametrizations.weight.original1", "linear.weight_v")
        name = re.sub(r"(down|up)\.(weight|bias)", r"\1.linear.\2", name)
        name = name.replace("center.", "c_layers.")
        if match := re.match(r"scales\.(\d)\.(before|down|up|after)\.(?:(\d)\.)?(.*)", name):
            i, part, j, rest = int(match[1]), match[2], int(match[3] or 0), match[4]
            if unet:  # flat lists
                place = {"before": f"d_layers.{5 * i + j}", "down": f"d_layers.{5 * i + 4}"}
                place |= {"up": f"u_layers.{5 * (1 - i)}", "after": f"u_layers.{5 * (1 - i) + 1 + j}"}
            else:
                place = {"down": f"d_layers.{i}", "up": f"u_layers.{1 - i}.0", "after": f"u_layers.{1 - i}.{1 + j}"}
            name = f"{place[part]}.{rest}"
        theirs[name] = value
    assert len(theirs) == len(ours)
    found = sashimi_parameters(theirs, model.config)
    assert found.keys() == ours.keys()
    assert all(found[key] is ours[key] for key in ours)


@pytest.mark.parametrize("kind", ["relu", "glu"])
def test_an_activation_between_scales(kind: str) -> None:
    scale, plain = (backbone(False, pool_act=each, pool_weight_norm=False).scales[0] for each in (kind, "none"))
    x, z = torch.randn(2, 6, 4, dtype=torch.float64), torch.randn(2, 3, 8, dtype=torch.float64)
    if kind == "relu":
        torch.testing.assert_close(scale.coarsen(x), plain.coarsen(x).relu())
        torch.testing.assert_close(scale.refine(z), plain.refine(z).relu())
        return
    values, gates = scale.down(x.view(2, 3, 2, 4).mT.flatten(-2)).chunk(2, -1)
    torch.testing.assert_close(scale.coarsen(x), values * torch.sigmoid(gates))
    assert scale.refine(z).shape == (2, 6, 4)


def test_the_center_has_options_of_its_own() -> None:
    model = backbone(False, l_kernel=13, center={"kernel": "diagonal", "disc": "zoh", "d_state": 6, "n_ssm": 2})
    kernel = model.center[0].layer.kernel
    assert (type(kernel), kernel.A_imag.shape) == (DiagonalKernel, (2, 3))
    finer = [scale.after[0].layer.kernel for scale in model.scales]
    assert [(type(each), each.config.l_kernel) for each in finer] == [(DPLRKernel, 13), (DPLRKernel, 7)]
    model = backbone(False, l_kernel=13, center={"channels": 2})
    assert model.center[0].layer.D.shape == (2, 16)
    assert model.center[0].layer.kernel.config.l_kernel == 3


def test_a_scalar_norm_has_one_scale_and_one_shift() -> None:
    norm, x = ScalarNorm(5).double(), torch.randn(3, 5, dtype=torch.float64)
    with torch.no_grad():
        norm.scale.fill_(2.0)
        norm.shift.fill_(0.3)
    expected = 2 * (x - x.mean(-1, keepdim=True) + 0.3) / x.std(-1, correction=0, keepdim=True)
    torch.testing.assert_close(norm(x), expected)


def test_refusals() -> None:
    for options, sentence in (
        ({"pool": (4, 1)}, "pool has an entry that is at least 2"),
        ({"expand": 0}, "expand is at least 1"),
        ({"ff": -1}, "ff is at least 0"),
        ({"l_max": 9}, "leave l_max out"),
        ({"center": {"pool": (2,)}}, "of which pool is none"),
        ({"center": {"l_kernel": 4}}, "of which l_kernel is none"),
        ({"center": {"kernel": "diagonal", "rank": 2}}, "no option 'rank' of the layer with kernel=diagonal"),
    ):
        with pytest.raises(ValueError, match=sentence):
            sashimi_config(**options)
    model = backbone(False, bidirectional=True)
    with pytest.raises(ValueError, match="needs the future"):
        model.initial_state(2)
    model = backbone(False)
    with pytest.raises(ValueError, match="give lengths or a state"):
        model(torch.zeros(1, 3, 4).double(), model.initial_state(1), lengths=torch.tensor([2]))
