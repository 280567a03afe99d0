"""Inputs and outputs of a task, as a model sees them."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Interface:
    """The inputs and outputs of a task.

    Attributes:
        tokens: the input is integers (B, L) below ``d_input``; otherwise it is real, (B, L, d_input), or
            (B, L1, ..., Ld, d_input) over several axes.
        d_input: size of the vocabulary, or channels of a real signal.
        d_output: numbers that the model gives for each example, such as one for each class.
        l_max: length of the longest sequence; for data over several axes, the extent along each.
        pair: an example is a pair of sequences (retrieval). The input (2B, L) holds the first sequences of all pairs,
            then the second sequences.
        l_output: 0 if an example has one output; otherwise each of its last ``l_output`` positions has one output.
    """

    tokens: bool
    d_input: int
    d_output: int
    l_max: int | tuple[int, ...]
    pair: bool = False
    l_output: int = 0

    @property
    def axes(self) -> int:
        """Number of axes of the input: 1 for sequences, 2 for images, 3 for videos."""
        return len(self.l_max) if isinstance(self.l_max, tuple) else 1
