"""The choice of a back end: preference, refusal with a sentence, and no silent replacement."""

import pytest
import torch
from ssm_core import ops
from ssm_core.backends import OPERATORS, Backend, BackendError, Implementation, Operator, use_backend


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
    with pytest.raises(ValueError, match="'tpu' is not a valid Backend"):
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
