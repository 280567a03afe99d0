"""Record a step as a list of tensor calls, and replay it without new memory, for code that generates samples.

Most of the time of a step of a small model is overhead: modules, views, allocations. So the step runs once under a
recorder. The recorder stores each call that computes something from the sample or the state, and allocates memory for
its result. A replayed step makes the same calls again, and each call writes into its memory. Views, and results that
depend only on the parameters, already exist.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, UntypedStorage

from ssm_models.contract import State, Stepper
from ssm_models.torch_internals import (
    StorageWeakRef,
    TorchDispatchMode,
    gelu,
    glu,
    silu,
    storage_key,
    tree_flatten,
    tree_leaves,
    tree_map_only,
    tree_unflatten,
    writes_into_inputs,
)

aten = torch.ops.aten
Call = Callable[[], object]
Inputs = tuple[Tensor, State]
#: Constant matrices and their copies in another layout, by address and shape.
Matrices = dict[tuple, tuple[Tensor, Tensor]]
#: Smallest number of matrix elements for each core.
_PART = 2**14


class Replay:
    """A stepper that repeats recorded calls. It computes the same function as the original stepper, several times as
    fast.

    ``y, state = replay(u, state)`` works like the original stepper, with two differences: the next call overwrites both
    results, so clone what you keep; and there are no gradients. The state may also come from another source; it is then
    copied into the memory of the recording. A recording contains results that depend on the parameters, so make a new
    replay after an update of the parameters. On a GPU a step is one CUDA graph.

    The first call with inputs of new shapes makes a recording. The shapes of the state of SaShiMi change from step to
    step, so SaShiMi has several recordings.

    Args:
        step: the stepper of a model in evaluation mode; its results must depend only on its arguments.
    """

    def __init__(self, step: Stepper) -> None:
        self._step = step
        self._places: dict[tuple, Tensor] = {}
        self._memory: list[UntypedStorage] = []  # shared by all recordings, because only one of them runs at a time
        self._matrices: Matrices = {}
        self._recordings: dict[tuple, _Recording] = {}
        self._last: _Recording | None = None

    def __call__(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Run one step.

        Raises:
            ValueError: the step does something that cannot be repeated.
        """
        last = self._last
        with torch.inference_mode():
            # Put inputs in place before recording, which may overwrite the last output; u may be that output.
            if last is not None and state is last.state and u.shape == last.u.shape and u.dtype == last.u.dtype:
                last.u.copy_(u)
                now = last.following = last.following or self._recording((last.u, state))
            else:
                inputs = self._place((u, state))
                for place, value in zip(_tensors(inputs), _tensors((u, state)), strict=True):
                    place.copy_(value)
                now = self._recording(inputs)
            now.run()
        self._last = now
        return now.y, now.state

    @torch.inference_mode(False)
    def _place(self, inputs: Inputs) -> Inputs:
        """Return the tensors from which recordings read inputs of these shapes. They are adjacent in memory."""
        leaves, structure = tree_flatten(inputs)
        for leaf in leaves:
            if not isinstance(leaf, Tensor | None):
                raise ValueError(
                    f"A state that holds {leaf!r} beside its tensors cannot be replayed, as a recording would repeat "
                    "that very value; use the stepper itself."
                )
        keys = [None if each is None else (i, each.shape, each.dtype) for i, each in enumerate(leaves)]
        lacking = [key for key in keys if key is not None and key not in self._places]
        for dtype in {dtype for _, _, dtype in lacking}:
            alike = [key for key in lacking if key[2] == dtype]
            sizes = [shape.numel() for _, shape, _ in alike]
            slab = torch.zeros(sum(sizes), dtype=dtype, device=inputs[0].device)
            self._places |= {key: each.view(key[1]) for key, each in zip(alike, slab.split(sizes), strict=True)}
        return tree_unflatten([None if key is None else self._places[key] for key in keys], structure)

    def _recording(self, inputs: Inputs) -> "_Recording":
        """Return the recording that reads these inputs, which are tensors from :meth:`_place`."""
        leaves, structure = tree_flatten(inputs)
        key = structure, *map(id, leaves)
        if key not in self._recordings:
            self._recordings[key] = self._record(*inputs)
        return self._recordings[key]

    @torch.inference_mode(False)
    @torch.no_grad()
    def _record(self, u: Tensor, state: State) -> "_Recording":
        recorder = _Recorder(_tensors((u, state)), self._memory, self._matrices)
        with recorder:
            y, after = self._step(u, state)
        _, place = self._place((u, after))
        pairs = zip(_tensors(place), _tensors(after), strict=True)
        moves = [(to, recorder.outlasting(value)) for to, value in pairs if not value.is_set_to(to)]
        y = recorder.outlasting(y)
        return _Recording(u, recorder.calls, _copies(moves), y, place)


