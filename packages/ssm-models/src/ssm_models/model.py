"""A whole model: encoder, backbone, decoder."""

from torch import Tensor, nn

from ssm_models.config import Interface, StackConfig
from ssm_models.config.layer import locate
from ssm_models.contract import SequenceLayer, State, Stepper
from ssm_models.heads.decoders import RetrievalDecoder, SequenceDecoder
from ssm_models.heads.encoders import make_encoder
from ssm_models.heads.positions import PositionDecoder


def build_model(config: StackConfig, io: Interface) -> "SequenceModel":
    """Return the model that a configuration describes, for a task.

    Raises:
        ValueError: the sizes of the configuration do not fit each other or the task.
    """
    return SequenceModel(build_backbone(config.for_length(io.l_max)), config, io)


def build_backbone(config: StackConfig) -> SequenceLayer:
    """Return the backbone of a configuration, which maps (B, L, d_model) to the same shape."""
    return locate(config.backbone)(config)


class SequenceModel(nn.Module):
    """Classify or regress sequences.

    Args:
        backbone: maps (B, L, d_model) to the same shape.
        config: gives the width, and how a sequence is summarised.
        io: inputs and outputs of the task.
    """

    def __init__(self, backbone: SequenceLayer, config: StackConfig, io: Interface) -> None:
        super().__init__()
        self.encoder = make_encoder(io, config.d_model)
        self.backbone = backbone
        self.decoder = make_decoder(config, io)

    def forward(self, x: Tensor, lengths: Tensor | None = None, *, rate: float = 1.0) -> Tensor:
        """Return the outputs of the task.

        Args:
            x: tokens (B, L), or a real signal (B, L, d_input), or (B, L1, ..., Ld, d_input) over several axes. For
                pairs of sequences, there are 2B rows instead of B.
            lengths: integers, the length of each row; later positions are padding.
            rate: see :meth:`ssm_models.contract.SequenceLayer.forward`.

        Returns:
            (B, d_output); (B, l_output, d_output) if positions have outputs.
        """
        y, _ = self.backbone(self.encoder(x), lengths=lengths, rate=rate)
        return self.decoder(y, lengths)

    def chunk(self, x: Tensor, state: State, *, rate: float = 1.0) -> tuple[Tensor, State]:
        """Run :meth:`forward` over a chunk of a stream.

        Args:
            x: the chunk.
            state: the state before the chunk; for the first chunk, ``backbone.initial_state(batch_size)``.
            rate: see :meth:`forward`.

        Returns:
            The outputs, and the state after the chunk.
        """
        y, state = self.backbone(self.encoder(x), state, rate=rate)
        return self.decoder(y), state

    def stepper(self, rate: float = 1.0) -> Stepper:
        """Return a function that computes the output after each sample of a stream.

        The function maps tokens (B,) or samples (B, d_input), and a state, to (B, d_output) and the next state. The
        output is the model's output for a sequence that ends with this sample. The first state is
        ``backbone.initial_state(batch_size)``.

        Raises:
            ValueError: the decoder uses more than the last position, or the backbone cannot step.
        """
        decoder = self.decoder
        if not isinstance(decoder, PositionDecoder | SequenceDecoder) or getattr(decoder, "mode", "last") != "last":
            raise ValueError(
                "Outputs of single samples need a decoder that uses the last position alone: that of l_output, or "
                "decoder=last without pairs."
            )
        backbone_step = self.backbone.stepper(rate)

        def step(x: Tensor, state: State) -> tuple[Tensor, State]:
            y, state = backbone_step(self.encoder(x), state)
            return decoder.output_transform(y), state

        return step


def make_decoder(config: StackConfig, io: Interface) -> nn.Module:
    """Return the decoder that a task needs."""
    if io.l_output:
        return PositionDecoder(config.d_model, io.d_output, io.l_output)
    kind = RetrievalDecoder if io.pair else SequenceDecoder
    return kind(config.d_model, io.d_output, config.decoder)
