"""Build vocabularies of characters and of words, and encode texts with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

#: Special symbols; their tokens are PAD, UNK and EOS.
SPECIALS = ("<pad>", "<unk>", "<eos>")
PAD, UNK, EOS = range(3)
#: Word that stands for the end of a line.
END_OF_LINE = "<eos>"
#: Number of code points of Unicode.
UNICODE = 0x110000
#: Number of texts whose characters are counted at once.
CHUNK = 1000


def characters(texts: Sequence[str], min_freq: int) -> list[str]:
    """Return the special symbols, then the characters that occur at least ``min_freq`` times, most frequent first."""
    from torchtext.vocab import Vocab

    counts = np.zeros(UNICODE, dtype=np.int64)
    for start in range(0, len(texts), CHUNK):
        counts += np.bincount(_codes("".join(texts[start : start + CHUNK])), minlength=UNICODE)
    counter = Counter({chr(code): int(counts[code]) for code in np.flatnonzero(counts)})
    return Vocab(counter, min_freq=min_freq, specials=list(SPECIALS)).itos


def encode(texts: Iterable[str], vocabulary: Sequence[str], l_max: int) -> list[np.ndarray]:
    """Encode each text as the tokens of its characters; cut it to ``l_max`` tokens, including the end symbol."""
    dtype = np.min_scalar_type(len(vocabulary) - 1)
    table = np.full(UNICODE, UNK, dtype=dtype)
    for number, character in enumerate(vocabulary[len(SPECIALS) :], len(SPECIALS)):
        table[ord(character)] = number
    return [np.append(table[_codes(text[: l_max - 1])], dtype.type(EOS)) for text in texts]


def words(lines: Iterable[str]) -> list[str]:
    """Return the end of a line, then the words of the lines (split at white space), most frequent first."""
    counter: Counter[str] = Counter()
    for line in lines:
        counter.update(line.split())
    return [END_OF_LINE, *(word for word, _ in counter.most_common())]


def encode_words(lines: Iterable[str], vocabulary: Sequence[str]) -> np.ndarray:
    """Encode the words of all lines, and the end of each line, as one sequence of tokens.

    Raises:
        KeyError: a word is not in the vocabulary.
    """
    numbers = {word: number for number, word in enumerate(vocabulary)}
    dtype = np.min_scalar_type(len(vocabulary) - 1)
    encoded = (numbers[word] for line in lines for word in (*line.split(), END_OF_LINE))
    return np.fromiter(encoded, dtype=dtype)


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
