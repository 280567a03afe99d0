"""A whole model: encoder, backbone, decoder."""

from torch import Tensor, nn

from ssm_models.backbones.stack import ResidualStack
from ssm_models.config import Interface, StackConfig
from ssm_models.heads.decoders import RetrievalDecoder, SequenceDecoder
from ssm_models.heads.encoders import make_encoder


class SequenceModel(nn.Module):
    """Classifies or regresses sequences.

    Args:
        config: the stack and its layer.
        io: what the task feeds in and wants back.
    """

    def __init__(self, config: StackConfig, io: Interface) -> None:
        super().__init__()
        self.encoder = make_encoder(io, config.d_model)
        layers = [config.build_layer(io.l_max) for _ in range(config.n_layers)]
        self.backbone = ResidualStack(layers, config)
        decoder = RetrievalDecoder if io.pair else SequenceDecoder
        self.decoder = decoder(config.d_model, io.d_output, config.decoder)

    def forward(self, x: Tensor, lengths: Tensor | None = None, *, rate: float = 1.0) -> Tensor:
        """Give the task's numbers.

        Args:
            x: tokens (B, L), or a real signal (B, L, d_input); 2B rows for pairs.
            lengths: integers, one a row: what lies beyond is padding.
            rate: see :class:`ssm_models.layers.base.SequenceLayer`.

        Returns:
            (B, d_output).
        """
        y, _ = self.backbone(self.encoder(x), lengths=lengths, rate=rate)
        return self.decoder(y, lengths)
