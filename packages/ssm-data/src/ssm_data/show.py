"""Draw an example: ``show`` draws it to a terminal, ``save`` to a PNG file; ``bench data show`` calls both.

An example is converted to parts of four kinds (texts, trees, images, curves), and both functions can draw each kind.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text as Styled
from rich.tree import Tree

from ssm_data.contract import Prepared
from ssm_data.splits import Clips, Generated, Pixels, Stream, Window
from ssm_data.vocabulary import SPECIALS

#: A split of any kind.
Source = Any
#: Characters that draw pixels in a terminal, from dark to bright.
SHADES = " .:-=+*#%@"
#: Maximum number of tokens of a text that are shown.
LONGEST = 1500
#: Maximum number of lines below one operator in a terminal.
LEAVES = 12
#: Number of frames of a video that are shown.
SHOWN_FRAMES = 6
#: Size of a curve in a terminal, in characters.
COLUMNS, ROWS = 72, 9


@dataclass(frozen=True)
class Words:
    """A piece of text."""

    title: str
    text: str


@dataclass(frozen=True)
class Node:
    """An operator of an expression and its arguments, or a digit."""

    symbol: str
    arguments: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Raster:
    """An image (h, w, C) with one or three channels, in [0, 1]."""

    title: str
    pixels: np.ndarray


@dataclass(frozen=True)
class Curve:
    """A sequence of values (L,)."""

    title: str
    values: np.ndarray


Part = Words | Node | Raster | Curve
#: Height of each kind of part in a PNG file, in inches.
HEIGHTS = {Words: 2.0, Node: 4.5, Raster: 4.0, Curve: 1.8}


def show(prepared: Prepared, split: str, index: int, console: Console) -> None:
    """Draw an example to a terminal.

    Raises:
        IndexError: the split has no such example.
    """
    caption, parts = explain(prepared, split, index)
    console.print(caption, style="bold", highlight=False, markup=False)
    for part in parts:
        if isinstance(part, Words):
            console.print(part.title, style="dim", highlight=False, markup=False)
            console.print(part.text, highlight=False, markup=False)
        elif isinstance(part, Node):
            console.print(_branch(Tree(Styled(part.symbol)), part))
        elif isinstance(part, Raster):
            console.print(part.title, style="dim", highlight=False, markup=False)
            console.print(_shaded(part.pixels, console.width), soft_wrap=True)
        else:
            low, high = part.values.min(), part.values.max()
            title = f"{part.title}, from {low:.4g} to {high:.4g}"
            console.print(title, style="dim", highlight=False, markup=False)
            console.print(_plotted(part.values), highlight=False, markup=False)


def save(prepared: Prepared, split: str, index: int, path: Path) -> None:
    """Draw an example to a PNG file.

    Raises:
        IndexError: the split has no such example.
    """
    from matplotlib.figure import Figure

    caption, parts = explain(prepared, split, index)
    if prepared.writing == "expression":
        parts = [part for part in parts if isinstance(part, Node)]
    across = len(parts) if all(isinstance(part, Raster) for part in parts) else 1
    heights = [HEIGHTS[type(part)] for part in parts[::across]]
    figure = Figure(figsize=(max(8.0, 2.5 * across), sum(heights) + 0.5), layout="constrained")
    figure.suptitle(caption, fontsize=9, parse_math=False)
    grid = figure.subplots(len(heights), across, height_ratios=heights, squeeze=False)
    for axes, part in zip(grid.flat, parts, strict=True):
        if isinstance(part, Words):
            axes.set_axis_off()
            axes.set_title(part.title, fontsize=8, loc="left")
            text = "\n".join(textwrap.wrap(part.text, 120))
            options = {"va": "top", "family": "monospace", "fontsize": 7, "parse_math": False}
            axes.text(0, 1, text, transform=axes.transAxes, **options)
        elif isinstance(part, Node):
            _draw_tree(axes, part)
        elif isinstance(part, Raster):
            axes.imshow(part.pixels.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(part.title, fontsize=8)
            axes.set_axis_off()
        else:
            axes.plot(part.values, linewidth=0.6)
            axes.set_title(part.title, fontsize=8, loc="left")
            axes.margins(x=0)
            axes.tick_params(labelsize=7)
    partial = path.with_name(f"{path.name}.partial")
    figure.savefig(partial, format="png", dpi=150)
    partial.replace(path)


def explain(prepared: Prepared, split: str, index: int) -> tuple[str, list[Part]]:
    """Return a caption for example ``index`` of a split, and the parts of the example.

    Raises:
        IndexError: the split has no such example.
    """
    data: Source = prepared.split(split)
    count = -(-len(data) // data.l_max) if isinstance(data, Stream) else len(data)
    if not 0 <= index < count:
        raise IndexError(f"{split} has the examples 0 to {count - 1:,}; there is no {index:,}.")
    window = Window(0, len(data) + 1, 0, index * data.l_max) if isinstance(data, Stream) else index
    *inputs, target = data[window]
    caption = f"{split} {index:,} of {count:,}: {_answer(prepared, target)}"
    return caption, [part for x in inputs for part in _parts(prepared, data, x)] + _asked(prepared, target)


def _parts(prepared: Prepared, data: Source, x: np.ndarray) -> list[Part]:
    """Return the parts of an input."""
    size = " x ".join(f"{n:,}" for n in x.shape)
    if isinstance(data, Generated):
        return [Curve(f"{size} samples in 8 bits", np.append(x[1:], x[-1:]).astype(float))]
    if prepared.writing == "expression":
        return [Words(f"{size} tokens", written(prepared, x)), parsed([prepared.symbols[i] for i in x])]
    if prepared.writing:
        return [Words(f"{size} tokens", written(prepared, x))]
    if prepared.spec.tokens:
        return [Curve(f"{size} tokens", x.astype(float))]
    if isinstance(data, Pixels):
        return [Raster(f"{size} pixels, 1 to {len(x):,} in the order of the sequence", _unrolled(data, x))]
    if isinstance(data, Clips):
        chosen = np.linspace(0, len(x) - 1, min(SHOWN_FRAMES, len(x))).astype(int)
        return [Raster(f"frame {number}", _stretched(x[number])) for number in chosen]
    if x.ndim == 3:
        return [Raster(f"{size}, standardised", _stretched(x))]
    return [Curve(f"channel {channel} of {size}", x[:, channel]) for channel in range(min(x.shape[1], 6))]


def _asked(prepared: Prepared, target: Any) -> list[Part]:
    """Return the parts of a target that consists of many classes or values; for other targets, an empty list."""
    if prepared.writing or prepared.spec.target == "labels" or np.size(target) < 2:
        return []
    if prepared.spec.tokens and prepared.spec.d_input == 256:
        return []  # sound: the target is the input, one sample later
    return [Curve(f"target, {np.shape(target)[0]:,} positions", np.asarray(target, float).reshape(-1))]


def _answer(prepared: Prepared, target: Any) -> str:
    if prepared.spec.target == "labels":
        return ", ".join(prepared.classes[int(i)] for i in np.flatnonzero(target)) or "none of the attributes"
    if np.ndim(target) == 0:
        return f"class {target}{f', {prepared.classes[target]}' if prepared.classes else ''}"
    if np.size(target) == 1:
        return f"target {float(target[0]):.4g}"
    return f"target of {np.size(target):,} {'values' if prepared.spec.target == 'value' else 'tokens'}"


def written(prepared: Prepared, tokens: np.ndarray) -> str:
    """Return the text that tokens stand for."""
    symbols = [prepared.symbols[token] for token in tokens[:LONGEST]]
    more = " ..." if len(tokens) > LONGEST else ""
    if prepared.writing == "bytes":
        return bytes(int(symbol) for symbol in symbols).decode(errors="replace") + more
    return ("" if prepared.writing == "characters" else " ").join(symbols) + more


def parsed(symbols: list[str]) -> Node:
    """Parse an expression such as ``[MAX 1 [MIN 2 3 X 4 X`` to a tree; X closes the innermost open operator."""
    root = Node("")
    path = [root]
    for symbol in symbols:
        if symbol in SPECIALS:
            continue
        if symbol == "X":
            path.pop()
        else:
            node = Node(symbol.removeprefix("["))
            path[-1].arguments.append(node)
            if symbol.startswith("["):
                path.append(node)
    return root.arguments[0]


def _branch(tree: Tree, node: Node) -> Tree:
    """Add the arguments of a node to a tree; consecutive digits share a line."""
    lines: list[Node | str] = []
    for argument in node.arguments:
        if argument.arguments:
            lines.append(argument)
        elif lines and isinstance(lines[-1], str):
            lines[-1] += f" {argument.symbol}"
        else:
            lines.append(argument.symbol)
    for line in lines[:LEAVES]:
        if isinstance(line, str):
            tree.add(Styled(line))
        else:
            _branch(tree.add(Styled(line.symbol, "bold")), line)
    if len(lines) > LEAVES:
        tree.add(f"... {len(lines) - LEAVES} more")
    return tree


def _unrolled(data: Pixels, x: np.ndarray) -> np.ndarray:
    """Return the image, in [0, 1], from which a sequence of pixels was made."""
    height, width = data.images.shape[1:3]
    pixels = np.empty_like(x)
    pixels[slice(None) if data.order is None else data.order] = x
    return np.clip(pixels * data.std + data.mean, 0, 1).reshape(height, width, -1)


def _stretched(x: np.ndarray) -> np.ndarray:
    """Scale pixels linearly so that the minimum is 0 and the maximum is 1."""
    return (x - x.min()) / max(x.max() - x.min(), 1e-9)


def _shaded(pixels: np.ndarray, width: int) -> Styled:
    """Draw each pixel as two characters, in its colour if the terminal has colours."""
    step = max(1, -(-2 * pixels.shape[1] // width))
    drawn = Styled()
    for row in pixels[::step, ::step]:
        for pixel in np.broadcast_to(row, (row.shape[0], 3)):
            shade = SHADES[min(int(pixel.mean() * len(SHADES)), len(SHADES) - 1)]
            red, green, blue = (int(255 * value) for value in pixel)
            drawn.append(2 * shade, f"rgb({red},{green},{blue})")
        drawn.append("\n")
    return drawn


def _plotted(values: np.ndarray) -> str:
    """Draw a curve as text: each column has a bar from the minimum to the maximum of its values."""
    low, high = float(values.min()), float(values.max())
    rows = ((values - low) / max(high - low, 1e-12) * (ROWS - 1)).round().astype(int)
    columns = [part for part in np.array_split(rows, min(COLUMNS, len(rows))) if len(part)]
    lines = [
        "".join("█" if part.min() <= row <= part.max() else " " for part in columns) for row in reversed(range(ROWS))
    ]
    return "\n".join(lines)


def _draw_tree(axes: Any, root: Node) -> None:
    """Draw the tree of an expression: operators as coloured dots, digits as text below them."""
    colours = {"MIN": "tab:blue", "MAX": "tab:red", "MED": "tab:green", "SM": "tab:orange"}
    leaves = 0
    spots: dict[str, list[tuple[float, int]]] = {name: [] for name in colours}
    digits: list[tuple[float, int, str]] = []
    lines: list[tuple[float, int, float, int]] = []

    def place(node: Node, depth: int) -> float:
        nonlocal leaves
        if not node.arguments:
            leaves += 1
            digits.append((leaves, depth, node.symbol))
            return leaves
        xs = [place(argument, depth + 1) for argument in node.arguments]
        x = float(np.mean(xs))
        spots[re.sub("[^A-Z]", "", node.symbol)].append((x, depth))
        lines.extend((x, depth, child, depth + 1) for child in xs)
        return x

    place(root, 0)
    for x, depth, child, below in lines:
        axes.plot([x, child], [-depth, -below], color="0.8", linewidth=0.4, zorder=1)
    for name, places in spots.items():
        if places:
            xs, depths = zip(*places, strict=True)
            axes.scatter(xs, [-depth for depth in depths], s=14, color=colours[name], label=name, zorder=2)
    for x, depth, symbol in digits:
        axes.text(x, -depth, symbol, fontsize=max(2, min(8, 500 / leaves)), ha="center", va="center")
    axes.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)
    axes.set_axis_off()
