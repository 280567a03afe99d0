"""Generate ListOps: expressions of nested list operations, and their values.

The grammar follows Nangia and Bowman, "ListOps: A Diagnostic Dataset for Latent Tree Learning" (arXiv:1804.06028,
section 2), with the long expressions of Tay et al., "Long Range Arena" (arXiv:2011.04006, section 2.2.1). A node is an
operator with probability 1/4, and a digit otherwise. An operator has 2 to ``max_args`` arguments. Nodes at
``max_depth`` are digits. Expressions whose length is out of bounds are rejected.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

OPERATORS = ("[MIN", "[MAX", "[MED", "[SM")
MIN, MAX, MED, SM = range(4)
P_OPERATOR = 0.25


@dataclass(frozen=True)
class Grammar:
    """Bounds of the expressions. The length counts operators, closing brackets and digits."""

    max_depth: int = 10
    max_args: int = 10
    min_length: int = 501
    max_length: int = 1999


@dataclass(frozen=True)
class Expressions:
    """Concatenated expressions: the codes of expression i are ``codes[offsets[i]:offsets[i + 1]]``.

    Codes 0 to 3 are the operators in the order of :data:`OPERATORS`, 4 is the closing bracket, and 5 to 14 are the
    digits. ``values`` are the values of the expressions, 0 to 9.
    """

    codes: np.ndarray
    offsets: np.ndarray
    values: np.ndarray


CLOSE = 4
DIGIT = 5
SYMBOLS = (*OPERATORS, "]", *(str(digit) for digit in range(10)))


@dataclass
class _Level:
    """The nodes of one depth, grouped by parent; each array has one element per node."""

    tree: np.ndarray
    parent: np.ndarray
    code: np.ndarray
    children: np.ndarray
    size: np.ndarray = field(init=False)


def generate(rng: np.random.Generator, count: int, grammar: Grammar) -> Expressions:
    """Generate ``count`` independent expressions of the grammar, in the order in which they are drawn."""
    parts: list[Expressions] = []
    missing = count
    while missing > 0:
        part = _accepted(rng, 16 * count, grammar)
        parts.append(part)
        missing -= len(part.values)
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])[:count]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    codes = np.concatenate([part.codes for part in parts])[: offsets[-1]]
    return Expressions(codes, offsets, np.concatenate([part.values for part in parts])[:count])


def _accepted(rng: np.random.Generator, candidates: int, grammar: Grammar) -> Expressions:
    levels, length = _grow(rng, candidates, grammar)
    keep = (length >= grammar.min_length) & (length <= grammar.max_length)
    levels = _restrict(levels, keep)
    values = _evaluate_levels(levels)
    offsets = np.concatenate([[0], np.cumsum(length[keep])])
    return Expressions(_write(levels, offsets), offsets, values.astype(np.uint8))


def _grow(rng: np.random.Generator, trees: int, grammar: Grammar) -> tuple[list[_Level], np.ndarray]:
    """Grow all random trees at once, depth by depth; stop growing a tree that is too long."""
    length = np.zeros(trees, dtype=np.int64)
    tree = np.arange(trees)
    parent = np.zeros(trees, dtype=np.int64)
    levels: list[_Level] = []
    for depth in range(1, grammar.max_depth + 1):
        nodes = len(tree)
        operator = rng.random(nodes) < (P_OPERATOR if depth < grammar.max_depth else 0)
        children = np.where(operator, rng.integers(2, grammar.max_args + 1, nodes), 0)
        code = np.where(operator, rng.integers(0, 4, nodes), DIGIT + rng.integers(0, 10, nodes))
        length += np.bincount(tree, 1 + operator, trees).astype(np.int64)
        at_least = length + np.bincount(tree, children, trees).astype(np.int64)
        children[at_least[tree] > grammar.max_length] = 0
        length[at_least > grammar.max_length] = grammar.max_length + 1
        levels.append(_Level(tree, parent, code, children))
        parent = np.repeat(np.arange(nodes), children)
        tree = tree[parent]
    return levels, length


def _restrict(levels: list[_Level], keep: np.ndarray) -> list[_Level]:
    """Return the levels with only the nodes of the trees to keep."""
    kept: list[_Level] = []
    new_tree = np.cumsum(keep) - 1
    position = np.zeros(1, dtype=np.int64)
    for depth, level in enumerate(levels):
        mask = keep[level.tree]
        parent = position[level.parent[mask]] if depth else level.parent[mask]
        kept.append(_Level(new_tree[level.tree[mask]], parent, level.code[mask], level.children[mask]))
        position = np.cumsum(mask) - 1
    return kept


def _evaluate_levels(levels: list[_Level]) -> np.ndarray:
    """Compute the values of the roots from the leaves upwards; set ``size`` to the number of codes of each subtree."""
    below = np.zeros(0, dtype=np.int64)
    for depth in reversed(range(len(levels))):
        level = levels[depth]
        value = level.code - DIGIT
        level.size = np.ones(len(value), dtype=np.int64)
        inner = np.flatnonzero(level.children)
        if len(inner):
            count = level.children[inner]
            starts = np.cumsum(count) - count
            group = np.repeat(np.arange(len(inner)), count)
            ordered = below[np.lexsort((below, group))]
            median = (ordered[starts + (count - 1) // 2] + ordered[starts + count // 2]) // 2
            total = np.add.reduceat(below, starts) % 10
            choices = [ordered[starts], ordered[starts + count - 1], median, total]
            value[inner] = np.choose(level.code[inner], choices)
            level.size[inner] = 2 + np.add.reduceat(levels[depth + 1].size, starts)
        below = value
    return below


def _write(levels: list[_Level], offsets: np.ndarray) -> np.ndarray:
    """Return the codes of the expressions in depth-first order."""
    codes = np.empty(offsets[-1], dtype=np.uint8)
    start = offsets[:-1]
    for level, after in zip(levels, [*levels[1:], None], strict=True):
        codes[start] = level.code
        inner = np.flatnonzero(level.children)
        codes[start[inner] + level.size[inner] - 1] = CLOSE
        if after is not None and len(inner):
            before = np.cumsum(after.size) - after.size
            first = np.cumsum(level.children[inner]) - level.children[inner]
            shift = np.repeat(start[inner] + 1 - before[first], level.children[inner])
            start = before + shift
        elif after is not None:
            start = start[:0]
    return codes


def evaluate(source: str) -> int:
    """Return the value of an expression in text, e.g. ``[MAX 2 9 [MIN 4 7 ] 0 ]``; ignore round brackets.

    Raises:
        ValueError: the text is not one complete expression.
    """
    stack: list[tuple[int, list[int]]] = [(MAX, [])]
    for symbol in source.replace("(", " ").replace(")", " ").split():
        if symbol in OPERATORS:
            stack.append((OPERATORS.index(symbol), []))
        elif symbol == "]":
            if len(stack) == 1 or not stack[-1][1]:
                raise ValueError("a closing bracket of a ListOps expression closes nothing")
            operator, arguments = stack.pop()
            stack[-1][1].append(_apply(operator, arguments))
        elif len(symbol) == 1 and symbol in "0123456789":
            stack[-1][1].append(int(symbol))
        else:
            raise ValueError(f"{symbol!r} is no symbol of ListOps")
    if len(stack) != 1 or len(stack[0][1]) != 1:
        raise ValueError("the text is not one complete ListOps expression")
    return stack[0][1][0]


def _apply(operator: int, arguments: list[int]) -> int:
    if operator == SM:
        return sum(arguments) % 10
    ordered = sorted(arguments)
    if operator == MIN:
        return ordered[0]
    if operator == MAX:
        return ordered[-1]
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2