class _Recording:
    """A recorded step for inputs of fixed shapes.

    Attributes:
        u: the memory from which it reads the sample.
        y: the memory to which it writes the output.
        state: the memory to which it writes the state.
        following: the recording for that state, once it is known.

    Args:
        calls: calls that compute the output and the next state.
        copies: calls that copy the next state to its memory.
    """

    def __init__(self, u: Tensor, calls: list[Call], copies: list[Call], y: Tensor, state: State) -> None:
        self.u, self.y, self.state = u, y, state
        self.following: _Recording | None = None
        self._calls = calls + copies
        self._graph = _graph(calls, copies, u.device) if u.is_cuda else None

    def run(self) -> None:
        if self._graph is not None:
            self._graph.replay()
            return
        for call in self._calls:
            call()


def _graph(calls: list[Call], copies: list[Call], device: torch.device) -> torch.cuda.CUDAGraph:
    """Return a recorded step as a CUDA graph on ``device``, which can differ from the current device."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        # Libraries initialise themselves at their first call, which must not be part of the graph.
        with torch.cuda.stream(side):
            for call in calls:
                call()
        torch.cuda.current_stream().wait_stream(side)
        # Without this argument, torch would use a stream on the device of the first capture.
        with torch.cuda.graph(graph, stream=side):
            for call in calls + copies:
                call()
    return graph


class _Recorder(TorchDispatchMode):
    """Run a step unchanged, and record its calls with lasting memory instead of the step's own tensors.

    The memory of a tensor is used again as soon as the step has released the tensor.

    Attributes:
        calls: the calls so far.

    Args:
        inputs: the tensors that differ from step to step.
        memory: the storages that may be used; new ones are added.
        matrices: the matrices that are stored in another layout; new ones are added.
    """

    def __init__(self, inputs: Iterable[Tensor], memory: list[UntypedStorage], matrices: Matrices) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._memory = memory
        self._matrices = matrices
        self._free = list(memory)
        self._inputs = {storage_key(each): each.untyped_storage() for each in inputs}
        self._results: dict[int, tuple[StorageWeakRef, UntypedStorage]] = {}
        self._outlasting: list[Tensor] = []

    def outlasting(self, value: Tensor) -> Tensor:
        """Return a result in memory that the inputs do not use, because the next state overwrites the inputs."""
        if storage_key(value) in self._inputs:
            with self:
                value = value.clone()
        self._outlasting.append(value)
        return self._lasting(value)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is aten.stack.default and len(args) == 1 and (joined := _joined(args[0])) is not None:
            return joined
        result = func(*args, **kwargs)
        read = {storage_key(each) for each in _tensors((args, kwargs))}
        random = torch.Tag.nondeterministic_seeded in func.tags
        if not random and read.isdisjoint(self._inputs) and read.isdisjoint(self._results):
            return result
        given = _tensors(result)
        if writes_into_inputs(func) or not isinstance(result, Tensor | tuple | list):
            what = "writes into a tensor" if writes_into_inputs(func) else "reads a number out of a tensor"
            raise ValueError(f"A step that {what} ({func}) cannot be replayed. Is the model in evaluation mode?")
        if given and read.isdisjoint(map(storage_key, given)):  # the call is not a view
            call_args, call_kwargs = tree_map_only(Tensor, self._lasting, (args, kwargs))
            for each in given:
                self._remember(each)
            out = tree_map_only(Tensor, self._lasting, result)
            call = _FORMS[func](*call_args, **call_kwargs, out=out) if func in _FORMS else None
            self.calls.append(call or partial(_into, _tensors(out), func, *call_args, **call_kwargs))
        return result

    def _remember(self, value: Tensor) -> None:
        """Assign memory to a result."""
        for key, (reference, storage) in list(self._results.items()):
            if reference.expired():
                self._free.append(storage)
                del self._results[key]
        size = value.untyped_storage().nbytes()
        fitting = [each for each in self._free if size <= each.nbytes() <= 2 * size]
        if fitting:
            storage = min(fitting, key=UntypedStorage.nbytes)
            self._free = [each for each in self._free if each is not storage]
        else:
            storage = UntypedStorage(size, device=value.device)
            self._memory.append(storage)
        self._results[storage_key(value)] = StorageWeakRef(value.untyped_storage()), storage

    def _lasting(self, value: Tensor) -> Tensor:
        """Return the tensor in lasting memory that replaces a tensor of the step; for a constant, :meth:`_laid_out`."""
        key = storage_key(value)
        if key not in self._inputs and key not in self._results:
            return self._laid_out(value.detach())
        storage = self._inputs[key] if key in self._inputs else self._results[key][1]
        empty = torch.empty(0, dtype=value.dtype, device=value.device)
        return empty.set_(storage, value.storage_offset(), value.shape, value.stride())

    def _laid_out(self, value: Tensor) -> Tensor:
        """Return a constant. The transpose of a tall matrix is copied, because contiguous rows are faster to read."""
        if value.ndim != 2 or value.is_contiguous() or not value.mT.is_contiguous() or value.shape[0] >= value.shape[1]:
            return value
        key = value.data_ptr(), value.shape
        if key not in self._matrices:
            self._matrices[key] = value, value.contiguous()
        return self._matrices[key][1]


def _copies(moves: Iterable[tuple[Tensor, Tensor]]) -> list[Call]:
    """Return calls that copy the second of each pair into the first; one call copies adjacent tensors."""
    runs: list[list[tuple[Tensor, Tensor]]] = []
    for move in moves:
        if runs and all(_joined(pair) is not None for pair in zip(runs[-1][-1], move, strict=True)):
            runs[-1].append(move)
        else:
            runs.append([move])
    calls: list[Call] = []
    for run in runs:
        to, value = run[0] if len(run) == 1 else map(_joined, zip(*run, strict=True))
        assert to is not None
        assert value is not None
        calls.append(partial(to.copy_, value))
    return calls


def _joined(tensors: Sequence[Tensor]) -> Tensor | None:
    """Return the stack of tensors as a view if they are adjacent in memory; None otherwise."""
    first = tensors[0]
    for i, each in enumerate(tensors):
        offset = first.storage_offset() + i * first.numel()
        if not (each.is_contiguous() and each.shape == first.shape and each.dtype == first.dtype):
            return None
        if storage_key(each) != storage_key(first) or each.storage_offset() != offset:
            return None
    return first.as_strided((len(tensors), *first.shape), (first.numel(), *first.stride()))


def _tensors(tree: Any) -> list[Tensor]:
    return [each for each in tree_leaves(tree) if isinstance(each, Tensor)]


def _into(out: list[Tensor], function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Call any function, and copy its results to ``out``."""
    for to, value in zip(out, _tensors(function(*args, **kwargs)), strict=True):
        to.copy_(value)


