"""The choice of a back end: preference, refusal with a sentence, and no silent replacement."""

import importlib.util
import subprocess
import sys

import pytest
import ssm_kernels
import torch
from ssm_core import ops
from ssm_core.backends import (
    OPERATORS,
    Backend,
    BackendError,
    Implementation,
    Operator,
    kernels_missing,
    kernels_refusal,
    tensor_cores_refusal,
    use_backend,
)


@pytest.fixture
def operator():
    def refuse_odd(x):
        return "x is odd." if x % 2 else None

    yield Operator(
        "test-operator",
        {
            Backend.CUDA: Implementation(lambda x: "cuda", refuse_odd),
            Backend.TORCH: Implementation(lambda x: "torch"),
            Backend.NAIVE: Implementation(lambda x: "naive"),
        },
    )
    del OPERATORS["test-operator"]


def test_auto_takes_the_first_that_does_not_refuse(operator):
    assert operator(Backend.AUTO, 2) == "cuda"
    assert operator(Backend.AUTO, 1) == "torch"


def test_a_named_back_end_runs_or_raises(operator):
    assert operator("naive", 2) == "naive"
    with pytest.raises(BackendError, match=r"test-operator cannot run on the back end 'cuda': x is odd\."):
        operator("cuda", 1)
    with pytest.raises(BackendError, match="has no such implementation"):
        operator("keops", 1)


def test_explain_gives_a_sentence_for_every_other_back_end(operator):
    choice = operator.explain(1)
    assert choice.used is Backend.TORCH
    assert choice.others == {
        Backend.NAIVE: "torch is preferred.",
        Backend.TENSOR_CORES: "test-operator has no such implementation.",
        Backend.KEOPS: "test-operator has no such implementation.",
        Backend.CUDA: "x is odd.",
    }
    assert operator.explain(2, backend="naive").used is Backend.NAIVE


def test_use_backend_holds_inside_its_block_and_yields_to_the_argument(operator):
    with use_backend("naive"):
        assert operator(Backend.AUTO, 2) == "naive"
        assert operator("torch", 2) == "torch"
        with use_backend("cuda", "test-operator"):
            assert operator(Backend.AUTO, 2) == "cuda"
        with use_backend("torch", "cauchy"):
            assert operator(Backend.AUTO, 2) == "naive"
    assert operator(Backend.AUTO, 2) == "cuda"


def test_use_backend_is_undone_by_an_error(operator):
    with pytest.raises(RuntimeError, match="inside"), use_backend("naive"):
        raise RuntimeError("inside")
    assert operator(Backend.AUTO, 2) == "cuda"


def test_unknown_names_are_refused(operator):
    with pytest.raises(ValueError, match=r"no operator 'cauchi'; there are cauchy, "), use_backend("naive", "cauchi"):
        pass
    with pytest.raises(ValueError, match="There is no back end 'tpu'; there are auto, naive, "):
        operator("tpu", 1)


def test_every_operator_has_its_oracle_and_its_fast_form():
    assert set(OPERATORS) == set(ops.__all__)
    for each in OPERATORS.values():
        assert {Backend.NAIVE, Backend.TORCH} <= set(each.implementations)


def test_the_forced_back_end_is_seen_by_compiled_code():
    c, a = torch.randn(1, 2, 3, 2), -torch.rand(2, 3, 2)
    seen = []

    def run(c, a):
        return ops.vandermonde(c, a, 9)

    compiled = torch.compile(run, fullgraph=True, backend=lambda graph, _: seen.append(str(graph)) or graph)
    compiled(c, a)
    with use_backend("naive"):
        compiled(c, a)
    assert len(seen) == 2
    assert "einsum" in seen[1]
    assert "einsum" not in seen[0]


def on(device, dtype=torch.float32):
    """A tensor that says it is on a device which this machine need not have."""
    elsewhere = type("Elsewhere", (torch.Tensor,), {"device": torch.device(device)})
    return torch.ones(1, 1, 2, dtype=dtype).as_subclass(elsewhere)


