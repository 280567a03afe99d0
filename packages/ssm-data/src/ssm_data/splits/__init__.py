"""Splits of prepared data: they return examples by index, from memory-mapped arrays or drawn on demand."""

from ssm_data.splits.base import Endless, Labelled, Ragged, Selection, Split, shuffled
from ssm_data.splits.drawn import EndlessSynthetic, Synthetic
from ssm_data.splits.pictures import (
    AugmentedClips,
    AugmentedImages,
    Clips,
    EncodedImages,
    ImageFiles,
    Images,
    Videos,
)
from ssm_data.splits.reals import Horizons, Pixels, Signals
from ssm_data.splits.tokens import Generated, Pairs, Sequences, Stream, Window

__all__ = [
    "AugmentedClips",
    "AugmentedImages",
    "Clips",
    "EncodedImages",
    "Endless",
    "EndlessSynthetic",
    "Generated",
    "Horizons",
    "ImageFiles",
    "Images",
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
    "Videos",
    "Window",
    "shuffled",
]
