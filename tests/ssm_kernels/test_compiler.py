"""NVRTC on a machine without a GPU: every unit for every architecture, and the cache on disk."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ssm_kernels import compiler, host, runtime
from ssm_kernels.compiler import CompileError, Unit
from ssm_kernels.ops import cauchy, chunked_scan, diagonal_scan, vandermonde

try:
    KNOWN = compiler.supported_architectures()
except (ImportError, RuntimeError) as error:
    pytest.skip(f"NVRTC cannot be loaded: {error}", allow_module_level=True)


def signal(H, dtype):
    return torch.empty(1, 1, H, dtype=dtype, device="meta")


CHUNKED = {
    f"{source}-{dtype}-{H}": chunked_scan.unit(source, signal(H, dtype))
    for source in ("chunk.cu", "chunk_gradient.cu")
    for dtype in (torch.float32, torch.bfloat16)
    for H in (1, 8)
}
UNITS = {
    **{f"vandermonde-{L}": vandermonde.unit(L) for L in (1, 257, 1024, 2048, 16384)},
    **{f"cauchy-{K}": cauchy.unit(K) for K in range(1, cauchy.MAX_NUMERATORS + 1)},
    **{f"scan-{M}": diagonal_scan.unit(M) for M in (1, 2, 3, 7, 16, 17)},
    "gradient": Unit("gradient.cu", ()),
    "chunk_system": chunked_scan.SYSTEM,
    **CHUNKED,
}
UNIT = UNITS["cauchy-1"]


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSM_KERNELS_CACHE", str(tmp_path / "cache"))


def test_the_units_cover_every_shape():
    """The constants of any length, number of numerators and number of states are among the units compiled below."""
    assert {vandermonde.unit(L) for L in range(1, 9000)} <= set(UNITS.values())
    assert {cauchy.unit(K) for K in range(1, 40)} <= set(UNITS.values())
    assert {diagonal_scan.unit(M) for M in range(1, 300)} <= set(UNITS.values())
    for dtype in (torch.float32, torch.bfloat16):
        assert {chunked_scan.unit("chunk.cu", signal(H, dtype)) for H in range(1, 40)} <= set(CHUNKED.values())


@pytest.mark.parametrize(
    "architecture",
    ["sm_90", *(pytest.param(each, marks=pytest.mark.exhaustive) for each in ("sm_80", "sm_100", "sm_120"))],
)
@pytest.mark.parametrize("name", UNITS)
def test_compiles_without_spills(name, architecture):
    if architecture not in KNOWN:
        pytest.skip(f"the installed NVRTC {compiler.nvrtc_version()} does not know {architecture}")
    compiled = compiler.compile_unit(UNITS[name], architecture)
    assert compiled.cubin.startswith(b"\x7fELF")
    kernels = re.findall(r"Compiling entry function '(\w+)'", compiled.log)
    assert set(kernels) == set(host.kernels(UNITS[name]))
    assert all(kernel.encode() in compiled.cubin for kernel in kernels)
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", compiled.log)
    assert spills == [("0", "0", "0")] * len(kernels)
    shared = [int(size) for size in re.findall(r"(\d+) bytes smem", compiled.log)]
    assert max(shared, default=0) <= 48 * 1024


def disassembler():
    """nvdisasm of a CUDA toolkit, or the one that comes with triton."""
    found = importlib.util.find_spec("triton")
    beside = Path(found.origin).parent / "backends/nvidia/bin/nvdisasm" if found else Path()
    return shutil.which("nvdisasm") or (str(beside) if beside.is_file() else None)


@pytest.mark.skipif(disassembler() is None, reason="there is no nvdisasm")
@pytest.mark.parametrize("name", CHUNKED)
def test_the_products_are_those_of_tensor_cores(name, tmp_path):
    """Every product of the source in its precision, and none in another."""
    path = tmp_path / "unit.cubin"
    path.write_bytes(compiler.compile_unit(CHUNKED[name], "sm_80").cubin)
    code = subprocess.run([disassembler(), path], capture_output=True, text=True, check=True).stdout
    kinds = set(re.findall(r"\bHMMA\.\S+", code))
    assert kinds == {"HMMA.16816.F32.BF16" if "bfloat16" in name else "HMMA.1688.F32.TF32"}


def test_a_refused_source_shows_the_log(tmp_path):
    source = tmp_path / "wrong.cu"
    source.write_text("this is no C++;\n")
    with pytest.raises(CompileError, match=r"wrong\.cu for sm_90:\n.*error"):
        compiler.compile_unit(Unit(str(source), ()), "sm_90")


def test_second_use_comes_from_the_cache(monkeypatch):
    first = compiler.cubin(UNIT, "sm_90")
    monkeypatch.setattr(compiler, "compile_unit", lambda *_: pytest.fail("compiled again"))
    assert compiler.cubin(UNIT, "sm_90") == first
    assert list(compiler.cache_directory().iterdir()) == [compiler.cache_entry(UNIT, "sm_90")]


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_damaged_entry_is_replaced(damage):
    first = compiler.cubin(UNIT, "sm_90")
    entry = compiler.cache_entry(UNIT, "sm_90")
    content = bytearray(entry.read_bytes())
    content[-1] ^= 1
    entry.write_bytes(content if damage is None else damage)
    assert compiler.load_entry(entry) is None
    assert compiler.cubin(UNIT, "sm_90") == first
    assert compiler.load_entry(entry) == first


def test_the_entry_follows_source_headers_constants_and_architecture(tmp_path, monkeypatch):
    sources = tmp_path / "cuda"
    sources.mkdir()
    for path in compiler.SOURCES.iterdir():
        (sources / path.name).write_bytes(path.read_bytes())
    entries = [
        compiler.cache_entry(UNIT, "sm_90"),
        compiler.cache_entry(UNIT, "sm_80"),
        compiler.cache_entry(UNITS["cauchy-2"], "sm_90"),
    ]
    monkeypatch.setattr(compiler, "SOURCES", sources)
    assert compiler.cache_entry(UNIT, "sm_90") == entries[0]
    for name in (UNIT.source, "complex.cuh"):
        (sources / name).write_text((sources / name).read_text() + "\n")
        entries.append(compiler.cache_entry(UNIT, "sm_90"))
    monkeypatch.setattr(compiler, "nvrtc_version", lambda: (99, 0))
    entries.append(compiler.cache_entry(UNIT, "sm_90"))
    assert len(set(entries)) == len(entries)


def test_processes_at_once_share_one_cache():
    """Each compiles or reads; none sees half a file; one entry and no temporary file are left."""
    program = (
        "import hashlib, ssm_kernels.compiler as c; from ssm_kernels.ops import cauchy;"
        "print(hashlib.sha256(c.cubin(cauchy.unit(1), 'sm_90')).hexdigest())"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    digests = {process.communicate(timeout=120)[0].strip() for process in processes}
    assert all(process.returncode == 0 for process in processes)
    assert len(digests) == 1
    assert list(compiler.cache_directory().iterdir()) == [compiler.cache_entry(UNIT, "sm_90")]


def test_a_cache_that_cannot_be_written_warns_and_goes_on(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError("read-only")

    monkeypatch.setattr(compiler.tempfile, "mkstemp", refuse)
    with pytest.warns(UserWarning, match="set SSM_KERNELS_CACHE"):
        assert compiler.cubin(UNIT, "sm_90").startswith(b"\x7fELF")


def test_cache_directory(monkeypatch, tmp_path):
    assert compiler.cache_directory() == tmp_path / "cache"
    monkeypatch.delenv("SSM_KERNELS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiler.cache_directory() == tmp_path / "ssm-kernels"


@pytest.mark.parametrize(
    ("visible", "capability", "sentence"),
    [(False, (0, 0), "no CUDA device"), (True, (7, 0), "sm_70"), (True, (9, 0), "sm_90 at first use")],
)
def test_availability_is_a_sentence(monkeypatch, visible, capability, sentence):
    monkeypatch.setattr(runtime.torch.cuda, "is_available", lambda: visible)
    monkeypatch.setattr(runtime.torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(runtime.torch.cuda, "get_device_name", lambda: "a GPU")
    usable, reason = runtime.available.__wrapped__()
    assert usable == (capability == (9, 0))
    assert sentence in reason
    assert reason.endswith((".", ")."))
