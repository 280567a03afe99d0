"""Kernels and layers against their formulas, gradcheck, float32 accuracy, compilation, mixed precision."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from ssm_core.backends import use_backend
from ssm_core.dplr import generating_function
from ssm_kernels.host import compiler
from ssm_models.config import Interface, LRULayerConfig, S5LayerConfig
from ssm_models.kernels import make_kernel
from ssm_models.kernels.dplr import DPLRKernel
from ssm_models.layers.lru import LRULayer
from ssm_models.layers.s4 import S4Layer
from ssm_models.layers.s4nd import S4NDLayer
from ssm_models.layers.s5 import S5Layer
from ssm_models.model import build_backbone, build_model
from ssm_models.parameters import TRANSFORMS, inverse
from ssm_models.zoo import ZOO
from ssm_testing.configs import kernel_config, s4_layer_config, s4nd_layer_config
from torch import Tensor


def full_system(kernel: torch.nn.Module) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A (H, N, N), B (H, N), C (C, H, N) and dt (H,) of a kernel with the default transforms, complex, unfolded."""
    repeats = kernel.d_model // kernel.copies
    lam = torch.complex(-kernel.A_real.exp(), -kernel.A_imag).repeat(repeats, 1)
    B = torch.view_as_complex(kernel.B)[0].repeat(repeats, 1)
    C = torch.view_as_complex(kernel.C)
    A = torch.diag_embed(torch.cat((lam, lam.conj()), -1))
    if hasattr(kernel, "P"):
        P = torch.view_as_complex(kernel.P).repeat(1, repeats, 1)
        P = torch.cat((P, P.conj()), -1)
        A = A - torch.einsum("rhn,rhm->hnm", P, P.conj())
    return A, torch.cat((B, B.conj()), -1), torch.cat((C, C.conj()), -1), kernel.inv_dt.exp()[:, 0]


def direct_kernel(kernel: torch.nn.Module, L: int) -> Tensor:
    """C A_bar^l B_bar, power by power."""
    A, B, C, dt = full_system(kernel)
    I = torch.eye(A.shape[-1], dtype=A.dtype)  # noqa: E741
    A, B = A * dt[:, None, None], B * dt[:, None]
    if getattr(kernel.config, "disc", "bilinear") == "bilinear":
        A_bar, x = torch.linalg.solve(I - A / 2, I + A / 2), torch.linalg.solve(I - A / 2, B)
    else:
        A_bar = torch.linalg.matrix_exp(A)
        x = torch.linalg.solve(A, ((A_bar - I) @ B[..., None]))[..., 0]
    taps = []
    for _ in range(L):
        taps.append(torch.einsum("chn,hn->ch", C, x).real)
        x = torch.einsum("hnm,hm->hn", A_bar, x)
    return torch.stack(taps, -1)


