"""The ranks that run one cell: a single process, processes spawned here, or processes of srun. Imports torch."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import distributed

from ssm_bench.config import Runtime
from ssm_bench.errors import RunError
from ssm_bench.status import sentence
from ssm_bench.training.preemption import SIGNALS, notice

if TYPE_CHECKING:
    from lightning.pytorch.plugins.environments import ClusterEnvironment

T = TypeVar("T")


class RankEndedError(RunError):
    """A spawned rank ended without an error of its own, for example by a signal."""


#: Timeout of a collective operation. In the first one, the ranks wait while another rank prepares the data.
TIMEOUT = timedelta(hours=12)
LOCALHOST = "127.0.0.1"
#: gloo sends objects between CPUs; NCCL reduces gradients between GPUs.
BACKENDS = "cpu:gloo,cuda:nccl"
#: After the first error of a spawned rank, the others have this long to write their state and to end.
END_SECONDS = 30.0
#: Key of the store under which the first rank that fails writes its rank and its error.
FAILURE = "ssm-bench/failure"

#: The store through which the ranks of this process's group met; None in a process without a group.
_store: distributed.Store | None = None


def join_process_group(runtime: Runtime) -> bool:
    """Join the process group if srun started the ranks, and return whether this process is one of the ranks.

    Return False if this process must still spawn the ranks.

    Raises:
        RunError: srun started another number of processes than the runtime asks for, or the runtime asks for several
            nodes and there is no srun.
    """
    if runtime.processes == 1 or distributed.is_initialized():
        return True
    started = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if started == 1:
        if runtime.nodes > 1:
            raise RunError(f"nodes={runtime.nodes} needs srun to start one process a device on each node.")
        return False
    if started != runtime.processes:
        raise RunError(
            f"srun started {started} processes, but nodes={runtime.nodes} of devices={runtime.devices} "
            f"are {runtime.processes}."
        )
    slurm = cluster_environment(runtime)
    number = slurm.global_rank()
    store = distributed.TCPStore(
        slurm.main_address, slurm.main_port, runtime.processes, is_master=number == 0, timeout=TIMEOUT
    )
    _init_process_group(runtime, store, number)
    return True


def _init_process_group(runtime: Runtime, store: distributed.Store, number: int) -> None:
    global _store
    backends = BACKENDS if on_gpus(runtime) else "gloo"
    distributed.init_process_group(backends, store=store, rank=number, world_size=runtime.processes, timeout=TIMEOUT)
    _store = store


def cluster_environment(runtime: Runtime) -> ClusterEnvironment:
    """Return the object that tells Lightning the rank of this process."""
    from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment

    if runtime.processes > 1 and "LOCAL_RANK" not in os.environ:
        return SLURMEnvironment(auto_requeue=False)
    return LightningEnvironment()


def on_gpus(runtime: Runtime) -> bool:
    """Return whether the ranks of a run compute on NVIDIA GPUs."""
    return runtime.accelerator != "cpu" and torch.cuda.is_available()


def rank() -> int:
    """Return the rank of this process, 0 if it runs its cell alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def is_rank_zero() -> bool:
    """Return whether this process has rank 0."""
    return rank() == 0


def call_on_rank_zero(function: Callable[[], T]) -> T:
    """Call ``function`` on rank 0 and broadcast its result, or its exception, to all ranks."""
    if not distributed.is_initialized():
        return function()
    outcome: list[Any] = [None, None]
    if is_rank_zero():
        try:
            outcome[0] = function()
        except Exception as error:
            outcome[1] = error
    distributed.broadcast_object_list(outcome, device=torch.device("cpu"))
    value, failure = outcome
    if failure is not None:
        raise failure
    return value


