"""Base of the data sets of sound that is predicted sample by sample, in 8-bit samples.

Goel et al., "It's Raw! Audio Generation with State-Space Models" (arXiv:2202.09729, section 5).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

from ssm_data import audio, cache
from ssm_data.contract import SPLITS, Dataset, Prepared, Spec
from ssm_data.datasets.corpus import constant_guess
from ssm_data.generators import miniatures
from ssm_data.splits import Generated, Ragged


@dataclass(frozen=True, kw_only=True)
class QuantizedSound(Dataset):
    """Base of the data sets of quantised sound.

    Args:
        quantization: spacing of the 256 levels, ``mu-law`` or ``linear``.
    """

    variable_length: ClassVar[bool] = False
    published: ClassVar[dict[str, int]] = dict.fromkeys(SPLITS, 0)  # 0: depends on the files of the folder

    quantization: audio.Quantization = "mu-law"

    @property
    @abstractmethod
    def _longest(self) -> int:
        """Return the maximum number of samples of an example."""

    def expected(self) -> Spec:
        """Return the expected spec; see :meth:`Dataset.expected`."""
        length = miniatures.SOUND if self.miniature else self._longest
        return Spec(
            tokens=True,
            d_input=audio.MU + 1,
            d_output=audio.MU + 1,
            target="class",
            l_max=length,
            l_output=length,
            lengths=self.variable_length,
            pair=False,
            stream=False,
            metric="bits",
            chance=math.nan,
            sizes=self._sizes(miniatures.SIZES if self.miniature else self.published),
        )

    def _write_miniature(self, writer: cache.Writer, progress: bool) -> None:
        for split, (waves, _) in miniatures.tones(10).items():
            Ragged.store(writer, split, [audio.quantize(wave, self.quantization) for wave in waves])

    def _open(self, entry: cache.Entry) -> Prepared:
        splits = {}
        for split in SPLITS:
            tokens = Ragged.open(entry, split)
            index = self._subset(split, len(tokens.lengths()))
            splits[split] = Generated(index, tokens, audio.SILENCE)
        spec = replace(
            self.expected(),
            chance=constant_guess(splits["test"].tokens.flat, "bits"),
            sizes={name: len(split) for name, split in splits.items()},
            fingerprint=cache.digest([entry.fingerprint, *(split.digest() for split in splits.values())]),
        )
        return Prepared(spec, splits)
