"""A whole model: encoder, backbone, decoder."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ssm_models.backbones.sashimi import Sashimi
from ssm_models.backbones.stack import ResidualStack
from ssm_models.config import (
    CustomConfig,
    HiPPORNNConfig,
    Interface,
    LRUConfig,
    S4Config,
    S4NDConfig,
    S5Config,
    SashimiConfig,
    StackConfig,
)
from ssm_models.contract import SequenceLayer, State, Stepper
from ssm_models.heads.decoders import RetrievalDecoder, SequenceDecoder
from ssm_models.heads.encoders import make_encoder
from ssm_models.heads.positions import PositionDecoder
from ssm_models.layers.custom import CustomLayer
from ssm_models.layers.hippo_rnn import HiPPORNNLayer
from ssm_models.layers.lru import LRULayer
from ssm_models.layers.s4 import S4Layer
from ssm_models.layers.s4nd import S4NDLayer
from ssm_models.layers.s5 import S5Layer

LAYERS: dict[type[StackConfig], Callable[[int, Any], SequenceLayer]] = {
    S4Config: S4Layer,
    S4NDConfig: S4NDLayer,
    HiPPORNNConfig: HiPPORNNLayer,
    S5Config: S5Layer,
    LRUConfig: LRULayer,
    CustomConfig: CustomLayer,
}
"""The layer of each stack: a constructor of its width and its configuration."""


def build_model(config: StackConfig, io: Interface) -> "SequenceModel":
    """The model of a configuration, for a task.

    Raises:
        ValueError: the configuration's sizes do not fit.
    """
    return SequenceModel(build_backbone(config.for_length(io.l_max)), config, io)


def build_backbone(config: StackConfig) -> SequenceLayer:
    """The backbone of a configuration: (B, L, d_model) to the same shape."""
    if isinstance(config, SashimiConfig):
        return Sashimi(config)
    layer = LAYERS[type(config)]
    return ResidualStack([layer(config.d_model, config) for _ in range(config.n_layers)], config)


class SequenceModel(nn.Module):
    """Classifies or regresses sequences.

    Args:
        backbone: (B, L, d_model) to the same shape.
        config: width, and how to summarise a sequence.
        io: what the task feeds in and wants back.
    """

    def __init__(self, backbone: SequenceLayer, config: StackConfig, io: Interface) -> None:
        super().__init__()
        self.encoder = make_encoder(io, config.d_model)
        self.backbone = backbone
        self.decoder = make_decoder(config, io)

    def forward(self, x: Tensor, lengths: Tensor | None = None, *, rate: float = 1.0) -> Tensor:
        """Give the task's numbers.

        Args:
            x: tokens (B, L), or a real signal (B, L, d_input), or (B, L1, ..., Ld, d_input) over several axes; 2B
                rows for pairs.
            lengths: integers, one a row: what lies beyond is padding.
            rate: see :class:`ssm_models.contract.SequenceLayer`.

        Returns:
            (B, d_output), or (B, l_output, d_output) where positions have outputs.
        """
        y, _ = self.backbone(self.encoder(x), lengths=lengths, rate=rate)
        return self.decoder(y, lengths)

    def chunk(self, x: Tensor, state: State, *, rate: float = 1.0) -> tuple[Tensor, State]:
        """As ``forward``, for a piece of a stream: from the state before it to the state after it.

        The first state is ``backbone.initial_state(batch_size)``.
        """
        y, state = self.backbone(self.encoder(x), state, rate=rate)
        return self.decoder(y), state

    def stepper(self, rate: float = 1.0) -> Stepper:
        """As a layer's: tokens (B,) or samples (B, d_input), and a state, to (B, d_output) and the next state.

        The output is that of a sequence which ends there. The first state is ``backbone.initial_state(batch_size)``.

        Raises:
            ValueError: the decoder looks at more than the last position, or the backbone cannot step.
        """
        decoder = self.decoder
        if not isinstance(decoder, PositionDecoder | SequenceDecoder) or getattr(decoder, "mode", "last") != "last":
            raise ValueError(
                "Outputs of single samples need a decoder that looks at the last position alone: that of l_output, or "
                "decoder=last without pairs."
            )
        backbone_step = self.backbone.stepper(rate)

        def step(x: Tensor, state: State) -> tuple[Tensor, State]:
            y, state = backbone_step(self.encoder(x), state)
            return decoder.output_transform(y), state

        return step


def make_decoder(config: StackConfig, io: Interface) -> nn.Module:
    """The decoder that a task asks for."""
    if io.l_output:
        return PositionDecoder(config.d_model, io.d_output, io.l_output)
    kind = RetrievalDecoder if io.pair else SequenceDecoder
    return kind(config.d_model, io.d_output, config.decoder)
