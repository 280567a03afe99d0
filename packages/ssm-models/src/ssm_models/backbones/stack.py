"""The isotropic backbone: residual blocks around any sequence layer, one after another."""

from collections.abc import Callable, Sequence
from typing import cast

from ssm_core.backends import full_precision
from ssm_core.recurrence.bank import Bank, Recurrence
from torch import Tensor, nn

from ssm_models.config import StackConfig
from ssm_models.config.layer import locate
from ssm_models.contract import SequenceLayer, State, Stepper
from ssm_models.layers.s4 import S4Layer
from ssm_models.modules.dropout import dropout
from ssm_models.modules.norms import Norm, make_norm


class ResidualBlock(SequenceLayer):
    """Return ``u + layer(norm(u))`` (prenorm) or ``norm(u + layer(u))``, with dropout on the branch.

    Args:
        layer: the layer.
        d_model: its width.
        config: gives norm and dropout.

    Raises:
        ValueError: the output width of the layer is not ``d_model``.
    """

    def __init__(self, layer: SequenceLayer, d_model: int, config: StackConfig) -> None:
        super().__init__()
        if layer.d_output != d_model:
            raise ValueError(
                f"A residual sum needs a layer of width {d_model}, but {type(layer).__name__} gives "
                f"{layer.d_output}: set final_act, or channels and activation so that the width returns."
            )
        self.d_output = d_model
        self.layer = layer
        self.norm: Norm = make_norm(config.norm, d_model)
        self.prenorm = config.prenorm
        self.drop = dropout(config.dropout, config.tie_dropout)

    def forward(
        self, u: Tensor, state: State = None, *, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, State]:
        y = self.norm(u) if self.prenorm else u
        y, state = self.layer(y, state, lengths=lengths, rate=rate)
        y = u + self.drop(y)
        return y if self.prenorm else self.norm(y), state

    def initial_state(self, batch_size: int) -> State:
        return self.layer.initial_state(batch_size)

    def stepper(self, rate: float = 1.0) -> Stepper:
        return self.around(self.layer.stepper(rate))

    def around(self, layer_step: Stepper) -> Stepper:
        """Return the step of the block around the given step of its layer."""

        def step(u: Tensor, state: State) -> tuple[Tensor, State]:
            y = self.norm.step(u) if self.prenorm else u
            y, state = layer_step(y, state)
            y = u + self.drop(y)
            return y if self.prenorm else self.norm.step(y), state

        return step


def build_stack(config: StackConfig) -> "ResidualStack":
    """Return the stack of a configuration.

    Raises:
        ValueError: the sizes do not fit.
    """
    layer_class = locate(config.layer.layer_class)
    return ResidualStack([layer_class(config.d_model, config.layer) for _ in range(config.n_layers)], config)


class ResidualStack(SequenceLayer):
    """A sequence of residual blocks, with a final norm if the blocks normalise their input.

    The state is a tuple of the states of the blocks.

    Args:
        layers: the layers, one for each block.
        config: gives width, norm and dropout.
    """

    def __init__(self, layers: Sequence[SequenceLayer], config: StackConfig) -> None:
        super().__init__()
        self.d_output = config.d_model
        blocks = nn.ModuleList(ResidualBlock(layer, config.d_model, config) for layer in layers)
        self.layers = cast(Sequence[ResidualBlock], blocks)
        self.norm: Norm = make_norm(config.norm if config.prenorm else "none", config.d_model)

    def forward(
        self, u: Tensor, state: State = None, *, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, State]:
        states = [None] * len(self.layers) if state is None else list(state)
        for i, block in enumerate(self.layers):
            u, states[i] = block(u, states[i], lengths=lengths, rate=rate)
        return self.norm(u), None if state is None else tuple(states)

    def initial_state(self, batch_size: int) -> State:
        return tuple(block.initial_state(batch_size) for block in self.layers)

    def stepper(self, rate: float = 1.0) -> Stepper:
        chain = chain_stepper(self.layers, rate)

        def step(u: Tensor, state: State) -> tuple[Tensor, State]:
            values, state = chain(u, state)
            return self.norm.step(values[-1]), state

        return step


#: A function of a sample (B, H), the states of blocks and, optionally, skips. It returns the values before, between and
#: after the blocks, and their next states. The last skip is added to the output of the first block, and so on.
ChainStep = Callable[..., tuple[list[Tensor], tuple[State, ...]]]


def chain_stepper(blocks: Sequence[ResidualBlock], rate: float) -> ChainStep:
    """Return a step that runs blocks one after another.

    The recurrences of S4 layers with equal sizes advance together, in a :class:`ssm_core.recurrence.bank.Bank`.
    """
    alike: dict[tuple[int, ...], list[tuple[int, S4Layer, Recurrence]]] = {}
    steps: dict[int, Stepper] = {}
    for i, block in enumerate(blocks):
        recurrence = block.layer.recurrence(rate) if isinstance(block.layer, S4Layer) else None
        if isinstance(block.layer, S4Layer) and recurrence is not None:
            alike.setdefault(recurrence.sizes, []).append((i, block.layer, recurrence))
        else:
            steps[i] = block.stepper(rate)
    banks = []
    for found in alike.values():
        members, layers, recurrences = zip(*found, strict=True)
        bank = Bank(recurrences)
        banks.append((members, bank))
        for i, layer, direct in zip(members, layers, bank.direct, strict=True):
            steps[i] = blocks[i].around(_responder(layer, direct))

    def step(
        u: Tensor, states: Sequence[State], skips: Sequence[Tensor] = ()
    ) -> tuple[list[Tensor], tuple[State, ...]]:
        carried, values, left = list(states), [u], list(skips)
        before = []
        with full_precision(u):
            for members, bank in banks:
                predicted, waiting = bank.predict([carried[i] for i in members])
                before.append(waiting)
                for i, each in zip(members, predicted, strict=True):
                    carried[i] = each
        for i in range(len(blocks)):
            y, carried[i] = steps[i](values[-1], carried[i])
            values.append(y + left.pop() if left else y)
        with full_precision(u):
            for (members, bank), waiting in zip(banks, before, strict=True):
                for i, state in zip(members, bank.advance(waiting, [carried[i] for i in members]), strict=True):
                    carried[i] = state
        return values, tuple(carried)

    return step


def _responder(layer: S4Layer, direct: Tensor) -> Stepper:
    """Return a step of a layer whose recurrence a bank advances.

    The step takes the predicted output instead of the state, and returns the input of the recurrence instead of the
    next state.
    """
    direct = direct + layer.D
    return lambda u, predicted: layer.respond(u, predicted, direct)
