"""Convolution, steps and chunks with carried state are one function, with its gradients."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ssm_models.backbones.sashimi import Sashimi
from ssm_models.backbones.stack import ResidualStack
from ssm_models.config import HiPPORNNLayerConfig, LRULayerConfig, S5LayerConfig, StackConfig
from ssm_models.contract import SequenceLayer
from ssm_models.layers.hippo_rnn import HiPPORNNLayer
from ssm_models.layers.lru import LRULayer
from ssm_models.layers.s4 import S4Layer
from ssm_models.layers.s5 import S5Layer
from ssm_models.zoo import ZOO
from ssm_testing.close import assert_close
from ssm_testing.configs import s4_layer_config
from torch import Tensor

OPTIONS = {
    "s4": {},
    "s4-tied": {"l_kernel": 16},
    "s4-legt-rank2": {"init": "legt", "rank": 2, "l_kernel": 24},
    "s4-legs-rank3": {"rank": 3},
    "s4-fout": {"init": "fourier"},
    "s4-fout-tied": {"init": "fourier", "l_kernel": 32},
    "s4-lagt": {"init": "lagt"},
    "s4-mixture": {"init": "all", "n_ssm": 4},
    "s4-random-low-rank": {"init": "dplr-lin", "P_scale": 0.5},
    "s4-untied-dt": {"dt_tie": False, "dt_transform": "softplus"},
    "s4-channels-glu": {"channels": 2, "activation": "glu", "final_act": None},
    "s4-channels-swapped": {"channels": 2, "swap_channels": True},
    "s4-bandlimit": {"bandlimit": 0.3, "dt_max": 0.5},
    "s4d-zoh": {"kernel": "diagonal", "disc": "zoh", "init": "diag-lin"},
    "s4d-bilinear": {"kernel": "diagonal", "disc": "bilinear", "init": "diag-inv"},
    "s4d-legs-one-copy": {"kernel": "diagonal", "init": "diag-legs", "n_ssm": 1},
    "s4d-real": {"kernel": "diagonal", "disc": "zoh", "init": "diag-real", "is_real": True},
    "s4d-transforms": {"kernel": "diagonal", "init": "diag-rand", "real_transform": "relu", "imag_transform": "exp"},
    "s4d-fast-dt": {"kernel": "diagonal", "init": "diag-quad", "dt_fast": True, "deterministic": True},
    "s4d-cut": {"kernel": "diagonal", "init": "diag-lin", "l_max": 9},
    "s4-cut": {"l_max": 6, "l_kernel": 6},
    "dss-exp": {"kernel": "diagonal", "disc": "zoh", "init": "diag-legs"},
    "dss-softmax": {"kernel": "diagonal", "disc": "dss", "init": "diag-legs", "real_transform": "none", "l_kernel": 64},
    "lssl": {"kernel": "dense", "init": "legs", "n_ssm": 1},
    "lssl-glagt-zoh": {"kernel": "dense", "init": "glagt", "disc": "zoh", "channels": 2},
    "ema": {"kernel": "ema", "channels": 2, "dt_tie": False},
    "ema-shared": {"kernel": "ema", "channels": 2, "share_channels": True},
    "free": {"kernel": "free", "l_max": 12},
    "gated": {"gate": 3, "gate_act": "gelu", "mult_act": "tanh", "bottleneck": 2, "final_act": "none"},
}


def layer(name: str, d_model: int, d_state: int, dtype: torch.dtype) -> S4Layer:
    kind = OPTIONS[name].get("kernel")
    sizes = {"free": {}, "ema": {"d_state": d_state}}.get(kind, {"d_state": d_state, "dt_max": 0.3})
    config = s4_layer_config(**{**sizes, **OPTIONS[name]})
    made = S4Layer(d_model, config)
    if name == "dss-softmax":
        with torch.no_grad():  # some modes grow
            made.kernel.A_real[:, ::2] *= -0.1
    return made.to(dtype)


def run_chunks(model: SequenceLayer, u: Tensor, bounds: list[int], rate: float) -> tuple[Tensor, object]:
    state, outputs = model.initial_state(len(u)), []
    edges = [0, *sorted({each for each in bounds if each < u.shape[1]}), u.shape[1]]
    for start, end in pairwise(edges):
        y, state = model(u[:, start:end], state, rate=rate)
        outputs.append(y)
    return torch.cat(outputs, 1), state


def run_steps(model: SequenceLayer, u: Tensor, rate: float) -> tuple[Tensor, object]:
    state, step, outputs = model.initial_state(len(u)), model.stepper(rate), []
    for sample in u.unbind(1):
        y, state = step(sample, state)
        outputs.append(y)
    return torch.stack(outputs, 1), state


def gradients(model: SequenceLayer, u: Tensor, y: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """The gradients of ``sum(weights * y)`` for the input and the parameters, by name."""
    inputs = {"input": u, **{name: p for name, p in model.named_parameters() if p.requires_grad}}
    found = torch.autograd.grad((y * weights).sum(), list(inputs.values()), allow_unused=True)
    return {name: torch.zeros_like(x) if g is None else g for (name, x), g in zip(inputs.items(), found, strict=True)}


def assert_forms_agree(model: SequenceLayer, u: Tensor, bounds: list[int], rate: float) -> None:
    """Outputs, final states and gradients of the three forms, in float64."""
    u = u.double().requires_grad_()
    whole, _ = model(u, rate=rate)
    chunked, chunk_state = run_chunks(model, u, bounds, rate)
    stepped, step_state = run_steps(model, u, rate)
    assert_close(chunked, whole, 1e-10, "the output of chunks")
    assert_close(stepped, whole, 1e-10, "the output of steps")
    assert_close(chunk_state, step_state, 1e-10, "the state")
    weights = torch.randn_like(whole)
    expected = gradients(model, u, whole, weights)
    for name, form in {"chunks": chunked, "steps": stepped}.items():
        assert_close(gradients(model, u, form, weights), expected, 1e-10, f"the gradients of {name}")


LENGTHS = st.sampled_from([1, 2, 3, 5, 7, 13, 16, 31, 67, 101])
BOUNDS = st.lists(st.integers(1, 100), max_size=4)


UNTIMED = ("ema", "ema-shared", "free")  # no time scale, so no other rate


@pytest.mark.parametrize("name", OPTIONS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    L=LENGTHS,
    batch=st.integers(1, 3),
    width=st.sampled_from([4, 8]),
    d_state=st.sampled_from([2, 4, 10]),
    bounds=BOUNDS,
    rate=st.sampled_from([1.0, 1.0, 2.0, 0.5]),
    seed=st.integers(0, 100),
)
def test_in_float64(
    name: str, L: int, batch: int, width: int, d_state: int, bounds: list[int], rate: float, seed: int
) -> None:
    torch.manual_seed(seed)
    model = layer(name, width, d_state, torch.float64)
    if name in UNTIMED:
        with pytest.raises(ValueError, match="cannot run at rate 2"):
            model(torch.zeros(1, 3, width, dtype=torch.float64), rate=2.0)
        rate = 1.0
    assert_forms_agree(model, torch.randn(batch, L, width), bounds, rate)


MIMO = {
    "s5": (S5Layer, S5LayerConfig(d_state=8, blocks=2)),
    "lru": (LRULayer, LRULayerConfig(d_state=5, r_min=0.2, r_max=0.99)),
}


@pytest.mark.parametrize("name", MIMO)
@pytest.mark.parametrize("L", [1, 2, 31, 32, 33, 67, 1061])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
def test_one_state_for_all_features(name: str, L: int, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(6)
    cls, config = MIMO[name]
    model = cls(4, config).to(dtype)
    u = torch.randn(2, L, 4, dtype=dtype)
    rate = 1.0 if name == "lru" else 1.5
    with torch.no_grad():
        whole, _ = model(u, rate=rate)
        chunked, chunk_state = run_chunks(model, u, [1, 5, 36, 700], rate)
        stepped, step_state = run_steps(model, u, rate)
    assert_close(chunked, whole, tolerance, "the output of chunks")
    assert_close(stepped, whole, tolerance, "the output of steps")
    assert_close(chunk_state, step_state, tolerance, "the state")


def hippo_rnn(measure: str, gate: str, width: int, d_state: int) -> HiPPORNNLayer:
    scale = {"l_max": 11} if measure == "legs" else {"dt": 0.05}
    config = HiPPORNNLayerConfig(measure=measure, gate=gate, memory_size=2, memory_order=d_state, **scale)
    return HiPPORNNLayer(width, config)


def stack(norm: str, prenorm: bool, width: int, d_state: int) -> ResidualStack:
    config = StackConfig(n_layers=3, d_model=width, norm=norm, prenorm=prenorm)
    layers = [layer(name, width, d_state, torch.float64) for name in ("s4-tied", "s4d-cut")]
    model = ResidualStack([*layers, S5Layer(width, S5LayerConfig(d_state=d_state))], config).double()
    model(torch.randn(5, 40, width, dtype=torch.float64))  # running statistics worth the name
    return model


def sashimi(name: str, options: dict, width: int, d_state: int) -> Sashimi:
    sizes = {"d_model": width, "n_layers": 1, "d_state": d_state, "pool": (2, 3), "n_ssm": None, "l_kernel": 12}
    return Sashimi(ZOO[name](**sizes, **options))


OTHERS: dict[str, Callable[[int, int], SequenceLayer]] = {
    "s5": lambda width, d_state: S5Layer(width, S5LayerConfig(d_state=d_state, blocks=d_state // 2)),
    "lru": lambda width, d_state: LRULayer(width, LRULayerConfig(d_state=d_state)),
    "sashimi": partial(sashimi, "sashimi", {}),
    "sashimi-unet": partial(sashimi, "sashimi-unet", {}),
    "sashimi-s4d-center": partial(sashimi, "sashimi", {"pool_act": "glu", "center": {"kernel": "diagonal"}}),
    **{
        f"hippo-{measure}-{gate}": partial(hippo_rnn, measure, gate)
        for measure, gate in product(("legs", "legt", "lagt"), ("none", "gru", "lstm"))
    },
    **{
        f"stack-{norm}-{'before' if prenorm else 'after'}": partial(stack, norm, prenorm)
        for norm, prenorm in product(("layer", "batch", "none"), (True, False))
    },
}


@pytest.mark.parametrize("name", OTHERS)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    L=LENGTHS,
    batch=st.integers(1, 3),
    width=st.sampled_from([2, 4]),
    d_state=st.sampled_from([2, 4, 6]),
    bounds=BOUNDS,
    rate=st.sampled_from([1.0, 2.0]),
    seed=st.integers(0, 100),
)
def test_other_layers_and_backbones(
    name: str, L: int, batch: int, width: int, d_state: int, bounds: list[int], rate: float, seed: int
) -> None:
    torch.manual_seed(seed)
    model = OTHERS[name](width, d_state).double().eval()
    assert_forms_agree(model, torch.randn(batch, L, width), bounds, 1.0 if name == "lru" else rate)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [*OPTIONS, *OTHERS])
@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    L=LENGTHS,
    batch=st.integers(1, 3),
    width=st.sampled_from([4, 8]),
    d_state=st.sampled_from([2, 4, 8]),
    bounds=BOUNDS,
    seed=st.integers(0, 100),
)
def test_in_float32(name: str, L: int, batch: int, width: int, d_state: int, bounds: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    model = OTHERS[name](width, d_state) if name in OTHERS else layer(name, width, d_state, torch.float32)
    model = model.float().eval()
    u = torch.randn(batch, L, width)
    with torch.no_grad():
        whole, _ = model(u)
        chunked, chunk_state = run_chunks(model, u, bounds, 1.0)
        stepped, step_state = run_steps(model, u, 1.0)
    assert_close(chunked, whole, 2e-4, "the output of chunks")
    assert_close(stepped, whole, 2e-4, "the output of steps")
    assert_close(chunk_state, step_state, 2e-4, "the state")


@pytest.mark.parametrize("name", MIMO)
def test_the_backward_scan_is_the_forward_one_of_the_reversed_input(name: str) -> None:
    torch.manual_seed(7)
    cls, config = MIMO[name]
    model = cls(4, replace(config, bidirectional=True)).double()
    with torch.no_grad():  # both read-outs alike
        half = model.C.shape[1] // 2
        model.C[:, half:] = model.C[:, :half]
    u = torch.randn(2, 37, 4, dtype=torch.float64)
    torch.testing.assert_close(model(u.flip(1))[0].flip(1), model(u)[0], rtol=1e-10, atol=1e-10)
    with pytest.raises(ValueError, match="needs the future"):
        model.initial_state(2)


def test_a_batch_norm_steps_with_running_statistics_in_training_too() -> None:
    torch.manual_seed(3)
    model = ResidualStack([layer("s4d-zoh", 4, 4, torch.float64)], StackConfig(n_layers=1, d_model=4, norm="batch"))
    model = model.double().train()
    u = torch.randn(2, 4, dtype=torch.float64)
    before = model.layers[0].norm.running_mean.clone()
    y, _ = model.step(u, model.initial_state(2))
    torch.testing.assert_close(model.layers[0].norm.running_mean, before, rtol=0, atol=0)
    expected, _ = model.eval()(u[:, None])
    torch.testing.assert_close(y, expected[:, 0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"bidirectional": True}, "needs the future of its input"),
        ({"kernel": "diagonal", "disc": "dss"}, "set l_kernel"),
    ],
)
def test_what_cannot_step_says_why(options: dict, sentence: str) -> None:
    model = S4Layer(4, s4_layer_config(d_state=4, **options))
    u = torch.randn(2, 5, 4)
    with pytest.raises(ValueError, match=sentence):
        model.step(u[:, 0], model.initial_state(2))


def test_lengths_and_a_state_do_not_mix() -> None:
    model = layer("s4d-zoh", 4, 4, torch.float32)
    with pytest.raises(ValueError, match="give lengths or a state"):
        model(torch.randn(2, 5, 4), model.initial_state(2), lengths=torch.tensor([5, 3]))


@pytest.mark.parametrize("name", ["s4-tied", "s4-fout-tied", "s4-legt-rank2"])
@pytest.mark.parametrize("L", [5, 16, 24, 33, 77, 130])
def test_a_tied_kernel_is_exact_at_every_length(name: str, L: int) -> None:
    """A kernel tied to a length is, at any other length, the kernel of the C that it stands for."""
    torch.manual_seed(4)
    tied = layer(name, 4, 8, torch.float64)
    parameters = tied.state_dict()
    plain = S4Layer(4, replace(tied.config, kernel=replace(tied.config.kernel, l_kernel=None))).double()
    kernel = tied.kernel
    parameters["kernel.C"] = kernel._untied_C(kernel._dplr(1.0), 1.0)
    parameters["kernel.l_kernel"] = torch.tensor(0)
    plain.load_state_dict(parameters)
    assert_close(kernel(L), plain.kernel(L), 1e-10, "the kernel")
    with pytest.raises(RuntimeError, match="tied to the kernel length 0"):
        tied.load_state_dict(parameters)


@pytest.mark.parametrize("name", ["s4-tied", "s4-fout", "s4d-zoh", "s4d-bilinear"])
def test_half_the_sampling_rate(name: str) -> None:
    """A layer trained on a smooth signal and run at rate 2 on every second sample gives every second output."""
    torch.manual_seed(5)
    options = {"d_state": 8, "dt_min": 1e-3, "dt_max": 1e-2, **OPTIONS[name], "activation": "none", "final_act": None}
    options.pop("l_kernel", None)
    model = S4Layer(4, s4_layer_config(**options)).double()
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)[1:, None]
    u = (torch.sin(9 * t * torch.arange(1, 5)) * torch.exp(-3 * (t - 0.5) ** 2))[None]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(20):  # towards the signal, a tenth of its length later
        loss = torch.nn.functional.mse_loss(model(u)[0][:, 100:], u[:, :-100])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    with torch.no_grad():
        fine, _ = model(u)
        coarse, _ = model(u[:, 1::2], rate=2.0)
    assert (coarse - fine[:, 1::2]).norm() < 0.02 * fine[:, 1::2].norm()
