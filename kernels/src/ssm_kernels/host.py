"""The kernels on the CPU: the same CUDA sources, built by the C++ compiler of the system and run thread by thread.

This tests arithmetic, indexing and barriers without a GPU. It is slow, and no back end uses it.
"""

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from torch import Tensor

from ssm_kernels.compiler import SOURCES, CompileError, Unit
from ssm_kernels.runtime import Grid


def compiler() -> str | None:
    """Return the C++ compiler: ``CXX``, otherwise g++, otherwise clang++; None if there is none."""
    candidates = (os.environ.get("CXX"), "g++", "clang++")
    return next((path for name in candidates if name and (path := shutil.which(name))), None)


def kernels(unit: Unit) -> list[str]:
    """Return the names of the kernels in the source of a unit."""
    return re.findall(r"^KERNEL (\w+)\(", (SOURCES / unit.source).read_text(), re.MULTILINE)


@cache
def build(unit: Unit) -> ctypes.PyDLL:
    """Build a unit and load it.

    Raises:
        CompileError: the compiler refused the source; the message ends with its log.
    """
    found = compiler()
    if found is None:
        raise CompileError("The host build needs a C++ compiler: install g++ or clang++, or set CXX.")
    wrappers = "".join(
        f'extern "C" bool run_{name}(void **arguments, const unsigned *grid, bool descending) '
        f"{{ return host::launch({name}, arguments, grid, THREADS, descending); }}\n"
        for name in kernels(unit)
    )
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "unit.cpp", Path(folder) / "unit.so"
        source.write_text(f'#include "host.h"\n#include "{unit.source}"\n{wrappers}')
        flags = ["-std=c++17", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-Wno-unknown-pragmas"]
        result = subprocess.run(
            [found, *flags, f"-I{SOURCES}", *unit.defines, str(source), "-o", str(library)],
            capture_output=True,
            text=True,
        )
        if result.returncode != 0:
            raise CompileError(f"{found} cannot build {unit.source}:\n{result.stderr}")
        # PyDLL keeps the interpreter lock, because the emulated block is global state.
        return ctypes.PyDLL(str(library))


def launch(unit: Unit, kernel: str, grid: Grid, arguments: Sequence[Tensor | int], *, descending: bool = False) -> None:
    """Run a kernel on CPU tensors; see ``runtime.Launch``.

    Between two barriers of the block its warps run one after another. Between two exchanges or barriers of a warp its
    lanes run one after another, ``descending`` or ascending. A kernel that lacks a barrier gives different results in
    the two orders.

    Raises:
        RuntimeError: some threads do not reach the same barriers as the others.
    """
    values = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else ctypes.c_int(a) for a in arguments]
    pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
    run = getattr(build(unit), f"run_{kernel}")
    run.restype = ctypes.c_bool
    if not run(pointers, (ctypes.c_uint * 3)(*grid), ctypes.c_bool(descending)):
        raise RuntimeError(f"{kernel}: some threads ended, or waited elsewhere, while others waited at a barrier.")
