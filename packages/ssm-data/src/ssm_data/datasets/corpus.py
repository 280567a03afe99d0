"""Base of the corpora for language modelling: each split is a stream of tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from ssm_data import cache
from ssm_data.contract import SPLITS, Dataset, Prepared, Spec
from ssm_data.options import Length
from ssm_data.splits import Stream

#: File of an entry that holds the vocabulary, one symbol per line.
VOCABULARY = "vocabulary.txt"


@dataclass(frozen=True, kw_only=True)
class Corpus(Dataset):
    """A text that is predicted token by token; ``limit`` is a number of predictions at the beginning of a split.

    Args:
        l_max: number of tokens in a window.
    """

    metric: ClassVar[Literal["perplexity", "bits"]]

    vocabulary: ClassVar[int]
    published: ClassVar[dict[str, int]]
    miniature_vocabulary: ClassVar[int]
    miniature_predictions: ClassVar[dict[str, int]]
    published_chance: ClassVar[float] = math.nan

    l_max: Length = 8192

    def expected(self) -> Spec:
        """Return the expected spec; see :meth:`Dataset.expected`."""
        symbols = self.miniature_vocabulary if self.miniature else self.vocabulary
        tokens = {split: size - 1 for split, size in self.published.items()}  # the first token is no target
        return Spec(
            tokens=True,
            d_input=symbols,
            d_output=symbols,
            target="class",
            l_max=self.l_max,
            l_output=self.l_max,
            lengths=False,
            pair=False,
            stream=True,
            metric=self.metric,
            chance=math.nan if self.miniature else self.published_chance,
            sizes=self._sizes(self.miniature_predictions if self.miniature else tokens),
        )

    def _store(self, writer: cache.Writer, vocabulary: list[str], tokens: dict[str, np.ndarray]) -> None:
        for split in SPLITS:
            writer.array(split, tokens[split])
        (writer.folder / VOCABULARY).write_text("\n".join(vocabulary), encoding="utf-8")
        writer.meta["vocabulary"] = len(vocabulary)

    def _open(self, entry: cache.Entry) -> Prepared:
        streams = {}
        for split in SPLITS:
            tokens = entry.array(split)
            size = min(len(tokens) - 1, (self.limit or {}).get(split, len(tokens)))
            streams[split] = Stream(tokens, size, self.l_max)
        sizes = {split: len(stream) for split, stream in streams.items()}
        spec = replace(
            self.expected(),
            d_input=entry.meta["vocabulary"],
            d_output=entry.meta["vocabulary"],
            chance=constant_guess(streams["test"].tokens[1 : sizes["test"] + 1], self.metric),
            sizes=sizes,
            fingerprint=cache.digest([entry.fingerprint, sizes, self.l_max]),
        )
        symbols = (entry.folder / VOCABULARY).read_text(encoding="utf-8").split("\n")
        return Prepared(spec, streams, symbols=symbols, writing="words" if self.metric == "perplexity" else "bytes")


def constant_guess(targets: np.ndarray, metric: Literal["perplexity", "bits"]) -> float:
    """Return the metric of the best constant prediction: the distribution of the targets themselves."""
    counts = np.bincount(targets)
    shares = counts[counts > 0] / counts.sum()
    bits = float(-(shares * np.log2(shares)).sum())
    return 2**bits if metric == "perplexity" else bits
