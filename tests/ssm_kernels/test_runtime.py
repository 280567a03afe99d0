"""The launch itself: what reaches the driver, on which stream, from which thread."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from ssm_kernels import available, compiler, host, vandermonde

try:
    COMPILES = "sm_90" in compiler.supported_architectures()
except (ImportError, RuntimeError):
    COMPILES = False


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What a stand-in for the driver saw of all operators and their gradients (see driver_stand_in.py)."""
    if host.compiler() is None or not COMPILES:
        pytest.skip("the stand-in needs a C++ compiler and an NVRTC that knows sm_90")
    program = Path(__file__).with_name("driver_stand_in.py")
    folder = tmp_path_factory.mktemp("driver")
    result = subprocess.run([sys.executable, program, folder], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_arguments_arrive_as_the_kernels_take_them(seen):
    """Results are those of the host build called directly, bit for bit."""
    assert seen["same"]["first"]


def test_launches_are_on_the_current_stream(seen):
    kernels = {launch.pop("kernel") for launch in seen["launches"]}
    assert len(kernels) >= 12
    assert {tuple(launch.items()) for launch in seen["launches"]} == {
        (("block", compiler.THREADS), ("shared", 0), ("stream", seen["stream"]))
    }


def test_a_launch_is_all_that_a_second_use_asks_of_the_driver(seen):
    """Nothing that waits, allocates or loads: a graph can capture it."""
    assert seen["calls"]["second"] == ["cuCtxGetCurrent", "cuLaunchKernel"]
    assert "cuModuleLoadData" in seen["calls"]["first"]


def test_a_thread_without_a_context_gets_that_of_torch(seen):
    """Backward passes run in threads of autograd, where the launch can be the first that touches the device."""
    assert seen["same"]["other_thread"]
    assert set(seen["calls"]["other_thread"]) == {*seen["calls"]["second"], "cuCtxSetCurrent"}


def test_a_refusal_of_the_driver_is_a_sentence(seen):
    assert seen["error"] == "CUDA driver: cuModuleGetFunction failed with CUDA_ERROR_NOT_FOUND."


@pytest.mark.skipif(not available()[0], reason=available()[1])
def test_a_new_thread_on_a_gpu():
    inputs = torch.randn(1, 2, 3, 2, device="cuda"), -torch.rand(2, 3, 2, device="cuda")
    expected = vandermonde(*inputs, 33)
    results = []
    thread = threading.Thread(target=lambda: results.append(vandermonde(*inputs, 33)))
    thread.start()
    thread.join()
    assert torch.equal(results[0], expected)
