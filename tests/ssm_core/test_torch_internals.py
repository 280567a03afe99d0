"""The private parts of torch that ssm-core uses are there, and do what is expected of them."""

import torch
from ssm_core.torch_internals import constant_when_compiled


def test_a_function_is_marked_as_torch_marks_it() -> None:
    ours, theirs = constant_when_compiled(lambda: 1), torch.compiler.assume_constant_result(lambda: 1)
    marked = {key: value for key, value in vars(ours).items() if vars(theirs).get(key) == value}
    assert marked == vars(ours) != {}, f"torch {torch.__version__} marks constants with {vars(theirs)}"


def test_a_marked_function_is_called_while_tracing_alone() -> None:
    calls = []

    @constant_when_compiled
    def offset() -> int:
        calls.append(1)
        return 2

    compiled = torch.compile(lambda x: x + offset(), backend="eager", fullgraph=True)
    for _ in range(3):
        assert compiled(torch.ones(1)).item() == 3
    assert len(calls) == 1, f"torch {torch.__version__} calls the function {len(calls)} times"