def _plain(function: Callable[..., Any]) -> Callable[..., Call]:
    """Return a form that calls a torch function with ``out``; this costs less than a call of its operator."""
    return lambda *args, out, **kwargs: partial(function, *args, out=out, **kwargs)


def _addmm(bias: Tensor, x: Tensor, matrix: Tensor, *, out: Tensor, **kwargs: Any) -> Call:
    count = matrix.shape[1]
    most = min(torch.get_num_threads(), matrix.numel() // _PART)
    parts = max((each for each in range(1, most + 1) if count % each == 0), default=1)
    if parts == 1 or len(x) > 1 or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return partial(torch.addmm, bias, x, matrix, out=out, **kwargs)

    def split(each: Tensor) -> Tensor:
        return each.unflatten(-1, (parts, -1)).transpose(0, -2)

    # For one sample, the time is spent on reading the matrix from memory. If the matrix is split into a batch of parts,
    # all cores read it at the same time, and each core can keep its part in its cache.
    bias, out = (split(each.expand(1, count)) for each in (bias, out))
    return partial(torch.baddbmm, bias, x.expand(parts, *x.shape), split(matrix), out=out, **kwargs)


def _gelu(x: Tensor, *, approximate: str = "none", out: Tensor) -> Call:
    if x.device.type == "cpu" and x.is_contiguous() and x.numel() % 2 == 0:
        # For a contiguous tensor, torch calls oneDNN, whose setup takes ten times as long as the arithmetic.
        x, out = x.view(2, -1).mT, out.view(2, -1).mT
    return partial(gelu, x, approximate=approximate, out=out)


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float, *, out: tuple[Tensor, ...]
) -> Call | None:
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or not x.is_contiguous():
        return None
    # torch has no layer norm that writes into given memory. A batch norm with one channel for each row is equivalent.
    y, mean, per_deviation = out
    rows = x.view(1, -1, math.prod(shape))
    results = y.view(rows.shape), mean.view(-1), per_deviation.view(-1)
    scales = None
    if weight is not None and bias is None and weight.stride() == (0,):
        # If the scale is one number for all features, the batch norm can apply it as one number for each row.
        scales, weight = weight[:1].repeat(rows.shape[1]), None
    normalize = partial(torch.native_batch_norm, rows, scales, None, None, None, True, 0.0, eps, out=results)
    if weight is None:
        return normalize
    scale = partial(torch.mul, y, weight, out=y) if bias is None else partial(torch.addcmul, bias, y, weight, out=y)
    return lambda: (normalize(), scale())


