"""Compile CUDA C++ to machine code with NVRTC, and cache the results on disk. No GPU is needed."""

import hashlib
import json
import os
import tempfile
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).parent / "cuda"
#: Threads of a block, in every kernel.
THREADS = 128

DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Unit:
    """A CUDA source file with values for its compile-time constants; ``THREADS`` is added automatically."""

    source: str
    constants: tuple[tuple[str, int], ...]

    @property
    def defines(self) -> list[str]:
        return [f"-D{name}={value}" for name, value in (("THREADS", THREADS), *self.constants)]


class CompileError(RuntimeError):
    """NVRTC or the C++ compiler refused a source; the message ends with its log."""


@dataclass(frozen=True)
class Compiled:
    """Machine code for one architecture, and the log of the assembler: registers and spills."""

    cubin: bytes
    log: str


def cache_directory() -> Path:
    """Return ``SSM_KERNELS_CACHE``, or ``ssm-kernels`` in the user's cache directory."""
    if chosen := os.environ.get("SSM_KERNELS_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ssm-kernels"


def nvrtc_call(function, *arguments):
    """Call an NVRTC function and return its result, or a tuple of several results, without the status.

    Raises:
        CompileError: the status is an error.
    """
    from cuda.bindings import nvrtc

    status, *results = function(*arguments)
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise CompileError(f"NVRTC: {function.__name__} failed with {status.name}.")
    return results[0] if len(results) == 1 else tuple(results)


@cache
def nvrtc_version() -> tuple[int, int]:
    from cuda.bindings import nvrtc

    return nvrtc_call(nvrtc.nvrtcVersion)


@cache
def supported_architectures() -> tuple[str, ...]:
    """Return the architectures that the installed NVRTC compiles for, such as ``("sm_75", ..., "sm_120")``."""
    from cuda.bindings import nvrtc

    return tuple(f"sm_{number}" for number in nvrtc_call(nvrtc.nvrtcGetSupportedArchs))


def options(unit: Unit, architecture: str) -> list[str]:
    # A product and a sum fuse only if a source calls fmaf: the exact phases rely on rounded products, and the host
    # build rounds the same way.
    arithmetic = ["--fmad=false"]
    return [f"--gpu-architecture={architecture}", "--std=c++17", *arithmetic, "--ptxas-options=-v", *unit.defines]


def headers() -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(SOURCES.glob("*.cuh"))}


def compile_unit(unit: Unit, architecture: str) -> Compiled:
    """Compile a unit for an architecture such as ``"sm_90"``.

    Raises:
        CompileError: NVRTC refused the source; the message ends with its log.
    """
    from cuda.bindings import nvrtc

    included = headers()
    program = nvrtc_call(
        nvrtc.nvrtcCreateProgram,
        (SOURCES / unit.source).read_bytes(),
        unit.source.encode(),
        len(included),
        [text.encode() for text in included.values()],
        [name.encode() for name in included],
    )
    try:
        arguments = [option.encode() for option in options(unit, architecture)]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(arguments), arguments)
        log = b" " * nvrtc_call(nvrtc.nvrtcGetProgramLogSize, program)
        nvrtc_call(nvrtc.nvrtcGetProgramLog, program, log)
        text = log.rstrip(b"\0 \n").decode()
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CompileError(f"NVRTC cannot compile {unit.source} for {architecture}:\n{text}")
        cubin = b" " * nvrtc_call(nvrtc.nvrtcGetCUBINSize, program)
        nvrtc_call(nvrtc.nvrtcGetCUBIN, program, cubin)
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return Compiled(cubin, text)


def cache_entry(unit: Unit, architecture: str) -> Path:
    """Return the path of the cached machine code. It depends on sources, options, architecture and NVRTC."""
    identity = [(SOURCES / unit.source).read_text(), headers(), options(unit, architecture), nvrtc_version()]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    return cache_directory() / f"{Path(unit.source).stem}-{architecture}-{digest[:32]}.cubin"


def load_entry(entry: Path) -> bytes | None:
    """Return the machine code of a cache entry; None if there is no entry or its checksum is wrong."""
    try:
        content = entry.read_bytes()
    except FileNotFoundError:
        return None
    digest, cubin = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    return cubin if hashlib.sha256(cubin).digest() == digest else None


def store_entry(entry: Path, cubin: bytes) -> None:
    """Write a file beside the entry and rename it, so that other processes see a complete entry or none."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=entry.parent, prefix=entry.stem, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(cubin).digest() + cubin)
        os.replace(temporary, entry)
    except BaseException:
        os.unlink(temporary)
        raise


def cubin(unit: Unit, architecture: str) -> bytes:
    """Return machine code from the cache; compile and store it if it is absent or damaged."""
    entry = cache_entry(unit, architecture)
    stored = load_entry(entry)
    if stored is not None:
        return stored
    compiled = compile_unit(unit, architecture).cubin
    try:
        store_entry(entry, compiled)
    except OSError as error:
        warnings.warn(
            f"Cannot write the kernel cache ({error}), so every process compiles anew; "
            "set SSM_KERNELS_CACHE to a directory that can be written.",
            stacklevel=2,
        )
    return compiled
