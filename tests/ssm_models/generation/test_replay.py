"""A replayed step is the step: outputs and states, without new memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
import torch
from ssm_models.backbones.sashimi import Sashimi
from ssm_models.backbones.stack import ResidualStack
from ssm_models.config import Interface, LRULayerConfig, S5LayerConfig, StackConfig
from ssm_models.contract import SequenceLayer, State
from ssm_models.generation import replay
from ssm_models.generation.replay import Replay
from ssm_models.layers.feed_forward import FeedForward
from ssm_models.layers.lru import LRULayer
from ssm_models.layers.s4 import S4Layer
from ssm_models.layers.s5 import S5Layer
from ssm_models.model import build_backbone, build_model
from ssm_models.modules.norms import Norm
from ssm_models.zoo import ZOO
from ssm_testing.configs import s4_layer_config
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._pytree import tree_leaves

S4D = {"kernel": "diagonal", "init": "diag-lin", "disc": "zoh"}


def stack(norm: str = "layer", prenorm: bool = True, **options: object) -> ResidualStack:
    layers = [S4Layer(4, s4_layer_config(d_state=6, dt_max=0.3, **options)) for _ in range(3)]
    return ResidualStack(layers, StackConfig(d_model=4, n_layers=3, norm=norm, prenorm=prenorm))


def mixed() -> ResidualStack:
    layers = [
        S4Layer(4, s4_layer_config(d_state=6)),
        S4Layer(4, s4_layer_config(l_max=5, **S4D)),
        S5Layer(4, S5LayerConfig(d_state=6)),
        LRULayer(4, LRULayerConfig(d_state=5)),
        S4Layer(4, s4_layer_config(d_state=6, gate=2, bottleneck=2, channels=2, swap_channels=True)),
        S4Layer(4, s4_layer_config(d_state=6)),
    ]
    return ResidualStack(layers, StackConfig(d_model=4, n_layers=6, norm="layer"))


def sashimi(name: str, **options: object) -> Sashimi:
    sizes = {"d_model": 4, "n_layers": 2, "d_state": 4, "pool": (2, 3), "n_ssm": None, "l_kernel": 12, **options}
    return build_backbone(ZOO[name](**sizes))


MODELS = {
    "s4": stack,
    "s4-rank2-after": lambda: stack(prenorm=False, rank=2, channels=2),
    "s4d-batch": lambda: stack("batch", **S4D),
    "s4d-none": lambda: stack("none", activation="glu", final_act=None, **S4D),
    "s4-silu": lambda: stack("scalar", activation="silu", final_act="tanh"),
    "mixed": mixed,
    "sashimi": lambda: sashimi("sashimi"),
    "sashimi-layer-norm": lambda: sashimi("sashimi", norm="layer", ff=0),
    "sashimi-unet": lambda: sashimi("sashimi-unet"),
}


def made(name: str) -> SequenceLayer:
    torch.manual_seed(0)
    model = MODELS[name]().double().eval()
    with torch.no_grad():
        for norm in (each for each in model.modules() if isinstance(each, Norm)):
            for learned in norm.parameters():  # which start as ones and zeros
                learned.add_(0.3 * torch.randn_like(learned))
    return model


def run(step: Replay, u: Tensor, state: State) -> tuple[Tensor, State]:
    outputs = []
    for sample in u.unbind(1):
        y, state = step(sample, state)
        outputs.append(y.clone())
    return torch.stack(outputs, 1), state


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch", [1, 3])
def test_replayed_steps_are_the_convolution(name: str, batch: int) -> None:
    model = made(name)
    u = torch.randn(batch, 29, 4, dtype=torch.float64)
    rest = model.initial_state(batch)
    y, state = run(Replay(model.stepper()), u, rest)
    expected, expected_state = model(u, model.initial_state(batch))
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(state, expected_state, rtol=0, atol=1e-10)
    torch.testing.assert_close(rest, model.initial_state(batch), rtol=0, atol=0)
    assert not y.requires_grad


def test_a_large_matrix_is_read_by_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    torch.manual_seed(0)
    # 96 x 192 and 96 x 480 numbers: in one part, and in 2.
    for expand, parts in ((2, 1), (5, 2)):
        network, u = FeedForward(96, expand, 0.0, tied=False).double().eval(), torch.randn(1, 96, dtype=torch.float64)
        replay = Replay(network.stepper())
        y, _ = replay(u, None)
        torch.testing.assert_close(y, network(u)[0], rtol=0, atol=1e-12)
        [recording] = replay._recordings.values()
        calls = [call.func for call in recording._calls if isinstance(call, partial)]
        assert calls.count(torch.addmm if parts == 1 else torch.baddbmm) == 2


@pytest.mark.parametrize("name", ["s4", "sashimi"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
def test_at_other_precisions_they_are_the_steps(name: str, dtype: torch.dtype, tolerance: float) -> None:
    model = made(name).to(dtype)
    u = torch.randn(3, 17, 4).to(dtype)
    with torch.no_grad():
        expected, _ = run(model.stepper(), u, model.initial_state(3))
    y, _ = run(Replay(model.stepper()), u, model.initial_state(3))
    torch.testing.assert_close(y, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["mixed", "sashimi"])
def test_a_state_from_elsewhere(name: str) -> None:
    """A stream goes on from a chunk, is left for one of another batch size, and taken up again at another phase."""
    model = made(name)
    u = torch.randn(2, 20, 4, dtype=torch.float64)
    whole, _ = model(u)
    _, state = model(u[:, :7], model.initial_state(2))
    step = Replay(model.stepper())
    first, state = run(step, u[:, 7:12], state)
    kept = torch.utils._pytree.tree_map_only(Tensor, Tensor.clone, state)
    other, _ = run(step, u[:1], model.initial_state(1))
    with torch.inference_mode():
        again, state = run(step, u[:, 12:15], kept)
    last, _ = run(step, u[:, 15:], state)
    torch.testing.assert_close(other, whole[:1], rtol=0, atol=1e-10)
    torch.testing.assert_close(torch.cat((first, again, last), 1), whole[:, 7:], rtol=0, atol=1e-10)


def new_memory(step: Replay, samples: list[Tensor], state: State) -> tuple[list[int], State]:
    """The bytes of each allocation in the steps, and the state after them."""
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        for sample in samples:
            _, state = step(sample, state)
    taken = [each.self_cpu_memory_usage for each in found.events()]
    return [each for each in taken if each > 0], state


@pytest.mark.parametrize("name", ["s4", "s4d-batch", "sashimi", "sashimi-unet"])
def test_a_step_takes_no_memory(name: str) -> None:
    model = made(name).float()
    samples = [torch.randn(1, 4) for _ in range(12)]
    step, state = Replay(model.stepper()), model.initial_state(1)
    for sample in samples:  # every phase is recorded
        _, state = step(sample, state)
    y, state = step(samples[0], state)
    places = [each.data_ptr() for each in tree_leaves((y, state)) if each is not None and each.numel()]
    for sample in samples[1:]:
        y, state = step(sample, state)
    taken, state = new_memory(step, samples, state)
    assert max(taken, default=0) <= 8  # torch's kernel of a norm takes single numbers
    y, state = step(samples[0], state)
    assert [each.data_ptr() for each in tree_leaves((y, state)) if each is not None and each.numel()] == places
    unrecorded, _ = new_memory(model.stepper(), samples, model.initial_state(1))
    assert max(unrecorded) > 8
    assert len(unrecorded) > 10 * len(samples)


def test_a_whole_model() -> None:
    torch.manual_seed(0)
    config = ZOO["sashimi"](d_model=4, n_layers=1, d_state=4, pool=(2, 2))
    io = Interface(tokens=True, d_input=7, d_output=5, l_max=16, l_output=16)
    tokens = torch.randint(0, 7, (3, 11))
    model = build_model(config, io).double().eval()
    y, _ = run(Replay(model.stepper()), tokens, model.backbone.initial_state(3))
    torch.testing.assert_close(y, model(tokens), rtol=0, atol=1e-10)
    last = build_model(replace(config, decoder="last"), replace(io, l_output=0)).double().eval()
    y, _ = run(Replay(last.stepper()), tokens, last.backbone.initial_state(3))
    torch.testing.assert_close(y[:, -1], last(tokens), rtol=0, atol=1e-10)
    for options in ({"l_output": 0}, {"l_output": 0, "pair": True}):
        with pytest.raises(ValueError, match="last position alone"):
            build_model(config, replace(io, **options)).stepper()


def test_what_cannot_be_replayed_says_why() -> None:
    u = torch.randn(2, 4)
    counts = build_backbone(ZOO["hippo-legt"](d_model=4, n_layers=1, memory_order=4))
    with pytest.raises(ValueError, match="A state that holds 0 beside its tensors"):
        Replay(counts.stepper())(u, counts.initial_state(2))
    trains = build_backbone(ZOO["s4d"](d_model=4, n_layers=1, d_state=4, dropout=0.5, tie_dropout=False))
    with pytest.raises(ValueError, match="Is the model in evaluation mode"):
        Replay(trains.stepper())(u, trains.initial_state(2))
    with pytest.raises(ValueError, match="reads a number out of a tensor"):
        Replay(lambda u, state: (u * float(u.sum()), state))(u, None)


def test_states_that_change_places() -> None:
    """The next state lies where the present one is read."""
    step = Replay(lambda u, state: (state[0].view(-1), (state[1], state[0], u + state[2])))
    state = tuple(torch.full((2,), float(i)) for i in range(3))
    for i in range(3):
        y, state = step(torch.ones(2), state)
        assert [*y.tolist(), *(each[0].item() for each in state)] == [i % 2, i % 2, (i + 1) % 2, i % 2, 3.0 + i]


def test_constants_of_each_recording() -> None:
    """A matrix that is made anew for each shape of the state."""
    weight, u = torch.randn(64, 32), torch.randn(1, 32)
    step = Replay(lambda u, state: (u @ (weight * state.shape[1]).mT, torch.cat((state, u[:, :1]), 1)))
    state = torch.zeros(1, 0)
    for n in range(6):
        y, state = step(u, state)
        torch.testing.assert_close(y, n * u @ weight.mT)


def test_an_output_is_a_next_input_also_where_recording_runs_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where they run once before they are captured."""

    class Warm(replay._Recording):
        def __init__(self, u: Tensor, calls: list, copies: list, y: Tensor, state: State) -> None:
            super().__init__(u, calls, copies, y, state)
            for call in calls:
                call()

    monkeypatch.setattr(replay, "_Recording", Warm)
    model = made("sashimi")
    plain, step = model.stepper(), Replay(model.stepper())
    y, state = torch.randn(2, 4, dtype=torch.float64), model.initial_state(2)
    expected, there = y, state
    for _ in range(14):
        with torch.no_grad():
            expected, there = plain(expected, there)
        y, state = step(y, state)
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)


