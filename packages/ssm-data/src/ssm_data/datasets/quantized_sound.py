"""What data sets of sound that is generated sample by sample share: 8-bit samples, and a miniature of tones.

Goel et al., "It's Raw! Audio Generation with State-Space Models" (arXiv:2202.09729, section 5).
"""

from __future__ import annotations

from dataclasses import dataclass

from ssm_data import audio, cache
from ssm_data.contract import SPLITS, Dataset, Prepared, Spec
from ssm_data.datasets.corpus import constant_guess
from ssm_data.generators import miniatures
from ssm_data.splits import Generated, Ragged


@dataclass(frozen=True, kw_only=True)
class QuantizedSound(Dataset):
    """What all share: the quantisation, and a miniature of tones.

    Args:
        quantization: ``mu-law`` or ``linear`` steps.
    """

    quantization: audio.Quantization = "mu-law"

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        for split, (waves, _) in miniatures.tones(10).items():
            Ragged.store(writer, split, [audio.quantize(wave, self.quantization) for wave in waves])

    def _opened(self, entry: cache.Entry, *, l_max: int, lengths: bool) -> Prepared:
        splits = {}
        for split in SPLITS:
            tokens = Ragged.open(entry, split)
            index = self._subset(split, len(tokens.lengths()))
            splits[split] = Generated(index, tokens, audio.SILENCE)
        if self.miniature:
            l_max = int(splits["test"].lengths().max())
        spec = Spec(
            tokens=True,
            d_input=audio.MU + 1,
            d_output=audio.MU + 1,
            target="class",
            l_max=l_max,
            l_output=l_max,
            lengths=lengths,
            pair=False,
            stream=False,
            metric="bits",
            chance=constant_guess(splits["test"].tokens.flat, "bits"),
            sizes={name: len(split) for name, split in splits.items()},
            fingerprint=cache.digest([entry.fingerprint, *(split.digest() for split in splits.values())]),
        )
        return Prepared(spec, splits)