def _copy(x: Tensor, *_: Any, out: Tensor, **__: Any) -> Call:
    """Return a copy call; ``out`` already has the dtype and layout that the options ask for."""
    return partial(out.copy_, x)


def _embedding(weight: Tensor, index: Tensor, *_: Any, out: Tensor) -> Call | None:
    return partial(torch.index_select, weight, 0, index, out=out) if index.ndim == 1 else None


#: The form of an operator returns a call that writes into given memory, or None for arguments that it does not support.
#: In that case, and for all other operators, the results are copied.
_FORMS: dict[Any, Callable[..., Call | None]] = {
    aten._to_copy.default: _copy,
    aten.add.Tensor: _plain(torch.add),
    aten.addcmul.default: _plain(torch.addcmul),
    aten.addmm.default: _addmm,
    aten.cat.default: _plain(torch.cat),
    aten.clone.default: _copy,
    aten.div.Tensor: _plain(torch.div),
    aten.embedding.default: _embedding,
    aten.gelu.default: _gelu,
    aten.glu.default: _plain(glu),
    aten.mm.default: _plain(torch.mm),
    aten.mul.Tensor: _plain(torch.mul),
    aten.native_layer_norm.default: _layer_norm,
    aten.sigmoid.default: _plain(torch.sigmoid),
    aten.silu.default: _plain(silu),
    aten.stack.default: _plain(torch.stack),
    aten.sub.Tensor: _plain(torch.sub),
    aten.sum.dim_IntList: _plain(torch.sum),
    aten.tanh.default: _plain(torch.tanh),
}
