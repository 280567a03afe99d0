"""Seeded mutations of bytes, texts and lists: flipped bits, cuts, parts that are doubled, deleted or swapped."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

#: Numbers at the edges of what programs expect, and words that are nearly numbers.
EDGES = (
    *("0", "-0", "1", "-1", "2", "-3", "77", "127", "128", "255", "256", "65535", "65536", "2147483647", "2147483648"),
    *("4294967296", "9223372036854775807", "18446744073709551616", "1" + "0" * 30, "1e20", "1e308", "1e309", "-1e309"),
    *(
        "0.0",
        "-0.0",
        "1e-320",
        "0.1",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "Infinity",
        ".nan",
        ".inf",
        "-.inf",
        "1_000",
        "0x10",
    ),
    *("0b1", "010", "1.", ".5", "+1", "١", "null", "~", "true", "yes", "off", "''", '""', "[]", "{}", "", " "),
)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?")
_PIECE = re.compile(r"\w+|\s+|.", re.DOTALL)
_LETTERS = "\0\t\n\r \"'#$%&*+,-./0123456789:;<=>?@[\\]^_`abcxyzABCXYZ{|}~\x7f\x85\xa0éß\u2028\ufeff😀\ud800"


def mutated_bytes(content: bytes, draw: random.Random, other: bytes = b"") -> bytes:
    """Return the content with one to four changes.

    Args:
        other: a second content, of which parts may be spliced in.
    """
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 4))):
        at, end = _span(len(data), draw)
        kind = draw.randrange(9)
        if kind == 0 and data:
            place = draw.randrange(len(data))
            data[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            # Headers are short and decide more than the rest.
            place = draw.randrange(min(len(data), 64) or 1)
            data[place : place + 1] = bytes([draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))])
        elif kind == 2:
            size = draw.choice((2, 4, 8))
            number = draw.choice((0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, len(data)))
            place = draw.randrange(min(len(data), 64) or 1)
            data[place : place + size] = (number % 256**size).to_bytes(size, draw.choice(("little", "big")))
        elif kind == 3:
            del data[draw.randrange(len(data) + 1) :]
        elif kind == 4:
            del data[at:end]
        elif kind == 5:
            data[at:at] = data[at:end]
        elif kind == 6:
            middle = (at + end) // 2
            data[at:end] = data[middle:end] + data[at:middle]
        elif kind == 7:
            first, last = _span(len(other), draw)
            data[at:end] = other[first:last]
        else:
            data[at:at] = draw.randbytes(draw.randrange(1, 9))
    return bytes(data)


def mutated_text(text: str, draw: random.Random, other: str = "") -> str:
    """Return the text with one to three changes, of letters, of words and numbers, or of lines."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        kind = draw.randrange(8)
        numbers = list(_NUMBER.finditer(text)) if kind in (0, 1) else []
        if numbers:
            found = draw.choice(numbers)
            text = text[: found.start()] + draw.choice(EDGES) + text[found.end() :]
        elif kind <= 2:
            at = draw.randrange(len(text) + 1)
            text = text[:at] + draw.choice(_LETTERS) + text[at + draw.randrange(2) :]
        elif kind == 3:
            text = "".join(mutated_list(_PIECE.findall(text), draw, _PIECE.findall(other)))
        elif kind == 4:
            lines = text.splitlines(keepends=True)
            text = "".join(mutated_list(lines, draw, other.splitlines(keepends=True)))
        elif kind == 5:
            at, end = _span(len(text), draw)
            text = text[:at] + text[end:]
        elif kind == 6:
            text = text[: draw.randrange(len(text) + 1)]
        else:
            at, end = _span(len(text), draw)
            first, last = _span(len(other), draw)
            text = text[:at] + other[first:last] + text[end:]
    return text


def mutated_list(items: Sequence[T], draw: random.Random, other: Sequence[T] = ()) -> list[T]:
    """Return the items with one of them deleted, doubled, swapped with another one, or replaced by one of ``other``."""
    result = list(items)
    if not result:
        return [draw.choice(other)] if other else result
    at, to = draw.randrange(len(result)), draw.randrange(len(result))
    kind = draw.randrange(5)
    if kind == 0:
        del result[at]
    elif kind == 1:
        result.insert(to, result[at])
    elif kind == 2:
        result[at], result[to] = result[to], result[at]
    elif other:
        result[at : at + (kind == 3)] = [draw.choice(other)]
    return result


def _span(size: int, draw: random.Random) -> tuple[int, int]:
    """Return the begin and the end of a part, which is mostly short."""
    begin = draw.randrange(size + 1)
    return begin, min(size, begin + draw.choice((1, 2, 4, 8, 16, 64, draw.randrange(size + 1))))
