"""SC09: the ten spoken digits of Speech Commands, predicted sample by sample.

The data set is by Donahue et al., "Adversarial Audio Synthesis" (arXiv:1802.04208), and is used as in Goel et al.,
"It's Raw! Audio Generation with State-Space Models" (arXiv:2202.09729, section 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from ssm_data import audio, cache, parallel
from ssm_data.contract import Place, Preparation
from ssm_data.datasets import speech_commands
from ssm_data.datasets.quantized_sound import QuantizedSound
from ssm_data.splits import Ragged

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PUBLISHED = {"train": 31_158, "val": 3_643, "test": 4_107}


@dataclass(frozen=True, kw_only=True)
class SC09(QuantizedSound):
    """The ten digits of Speech Commands in the official splits, up to 16,000 samples each."""

    name: ClassVar[str] = "sc09"
    title: ClassVar[str] = "SC09"
    variable_length: ClassVar[bool] = True
    published: ClassVar[dict[str, int]] = PUBLISHED

    @property
    def _longest(self) -> int:
        return speech_commands.LENGTH

    def _preparation(self, place: Place) -> Preparation:
        key = {"quantization": self.quantization, "miniature": self.miniature}
        if self.miniature:
            return Preparation(key, self._write_miniature, "generates sounds", 5 << 20)
        found = speech_commands.find(place)
        sentence = f"reads {found}" if found else f"downloads {speech_commands.ORIGINAL.url}"
        size = sum(PUBLISHED.values()) * speech_commands.LENGTH
        originals = speech_commands.originals(place, found, DIGITS)
        return Preparation(key, partial(self._write, place, found), sentence, size, originals=originals)

    def _write(self, place: Place, source: Path | None, writer: cache.Writer, progress: bool) -> None:
        if source is None:
            source = speech_commands.obtain(place, progress)
        clips: dict[str, np.ndarray] = {}
        lists: dict[str, set[str]] = {}
        files = speech_commands.files_of(source, DIGITS)
        for name, content in parallel.tracked(files, sum(PUBLISHED.values()), title="SC09: reading", progress=progress):
            if name in speech_commands.LISTS.values():
                lists[name] = set(speech_commands.listed(content, name, source))
            else:
                clips[name] = audio.quantize(speech_commands.samples_of(content, name), self.quantization)
        speech_commands.check_lists(lists, source)
        official = {split: lists[file] for split, file in speech_commands.LISTS.items()}
        names = {"train": clips.keys() - official["val"] - official["test"]}
        names |= {split: clips.keys() & members for split, members in official.items()}
        speech_commands.check_sizes(names, PUBLISHED, source)
        for split, members in names.items():
            Ragged.store(writer, split, [clips[name] for name in sorted(members)])