@pytest.mark.parametrize("L", [1, 2, 3, 17, 64, 97])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel": "dplr", "init": "legs"},
        {"kernel": "dplr", "init": "legt", "rank": 2},
        {"kernel": "dplr", "init": "fourier", "n_ssm": 2},
        {"kernel": "dplr", "init": "dplr-inv", "rank": 3, "P_scale": 0.3},
        {"kernel": "diagonal", "init": "diag-lin", "disc": "zoh"},
        {"kernel": "diagonal", "init": "diag-inv", "disc": "bilinear", "n_ssm": 1},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_the_kernel_is_its_definition(options: dict, L: int) -> None:
    torch.manual_seed(0)
    kernel = make_kernel(4, 2, kernel_config(d_state=6, dt_max=0.5, **options)).double()
    torch.testing.assert_close(kernel(L), direct_kernel(kernel, L), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("disc", ["zoh", "bilinear"])
def test_the_dense_kernel_is_the_dplr_one_in_the_basis_of_the_measure(disc: str) -> None:
    """From the same HiPPO matrix, one C and one step: LSSL and S4 are one system in two bases."""
    torch.manual_seed(0)
    options = {"d_state": 8, "init": "legs", "n_ssm": 1, "deterministic": True, "B_clip": None}
    dense = {key: value for key, value in options.items() if key != "B_clip"}
    one = make_kernel(3, 1, kernel_config(kernel="dense", **{**dense, "disc": "bilinear"})).double()
    other = make_kernel(3, 1, kernel_config(kernel="dplr", **options)).double()
    torch.testing.assert_close(one(50), other(50), rtol=1e-4, atol=1e-5)  # B and P start from float32
    fine = make_kernel(3, 1, kernel_config(kernel="dense", **{**dense, "disc": disc, "dt_max": 0.001})).double()
    coarse = fine(100)
    exact = torch.linalg.matrix_exp(fine.A[0] * 0.001 * 50) @ fine.B[0] * 0.001
    torch.testing.assert_close(coarse[0, 0, 50], fine.C[0, 0] @ exact, rtol=0.02, atol=1e-6)


@pytest.mark.parametrize("name", ["dss-exp", "dss-softmax"])
def test_dss_is_the_papers_formula(name: str) -> None:
    """arXiv:2203.14343, proposition 1: ``Re sum w / lambda`` times zero-order hold or the row softmax."""
    torch.manual_seed(0)
    L = 23
    kernel = make_kernel(3, 1, ZOO[name](d_model=3, d_state=6, dt_min=0.05).layer.kernel).double()
    assert "B" not in dict(kernel.named_parameters())
    assert kernel.A_real.shape == (1, 3)
    C, B, dt = torch.view_as_complex(kernel.C), torch.view_as_complex(kernel.B), kernel.inv_dt.exp()
    assert (B == 1).all()
    if name == "dss-exp":
        lam = torch.complex(-kernel.A_real.exp(), -kernel.A_imag)
        w = 2 * C  # a mode stands for itself and its conjugate
        rows = (lam * dt)[..., None] * torch.arange(L)
        weights = ((lam * dt).exp() - 1)[..., None] * rows.exp()
    else:
        with torch.no_grad():
            kernel.A_real[:, 1:] *= -0.5  # some modes grow
            kernel.A_imag += 0.3
        lam = torch.complex(-kernel.A_real, -kernel.A_imag)
        w = C
        rows = (lam * dt)[..., None] * torch.arange(L)
        weights = rows.exp() / rows.exp().sum(-1, keepdim=True)
    expected = torch.einsum("chm,hml->chl", w / lam, weights).real
    tolerance = 1e-10 if name == "dss-exp" else 1e-5  # the softmax has the published guard of its denominator
    torch.testing.assert_close(kernel(L), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("tied", [False, True])
def test_an_ema_is_its_recurrence(tied: bool) -> None:
    torch.manual_seed(0)
    kernel = make_kernel(3, 2, kernel_config(kernel="ema", d_state=4, dt_tie=tied)).double()
    p, alpha = torch.sigmoid(kernel.delta), torch.sigmoid(kernel.alpha)
    assert p.shape == (6, 1 if tied else 4)
    state, taps = torch.zeros_like(alpha), []
    for impulse in [1.0] + [0.0] * 20:
        state = (1 - p * alpha) * state + p * kernel.beta * impulse
        taps.append((kernel.gamma * state).sum(-1) / 2)
    torch.testing.assert_close(kernel(21).flatten(0, 1), torch.stack(taps, -1), rtol=1e-10, atol=1e-12)


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


@pytest.mark.parametrize("shape", [(7,), (5, 6), (3, 4, 5)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_s4nd_is_a_convolution_over_all_axes(shape: tuple[int, ...], bidirectional: bool) -> None:
    """Against the sum over all pairs of positions, with the kernel's outer products written out."""
    torch.manual_seed(0)
    config = s4nd_layer_config(
        kernel="diagonal", disc="zoh", init="diag-lin", d_state=4, dim=len(shape), trank=2, channels=2,
        bidirectional=bidirectional, activation="none", final_act=None,
    )  # fmt: skip
    H = 2
    layer = S4NDLayer(H, config).double()
    u = torch.randn(2, *shape, H, dtype=torch.float64)
    total = u.unsqueeze(-2).unsqueeze(-2).expand(*u.shape[:-1], 2, 2, H)
    for axis, (L, kernel) in enumerate(zip(shape, layer.kernel, strict=True)):
        k = kernel(L).unflatten(0, (-1, 2, 2)).transpose(1, 2)  # (direction, C, rank, H, L)
        lag = torch.arange(L)[:, None] - torch.arange(L)
        matrix = torch.where(lag >= 0, k[0][..., lag.clamp_min(0)], 0)  # (C, rank, H, L, L)
        if bidirectional:
            matrix = matrix + torch.where(lag < 0, k[1][..., (-lag - 1).clamp_min(0)], 0)
        total = torch.einsum("crhij,...jcrh->...icrh", matrix, total.movedim(axis + 1, -4))
        total = total.movedim(-4, axis + 1)
    expected = (total.mean(-2) + layer.D * u.unsqueeze(-2)).flatten(-2)
    torch.testing.assert_close(layer(u)[0], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["diagonal", "dplr"])
def test_s4nd_at_half_the_resolution(kind: str) -> None:
    """A layer trained on a smooth image, at rate 2 on every second sample of it, also along one axis alone."""
    torch.manual_seed(0)
    config = s4nd_layer_config(
        kernel=kind, d_state=8, init="diag-lin" if kind == "diagonal" else "legs", dt_min=1e-3, dt_max=1e-2,
        activation="none", final_act=None,
    )  # fmt: skip
    layer = S4NDLayer(2, config).double()
    t = torch.linspace(0, 1, 301, dtype=torch.float64)[1:]
    u = (torch.sin(8 * t)[:, None] * torch.cos(5 * t))[None, ..., None] * torch.ones(2, dtype=torch.float64)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        loss = torch.nn.functional.mse_loss(layer(u)[0][:, 30:, 30:], u[:, :-30, :-30])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    fine, _ = layer(u)
    for rate, slices in ((2.0, (slice(1, None, 2),) * 2), ((1.0, 2.0), (slice(None), slice(1, None, 2)))):
        coarse, _ = layer(u[:, slices[0], slices[1]], rate=rate)
        expected = fine[:, slices[0], slices[1]]
        assert (coarse - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize(
    "name", ["s4", "s4-fout", "s4d-lin", "s4d-real", "dss-exp", "dss-softmax", "lssl", "lssl-zoh", "ema", "free"]
)
def test_gradcheck(name: str) -> None:
    torch.manual_seed(0)
    if name == "free":
        config = kernel_config(kernel="free", l_max=9)
    elif name == "lssl-zoh":
        config = ZOO["lssl"](d_model=2, d_state=4, n_ssm=None, disc="zoh").layer.kernel
    else:
        options = {} if name == "ema" else {"n_ssm": None}
        length = {"l_kernel": 6} if name in ("s4", "s4-fout") else {}
        config = ZOO[name](d_model=2, d_state=4, **options, **length).layer.kernel
    kernel = make_kernel(2, 2, config).double()
    names, values = zip(*kernel.named_parameters(), strict=True)

    def taps(*parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(kernel, given, (7,))

    assert torch.autograd.gradcheck(taps, tuple(v.detach().requires_grad_() for v in values))


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_a_transform_undoes_its_inverse(kind: str) -> None:
    values = torch.tensor([1e-3, 0.1, 0.5, 0.9], dtype=torch.float64)
    floor = 1e-4 if kind == "relu" else 0.0
    torch.testing.assert_close(TRANSFORMS[kind](inverse(values, kind)), values + floor, rtol=1e-12, atol=1e-12)
    assert inverse(torch.zeros(1), kind).isfinite().all()


ACCURACY = {
    "s4": {"init": "legs"},
    "s4-tied": {"init": "legs", "l_kernel": 1024},
    "s4-legt": {"init": "legt", "rank": 2},
    "s4-fout": {"init": "fourier"},
    "s4-fout-tied": {"init": "fourier", "l_kernel": 1024},
    "s4d-lin": {"kernel": "diagonal", "init": "diag-lin"},
    "s4d-inv": {"kernel": "diagonal", "init": "diag-inv"},
    "s4d-legs": {"kernel": "diagonal", "init": "diag-legs"},
    "s4d-lin-zoh": {"kernel": "diagonal", "init": "diag-lin", "disc": "zoh"},
    "s4d-real": {"kernel": "diagonal", "init": "diag-real", "is_real": True},
    "dss-exp": {"kernel": "diagonal", "init": "diag-legs", "disc": "zoh", "B_init": "constant"},
    "dss-softmax": {"kernel": "diagonal", "init": "diag-legs", "disc": "dss", "real_transform": "none"},
    "lssl": {"kernel": "dense", "init": "legs"},
    "ema": {"kernel": "ema", "dt_tie": False},
}


def with_steps(name: str, dt: float, d_state: int = 16, **changes: None) -> torch.nn.Module:
    """A kernel of ACCURACY whose step sizes are all dt; for a moving average, the weights p of its inputs."""
    torch.manual_seed(0)
    options = {"d_state": d_state, **ACCURACY[name], **changes}
    if name != "ema":
        return make_kernel(2, 1, kernel_config(dt_min=dt, dt_max=dt, **options))
    kernel = make_kernel(2, 1, kernel_config(**options))
    torch.nn.init.constant_(kernel.delta, float(torch.logit(torch.tensor(dt), eps=1e-6)))
    return kernel


def direct_sum(kernel: torch.nn.Module, L: int) -> Tensor:
    """The kernel as its sum, in the precision of its parameters.

    For S4 the sum of the Cauchy product, for LSSL power by power, for the softmax as its paper writes it, for a moving
    average that of its exponentials.
    """
    if kernel.config.kernel == "dense":
        A_bar, x, C = kernel._recurrence(1.0)
        taps = []
        for _ in range(L):
            taps.append(torch.einsum("chn,hn->ch", C, x))
            x = torch.einsum("hnm,hm->hn", A_bar, x)
        return torch.stack(taps, -1)
    if kernel.config.disc == "dss":
        A, B, C, dt = (each if each.shape[-1] != 2 else torch.view_as_complex(each) for each in kernel._system(1.0))
        rows = ((A * dt)[..., None] * torch.arange(L)).exp()
        return torch.einsum("chm,hml->chl", C * B / A, rows / rows.sum(-1, keepdim=True)).real
    with use_backend("naive"):
        return kernel(L)


@pytest.mark.parametrize("L", [1024, 16384, 65536])
@pytest.mark.parametrize("dt", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("name", ACCURACY)
def test_float32_accuracy(name: str, dt: float, L: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No worse than 4 times the error of the direct sum in float32; for a tied kernel, of that of the plain one."""
    kernel = with_steps(name, dt)
    errors = [float32_error(lambda kernel: kernel(L), kernel)]
    monkeypatch.setattr(generating_function, "_float64_suffices", lambda *_: False)
    if isinstance(kernel, DPLRKernel):
        errors.append(float32_error(lambda kernel: kernel(L), kernel))
    direct = float32_error(lambda kernel: direct_sum(kernel, L), with_steps(name, dt, l_kernel=None))
    assert max(errors) <= 4 * direct


@torch.no_grad()
def float32_error(taps: Callable[[torch.nn.Module], Tensor], kernel: torch.nn.Module) -> float:
    """The largest error of a kernel's taps, relative to the largest tap in float64."""
    truth = taps(copy.deepcopy(kernel).double())
    return float((taps(kernel) - truth).abs().max() / truth.abs().max())


@pytest.mark.parametrize("L", [1024, 16384, 65536])
def test_free_taps_are_the_parameters(L: int) -> None:
    """Their direct sum has one term, so they have no error at all."""
    kernel = make_kernel(2, 1, kernel_config(kernel="free", l_max=65536))
    assert kernel(L).dtype == torch.float32
    assert torch.equal(kernel(L), kernel.kernel[..., :L])


@pytest.mark.parametrize("name", ["s4", "s4d"])
def test_a_stack_compiles_whole_and_trains(name: str) -> None:
    torch.manual_seed(0)
    io = Interface(tokens=False, d_input=3, d_output=4, l_max=50)
    config = ZOO[name](d_model=8, d_state=4, n_layers=2, norm="batch", prenorm=True, bidirectional=True)
    eager = build_model(config, io)
    x, target = torch.randn(5, 50, 3), torch.randint(0, 4, (5,))
    compiled = torch.compile(build_model(config, io), backend="aot_eager", fullgraph=True)
    compiled._orig_mod.load_state_dict(eager.state_dict())
    losses = []
    for model in (eager, compiled):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            loss = torch.nn.functional.cross_entropy(model(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.skipif(compiler() is None, reason="torch's compiler for CPUs needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex operators")
def test_the_default_compiler_agrees_with_eager_training() -> None:
    """One layer, for the sake of time."""
    torch.manual_seed(0)
    config = ZOO["s4d"](d_model=4, d_state=4, n_layers=1)
    eager = build_backbone(config)
    compiled = torch.compile(copy.deepcopy(eager), fullgraph=True)
    x, target = torch.randn(2, 2, 20, 4)
    losses = []
    for model in (eager, compiled):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        losses.append([])
        for _ in range(4):
            loss = torch.nn.functional.mse_loss(model(x)[0], target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0][-1] < 0.95 * losses[0][0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.parametrize("name", ["s4", "s4d", "s5", "lru"])
def test_bfloat16_autocast_keeps_the_system_in_float32(name: str) -> None:
    """Under autocast the states stay float32, and training follows the float32 curve."""
    io = Interface(tokens=False, d_input=1, d_output=2, l_max=40)
    config = ZOO[name](d_model=16, d_state=8, n_layers=2)
    torch.manual_seed(0)
    x = torch.randn(32, 40, 1)
    target = (x.mean((1, 2)) > 0).long()
    curves = []
    for enabled in (False, True):
        torch.manual_seed(1)
        model = build_model(config, io)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        losses = []
        for _ in range(25):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                loss = torch.nn.functional.cross_entropy(model(x).float(), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        curves.append(losses)
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in model.parameters())
        layer = model.backbone.layers[0].layer
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            _, state = layer(torch.randn(2, 5, 16), layer.initial_state(2))
        assert state.dtype == torch.float32
    exact, mixed = (torch.tensor(curve) for curve in curves)
    assert exact[-1] < 0.9 * exact[0]
    assert (mixed - exact).abs().max() < 0.05 * exact[0]


def test_dropout_masks_whole_features_when_tied() -> None:
    torch.manual_seed(0)
    for tied in (True, False):
        layer = S4Layer(6, s4_layer_config(d_state=4, dropout=0.5, tie_dropout=tied))
        dropped = layer.drop(torch.ones(4, 50, 6))
        share = (dropped == 0).float().mean(1)
        assert bool(((share == 0) | (share == 1)).all()) == tied
        assert math.isclose(layer.eval().drop(torch.ones(1, 5, 6)).sum(), 30.0)


def test_the_stack_refuses_a_layer_of_another_width() -> None:
    config = ZOO["s4d"](d_model=4, d_state=4, channels=2, final_act=None)
    with pytest.raises(ValueError, match="set final_act"):
        build_backbone(config)