def test_the_cuda_back_end_refuses_with_a_sentence(monkeypatch):
    c, a, y = torch.ones(1, 2, 3, 2), -torch.ones(2, 3, 2), torch.ones(4)
    with pytest.raises(BackendError, match=r"vandermonde cannot .* 'cuda': it runs on CUDA devices, .* on cpu\."):
        ops.vandermonde(c, a, 5, backend="cuda")
    with pytest.raises(BackendError, match=r"cauchy cannot .* 'cuda': it runs on CUDA devices, .* on cpu\."):
        ops.cauchy(c, a, y, backend="cuda")
    with pytest.raises(BackendError, match="up to 2\\^24"):
        ops.vandermonde(c, a, 2**24 + 1, backend="cuda")
    assert kernels_refusal(on("cuda", torch.float64)) == "it computes in float32, and a tensor is float64."
    monkeypatch.setattr(ssm_kernels, "available", lambda: (False, "There is no driver."))
    assert kernels_refusal(on("cuda")) == "There is no driver."
    monkeypatch.setattr(ssm_kernels, "available", lambda: (True, "Kernels are compiled."))
    assert kernels_refusal(on("cuda")) is None


def test_a_reserved_back_end_runs_only_where_it_is_named(operator):
    operator.implementations = {Backend.KEOPS: Implementation(lambda x: "keops", None, "Nobody timed it.")} | (
        operator.implementations
    )
    assert operator(Backend.AUTO, 2) == "cuda"
    assert operator.explain(2).others[Backend.KEOPS] == "Nobody timed it."
    assert operator.explain(1).others[Backend.CUDA] == "x is odd."
    assert operator("keops", 2) == "keops"
    with use_backend("keops", "test-operator"):
        assert operator(Backend.AUTO, 2) == "keops"


def test_tensor_cores_take_bfloat16_signals_and_new_devices(monkeypatch):
    monkeypatch.setattr(ssm_kernels, "available", lambda: (True, "Kernels are compiled."))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    half, single = on("cuda", torch.bfloat16), on("cuda")
    assert tensor_cores_refusal(half, single) is None
    assert tensor_cores_refusal(single, single) is None
    assert tensor_cores_refusal(on("cuda", torch.float16), single) == (
        "it computes in float32 or bfloat16, and a tensor is float16."
    )
    assert tensor_cores_refusal(half, half) == "it computes in float32, and a tensor is bfloat16."
    choice = OPERATORS["diagonal_scan"].explain(*[single] * 5)
    assert choice.used is Backend.CUDA
    assert "no GPU has timed it" in choice.others[Backend.TENSOR_CORES]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert "not sm_75" in tensor_cores_refusal(half, single)
    monkeypatch.setattr(ssm_kernels, "available", lambda: (False, "There is no driver."))
    assert tensor_cores_refusal(half, single) == "There is no driver."


def test_packages_that_are_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "install ssm-core[cuda]" in kernels_refusal(on("cuda"))
    with pytest.raises(BackendError, match=r"install ssm-core\[keops\]"):
        ops.cauchy(torch.ones(1, 2, 3, 2), -torch.ones(2, 3, 2), torch.ones(4), backend="keops")


def test_auto_uses_the_kernels_on_their_device_and_never_keops(monkeypatch):
    monkeypatch.setattr(ssm_kernels, "available", lambda: (True, "Kernels are compiled."))
    for name in ("vandermonde", "cauchy"):
        last = 4 if name == "vandermonde" else on("cuda")
        choice = OPERATORS[name].explain(on("cuda"), on("cuda"), last)
        assert choice.used is Backend.CUDA
        assert choice.others[Backend.KEOPS] == "cuda is preferred."
        assert OPERATORS[name].explain(on("mps"), on("mps"), on("mps") if name == "cauchy" else 4).used is Backend.NAIVE


@pytest.mark.parametrize("name", ["vandermonde", "vandermonde_transpose", "cauchy", "diagonal_scan"])
def test_forms_that_need_float64_refuse_a_device_without(name):
    choice = OPERATORS[name].explain(
        *[on("mps")] * 2, *[4] * (name == "vandermonde"), *[on("mps")] * (name == "cauchy")
    )
    assert choice.used is Backend.NAIVE
    assert "float64, which the device does not have" in choice.others[Backend.TORCH]


def test_compiled_code_takes_what_is_missing_for_a_constant():
    def run(x):
        return x + 1 if kernels_missing() else x - 1

    x = torch.zeros(1)
    assert torch.equal(torch.compile(run, fullgraph=True, backend="eager")(x), run(x))


def test_import_leaves_keops_and_the_compiler_alone():
    """KeOps prints as it is imported, and looks for compilers; torch's compiler takes seconds."""
    code = "import sys, ssm_core.ops; assert not {'pykeops', 'ssm_kernels', 'torch._dynamo'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
