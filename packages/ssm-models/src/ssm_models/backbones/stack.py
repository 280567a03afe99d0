"""The isotropic backbone: a stack of residual blocks around any sequence layer."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from ssm_models.backbones.norms import Norm, make_norm
from ssm_models.config import StackConfig
from ssm_models.layers.base import SequenceLayer, State, Stepper, dropout


class ResidualBlock(SequenceLayer):
    """``u + layer(norm(u))`` (prenorm) or ``norm(u + layer(u))``, with dropout on the branch.

    Args:
        layer: the layer.
        d_model: its width.
        config: norm and dropout.

    Raises:
        ValueError: the layer gives another width.
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
        layer_step = self.layer.stepper(rate)

        def step(u: Tensor, state: State) -> tuple[Tensor, State]:
            y = self.norm.step(u) if self.prenorm else u
            y, state = layer_step(y, state)
            y = u + self.drop(y)
            return y if self.prenorm else self.norm.step(y), state

        return step


class ResidualStack(SequenceLayer):
    """Residual blocks one after another; a final norm where they normalise first.

    The state is a tuple of the blocks' states.

    Args:
        layers: the layers, one a block.
        config: the stack's options.
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
        steps = [block.stepper(rate) for block in self.layers]

        def step(u: Tensor, state: State) -> tuple[Tensor, State]:
            states = list(state)
            for i, block_step in enumerate(steps):
                u, states[i] = block_step(u, states[i])
            return self.norm.step(u), tuple(states)

        return step