def test_a_graph_is_captured_on_the_device_of_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on the current one, whose capture would stay empty, nor on that of an earlier capture."""
    current, streams, log = [0], [("default", 0)], []

    class Stream:
        def __init__(self) -> None:
            self.name = "side", current[-1]

        def wait_stream(self, other: object) -> None:
            pass

    @contextmanager
    def device(index: torch.device) -> Iterator[None]:
        current.append(index.index)
        streams.append(("default", index.index))
        yield
        current.pop()
        streams.pop()

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        streams.append(stream.name)
        yield
        streams.pop()

    @contextmanager
    def graph(_: object, *, stream: Stream) -> Iterator[None]:
        log.append("captured")
        with on(stream):
            yield

    for name, stand_in in {"Stream": Stream, "device": device, "stream": on, "graph": graph}.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream())
    step = [lambda name=name: log.append((name, *streams[-1])) for name in ("call", "copy")]
    replay._graph(step[:1], step[1:], torch.device("cuda", 1))
    assert log == [("call", "side", 1), "captured", ("call", "side", 1), ("copy", "side", 1)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", ["s4", "sashimi"])
def test_on_a_gpu_a_step_is_a_graph(name: str) -> None:
    model = made(name).cuda()
    u = torch.randn(2, 29, 4, dtype=torch.float64, device="cuda")
    y, _ = run(Replay(model.stepper()), u, model.initial_state(2))
    torch.testing.assert_close(y, model(u)[0], rtol=0, atol=1e-10)
