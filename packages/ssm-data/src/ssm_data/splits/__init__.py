"""Splits of prepared data: examples by number, read from memory-mapped arrays or drawn when they are read."""

from ssm_data.splits.base import Endless, Labelled, Ragged, Selection, Split, shuffled
from ssm_data.splits.reals import Horizons, Pixels, Signals
from ssm_data.splits.synthetic import EndlessSynthetic, Synthetic
from ssm_data.splits.tokens import Generated, Pairs, Sequences, Stream, Window

__all__ = [
    "Endless",
    "EndlessSynthetic",
    "Generated",
    "Horizons",
    "Labelled",
    "Pairs",
    "Pixels",
    "Ragged",
    "Selection",
    "Sequences",
    "Signals",
    "Split",
    "Stream",
    "Synthetic",
    "Window",
    "shuffled",
]
