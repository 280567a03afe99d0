"""Join examples to a batch of tensors; the loader of :mod:`ssm_data.batches` calls this in its workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ssm_data.contract import Batch, Spec

#: Class of positions without a target; torch's cross entropy ignores it.
NO_TARGET = -100


def collate(examples: Sequence[Any], spec: Spec) -> Batch:
    """Join examples of one split to the batch that the spec describes; pad tokens on the right with 0."""
    targets = [example[-1] for example in examples]
    if spec.target == "class" and spec.l_output:
        y = torch.from_numpy(padded(targets, NO_TARGET))
    elif isinstance(targets[0], np.ndarray):
        y = torch.from_numpy(np.stack(targets))
    else:
        y = torch.tensor(targets, dtype=torch.int64)
    if not spec.tokens:
        return Batch(torch.from_numpy(np.stack([x for x, _ in examples])), y, None)
    sequences = [example[0] for example in examples]
    if spec.pair:
        sequences += [example[1] for example in examples]
    lengths = torch.tensor([len(sequence) for sequence in sequences]) if spec.lengths else None
    return Batch(torch.from_numpy(padded(sequences, 0)), y, lengths)


def padded(sequences: Sequence[np.ndarray], value: int) -> np.ndarray:
    """Join sequences (L,) of different lengths to an array (B, L) int64; fill it on the right with ``value``."""
    out = np.full((len(sequences), max(map(len, sequences))), value, dtype=np.int64)
    for row, sequence in zip(out, sequences, strict=True):
        row[: len(sequence)] = sequence
    return out
