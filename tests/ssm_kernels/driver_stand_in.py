"""Launches as on a GPU, with a stand-in for the driver that runs the host build; prints what the driver saw as JSON.

A program, not a test, as a process has one driver. ``cuda.bindings`` finds the stand-in as it finds the real library
and packs its arguments for it; machine code for sm_90 goes in, and kernels are looked up there by name. Like the real
one, it refuses a thread that has no context. Only torch's side is feigned: device, stream and architecture.
"""

import ctypes
import json
import subprocess
import sys
import threading
from contextlib import nullcontext
from ctypes import POINTER, c_char_p, c_int, c_uint, c_void_p
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from ssm_kernels import cauchy, chunked_scan, compiler, diagonal_scan, host, runtime, vandermonde
from ssm_kernels.ops import common

LIBRARY = r"""
#include <map>
#include <string>
static std::map<std::string, void *> functions;
extern "C" void provide(const char *name, void *function) { functions[name] = function; }
extern "C" int cuGetProcAddress_v2(const char *name, void **function, int, unsigned long long, int *) {
  const auto found = functions.find(name);
  *function = found == functions.end() ? nullptr : found->second;
  return *function ? 0 : 500;
}
"""
SUCCESS, INVALID_CONTEXT, NOT_FOUND = 0, 201, 500
STREAM, CONTEXT, DEVICE = 0x5EED, 0xC0DE, 0

of_thread = threading.local()
units, kernels, calls, launches = [], [], [], []


def call(*types, needs_context=True):
    """Makes a Python function one of the driver: its name, and what C calls."""

    def wrap(function):
        def called(*arguments):
            calls.append(function.__name__)
            if needs_context and not getattr(of_thread, "context", None):
                return INVALID_CONTEXT
            return function(*arguments)

        return function.__name__.encode(), ctypes.CFUNCTYPE(c_int, *types)(called)

    return wrap


@call(POINTER(c_void_p), needs_context=False)
def cuCtxGetCurrent(context):
    context[0] = getattr(of_thread, "context", None)
    return SUCCESS


@call(c_void_p, needs_context=False)
def cuCtxSetCurrent(context):
    of_thread.context = context
    return SUCCESS


@call(POINTER(c_int), c_int, needs_context=False)
def cuDeviceGet(device, ordinal):
    device[0] = ordinal
    return SUCCESS


@call(POINTER(c_void_p), c_int, needs_context=False)
def cuDevicePrimaryCtxRetain(context, device):
    context[0] = CONTEXT + device
    return SUCCESS


@call(POINTER(c_void_p), c_void_p)
def cuModuleLoadData(module, image):
    _, code = units[-1]
    module[0] = len(units)
    return SUCCESS if ctypes.string_at(image, len(code)) == code else NOT_FOUND


@call(POINTER(c_void_p), c_void_p, c_char_p)
def cuModuleGetFunction(function, module, name):
    unit, code = units[module - 1]
    if b".text." + name + b"\0" not in code:
        return NOT_FOUND
    kernels.append((unit, name.decode()))
    function[0] = len(kernels)
    return SUCCESS


@call(c_void_p, *(c_uint,) * 7, c_void_p, POINTER(c_void_p), c_void_p)
def cuLaunchKernel(function, x, y, z, width, height, depth, shared, stream, parameters, extra):
    unit, name = kernels[function - 1]
    launches.append({"kernel": name, "block": width * height * depth, "shared": shared, "stream": stream})
    getattr(host.build(unit), f"run_{name}")(parameters, (c_uint * 3)(x, y, z), False)
    return SUCCESS


FUNCTIONS = (
    cuCtxGetCurrent,
    cuCtxSetCurrent,
    cuDeviceGet,
    cuDevicePrimaryCtxRetain,
    cuModuleLoadData,
    cuModuleGetFunction,
    cuLaunchKernel,
)


def connect(folder):
    """Puts the stand-in where ``cuda.bindings`` looks for the driver, and a device and a stream where launches look."""
    source, built = folder / "driver.cpp", folder / "driver.so"
    source.write_text(LIBRARY)
    options = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([host.compiler(), *options, source, "-o", built], check=True)
    library = ctypes.CDLL(str(built))
    for name, function in FUNCTIONS:
        library.provide(name, function)

    def cubin(unit, architecture):
        code = compiler.cubin(unit, architecture)
        units.append((unit, code))
        return code

    runtime.cubin = cubin
    torch.cuda.device = lambda device: nullcontext()
    torch.cuda.current_device = lambda: DEVICE
    torch.cuda.current_stream = lambda: SimpleNamespace(cuda_stream=STREAM)
    torch.cuda.get_device_capability = lambda device: (9, 0)


def run_on_cpu(launch):
    """Gives the operators CPU kernels that are launched so."""
    for registered, implementation in common.IMPLEMENTATIONS.items():
        registered.register_kernel("cpu", partial(implementation, launch))


def step():
    """All operators and their gradients, time cut into segments: outputs and gradients."""
    torch.manual_seed(0)
    c, b = torch.randn(2, 3, 5, 2), torch.randn(3, 5, 2)
    a = torch.stack([-torch.rand(3, 5), 10 * torch.rand(3, 5)], -1)
    u, x0, y = torch.randn(2, 528, 3), torch.randn(2, 3, 5, 2), torch.linspace(0, 20, 37)
    leaves = [each.requires_grad_() for each in (c, a, b, u, x0)]
    scan = u, x0, torch.view_as_real(torch.view_as_complex(a).exp()), b, c
    outputs = vandermonde(c, a, 1025), cauchy(c, a, y), *diagonal_scan(*scan), *chunked_scan(*scan)
    gradients = torch.autograd.grad(sum(each.square().sum() for each in outputs), leaves)
    return [*(each.detach() for each in outputs), *gradients]


def in_new_thread(function):
    """Its result, from a thread without a context; an error is raised again."""
    result = []

    def collect():
        try:
            result.append(function())
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=collect)
    thread.start()
    thread.join()
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


def main(folder):
    connect(folder)
    run_on_cpu(host.launch)
    expected = step()
    run_on_cpu(runtime.launch)
    same, called = {}, {}
    for name, run in {"first": step, "second": step, "other_thread": partial(in_new_thread, step)}.items():
        calls.clear()
        same[name] = all(torch.equal(one, two) for one, two in zip(expected, run(), strict=True))
        called[name] = sorted(set(calls))
    seen = {"same": same, "calls": called, "launches": launches, "stream": STREAM}
    try:
        runtime.launch(units[0][0], "no_such_kernel", (1, 1, 1), (torch.empty(1),))
    except RuntimeError as error:
        seen["error"] = str(error)
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