def all_reduce_sum(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over all ranks, on each of them; ``values`` does not change."""
    if distributed.is_initialized():
        values = values.clone()
        distributed.all_reduce(values)
    return values


def all_reduce_max(value: int) -> int:
    """Return the maximum of an integer over all ranks, on each of them."""
    if not distributed.is_initialized():
        return value
    values = torch.tensor(value)
    distributed.all_reduce(values, distributed.ReduceOp.MAX)
    return int(values)


def all_gather(value: T) -> list[T]:
    """Return the values of all ranks in the order of the ranks, on each of them."""
    if not distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


@contextmanager
def report_first_failure() -> Iterator[None]:
    """Replace the errors that follow another rank's failure by a sentence about that failure.

    A rank that fails closes its connections. The other ranks then fail in their next collective operation with an error
    of the network, which does not say why. Therefore the first rank that fails writes its error to the store.

    Raises:
        RunError: another rank failed first; the sentence names that rank and its error.
    """
    try:
        yield
    except Exception as error:
        first = _first_failure(error)
        if first is None or first[0] == rank():
            raise
        raise RunError(f"Rank {first[0]} of {distributed.get_world_size()} failed: {first[1]}") from error


def _first_failure(error: Exception) -> tuple[int, str] | None:
    """Return rank and error of the rank that failed first; None if there is no store or it cannot be reached."""
    if _store is None:
        return None
    try:
        # Sets the key if it has no value yet; returns the value that it has then.
        first = _store.compare_set(FAILURE, "", json.dumps([rank(), sentence(error)]))
    except (RuntimeError, OSError):  # the process that serves the store has ended
        return None
    number, text = json.loads(first)
    return number, text


def spawn(runtime: Runtime, function: Callable[..., T], *args: Any) -> T:
    """Call a function in one new process per device, on this machine, and return the result of rank 0.

    Stop signals of this process are forwarded to the ranks. If a rank fails, the others get ``END_SECONDS`` to end and
    are killed after that; the error of the rank that failed first is raised here.

    Raises:
        RankEndedError: a rank ended without an error of its own, for example by a signal.
    """
    size = runtime.processes
    context = multiprocessing.get_context("spawn")
    store = distributed.TCPStore(LOCALHOST, 0, is_master=True, wait_for_workers=False)
    pending: dict[Any, int] = {}
    ranks: list[Any] = []
    cause: BaseException | None = None
    value: Any = None
    deadline: float | None = None
    restore = _forward_signals(ranks)
    try:
        for number in range(size):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_run_rank, args=(sender, number, store.port, runtime, function, args))
            process.start()
            sender.close()
            ranks.append(process)
            pending[receiver] = number
        while pending and (deadline is None or time.monotonic() < deadline):
            timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
            errors: list[tuple[int, BaseException]] = []
            ready: list[Any] = wait(list(pending), timeout)
            for connection in ready:
                number = pending.pop(connection)
                try:
                    failure, result = connection.recv()
                except EOFError:
                    ranks[number].join()
                    errors.append((_died, _ended_silently(number, size, ranks[number].exitcode)))
                    continue
                if failure is not None:
                    errors.append((_failed, _unpickled(*failure)))
                elif number == 0:
                    value = result
            if errors and cause is None:
                # The death of a rank is the cause of the network errors that other ranks send at the same time.
                cause = min(errors, key=lambda each: each[0])[1]
                deadline = time.monotonic() + END_SECONDS
        if cause is not None:
            raise cause
        for process in ranks:
            process.join()
    finally:
        for process in ranks:
            process.kill()
            process.join()
        restore()
    return value


#: How a rank ended. The smaller number explains the errors of the other ranks better.
_died, _failed = 0, 1


def _ended_silently(number: int, size: int, code: int) -> RankEndedError:
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
    return RankEndedError(f"Process {number} of {size} {how}.")


def _unpickled(data: bytes, text: str) -> BaseException:
    """Return the exception that a rank sent, or a RunError with its sentence if its class cannot be loaded here."""
    try:
        return pickle.loads(data)
    except Exception:
        return RunError(text)


def _forward_signals(ranks: list[Any]) -> Callable[[], None]:
    """Forward this process's stop signals to its ranks. Return a function that restores the handlers.

    Only signals that this process handles are forwarded. The other signals end this process, and its ranks with it.
    """

    def forward(number: int, frame: FrameType | None) -> None:
        for process in ranks:
            with suppress(ProcessLookupError):  # a rank that has ended
                os.kill(process.pid, number)

    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, forward)

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    return restore


def _run_rank(
    sender: Connection, number: int, port: int, runtime: Runtime, function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    """Run one spawned rank and send its error, or the result of rank 0, to the process that spawned it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    notice.install()
    os.environ["LOCAL_RANK"] = str(number)
    torch.set_num_threads(max(1, torch.get_num_threads() // runtime.processes))
    try:
        _init_process_group(runtime, distributed.TCPStore(LOCALHOST, port, is_master=False), number)
        result = function(*args)
        sender.send((None, result if number == 0 else None))
        distributed.destroy_process_group()
    except BaseException as error:
        error.add_note(traceback.format_exc())
        sender.send((_pickled(error), None))


def _pickled(error: BaseException) -> tuple[bytes, str]:
    """Return an exception as bytes and as a sentence; the bytes are empty if it cannot be pickled."""
    try:
        return pickle.dumps(error), sentence(error)
    except Exception:
        return b"", sentence(error)


def _end_with_parent() -> None:
    """End this process when the process that spawned it ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
