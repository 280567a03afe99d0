"""What the options of several verbs share: paths, the data folder, the device, options that may be given only once."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssm_bench.errors import UserError

if TYPE_CHECKING:
    import torch


class Once(argparse.Action):
    """An option that may be given only once; argparse itself would keep the last value and forget the others.

    A list may be given again if it only gets longer, because then no word is lost.
    """

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        given: set[str] = getattr(namespace, "_given", set())
        before = getattr(namespace, self.dest)
        longer = isinstance(values, list) and isinstance(before, list) and set(before) < set(values)
        if self.dest in given and not longer:
            raise UserError(f"{option_string} is given twice; give it once, with all its values.")
        namespace._given = given | {self.dest}
        setattr(namespace, self.dest, values)


def path(text: str) -> Path:
    """Read a path of the command line; ``~`` is the home folder, also after ``--option=``."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("a path must not be empty or hold a null character")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"there is no home folder for {text}") from None


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add ``--data``."""
    parser.add_argument(
        "--data",
        type=path,
        action=Once,
        metavar="DIR",
        help="folder with original data files; without it: cache, then download",
    )


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add ``--out``, the folder with the run folders."""
    parser.add_argument(
        "--out", type=path, action=Once, default=Path("runs"), metavar="DIR", help="run folders (default: runs)"
    )


def check_data(folder: Path | None) -> None:
    """Refuse a data folder that does not exist.

    Raises:
        UserError: the folder does not exist.
    """
    if folder is not None and not folder.is_dir():
        raise UserError(f"--data {folder} is not a folder.")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        "--device",
        action=Once,
        metavar="cpu|cuda",
        help="default: cuda if torch finds a GPU, else cpu; cuda:1 is the second GPU",
    )


def find_device(name: str | None) -> torch.device:
    """Return the device that a name stands for; without a name, a GPU if torch finds one, else the CPU.

    Raises:
        UserError: there is no such device.
    """
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"There is no device '{name}'; use cpu or cuda.") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device takes cpu or cuda, not '{name}'.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("torch finds no CUDA device here; use --device cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"There is no '{name}'; torch finds {torch.cuda.device_count()} of CUDA, from cuda:0 on.")
    return device


def quieten() -> None:
    """Silence the profiler, which counts memory, and KeOps. Call this before either is imported."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("PYKEOPS_VERBOSE", "0")
