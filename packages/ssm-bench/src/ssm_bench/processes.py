"""The processes that carry out one cell together: one alone, several started here, or those of srun. Imports torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import distributed

from ssm_bench.config import Runtime
from ssm_bench.errors import RunError
from ssm_bench.preemption import SIGNALS, notice

if TYPE_CHECKING:
    from lightning.pytorch.plugins.environments import ClusterEnvironment

T = TypeVar("T")
#: Some wait for others at their first meeting while one of them prepares the data.
PATIENCE = timedelta(hours=12)
HERE = "127.0.0.1"
#: Objects travel by CPU, gradients of a GPU by NCCL.
BACKENDS = "cpu:gloo,cuda:nccl"


def join(runtime: Runtime) -> bool:
    """Whether this process is one of those that the runtime asks for; one that srun started joins the others.

    Raises:
        RunError: srun started another number of them, or did not start them where there are several nodes.
    """
    if runtime.processes == 1 or distributed.is_initialized():
        return True
    started = _of_srun()
    if started == 1:
        if runtime.nodes > 1:
            raise RunError(f"nodes={runtime.nodes} needs srun to start one process a device on each node.")
        return False
    if started != runtime.processes:
        raise RunError(
            f"srun started {started} processes, but nodes={runtime.nodes} of devices={runtime.devices} "
            f"are {runtime.processes}."
        )
    slurm = environment(runtime)
    distributed.init_process_group(
        _backends(runtime),
        init_method=f"tcp://{slurm.main_address}:{slurm.main_port}",
        rank=slurm.global_rank(),
        world_size=slurm.world_size(),
        timeout=PATIENCE,
    )
    return True


def environment(runtime: Runtime) -> ClusterEnvironment:
    """What tells Lightning which of the processes this is."""
    from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment

    if runtime.processes > 1 and "LOCAL_RANK" not in os.environ:
        return SLURMEnvironment(auto_requeue=False)
    return LightningEnvironment()


def on_gpus(runtime: Runtime) -> bool:
    """Whether the processes of a run compute on GPUs of NVIDIA."""
    return runtime.accelerator != "cpu" and torch.cuda.is_available()


def rank() -> int:
    """Number of this process among those of its cell, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def of_first(function: Callable[[], T]) -> T:
    """What the first process gets from ``function``, or its exception, in every process; no other calls it."""
    if not distributed.is_initialized():
        return function()
    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = function()
        except Exception as error:
            outcome[1] = error
    distributed.broadcast_object_list(outcome, device=torch.device("cpu"))
    value, failure = outcome
    if failure is not None:
        raise failure
    return value


def total(sums: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes."""
    if distributed.is_initialized():
        sums = sums.clone()
        distributed.all_reduce(sums)
    return sums


def largest(value: int) -> int:
    """The largest of all processes' values."""
    if not distributed.is_initialized():
        return value
    values = torch.tensor(value)
    distributed.all_reduce(values, distributed.ReduceOp.MAX)
    return int(values)


def gather(value: T) -> list[T]:
    """Every process's value, in all of them."""
    if not distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def start(runtime: Runtime, function: Callable[..., T], *args: Any) -> T:
    """Call a function in as many processes as there are devices, on this machine; what the first one returns.

    A process that fails ends the others, and its error is raised here. A notice to stop is passed on to them.
    """
    size = runtime.processes
    spawn = multiprocessing.get_context("spawn")
    store = distributed.TCPStore(HERE, 0, is_master=True, wait_for_workers=False)
    results: dict[Any, int] = {}
    started: list[Any] = []
    value: Any = None
    restore = _pass_on_signals(started)
    try:
        for number in range(size):
            receiver, sender = spawn.Pipe(duplex=False)
            process = spawn.Process(target=_one, args=(sender, number, store.port, runtime, function, args))
            process.start()
            sender.close()
            started.append(process)
            results[receiver] = number
        while results:
            ready: list[Any] = wait(list(results))
            for receiver in ready:
                number = results.pop(receiver)
                try:
                    error, result = receiver.recv()
                except EOFError:
                    started[number].join()
                    code = started[number].exitcode
                    raise RunError(f"Process {number} of {size} ended with exit status {code}.") from None
                if error is not None:
                    raise error
                value = result if number == 0 else value
        for process in started:
            process.join()
    finally:
        for process in started:
            process.kill()
            process.join()
        restore()
    return value


def _pass_on_signals(processes: list[Any]) -> Callable[[], None]:
    """Where this process heeds the notice to stop, its processes are to heed it; returns what ends that."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in processes:
            os.kill(process.pid, number)

    heeded = {number: signal.getsignal(number) for number in SIGNALS}
    heeded = {number: handler for number, handler in heeded.items() if callable(handler)}
    for number in heeded:
        signal.signal(number, pass_on)

    def restore() -> None:
        for number, handler in heeded.items():
            signal.signal(number, handler)

    return restore


def _one(
    sender: Connection, number: int, port: int, runtime: Runtime, function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    """The life of a process that was started here; it sends an error or a result."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    notice.install()
    os.environ["LOCAL_RANK"] = str(number)
    torch.set_num_threads(max(1, torch.get_num_threads() // runtime.processes))
    try:
        store = distributed.TCPStore(HERE, port, is_master=False)
        distributed.init_process_group(
            _backends(runtime), store=store, rank=number, world_size=runtime.processes, timeout=PATIENCE
        )
        result = function(*args)
        sender.send((None, result if number == 0 else None))
        distributed.destroy_process_group()
    except BaseException as error:
        error.add_note(traceback.format_exc())
        sender.send((error, None))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _of_srun() -> int:
    """How many processes the srun that started this one started; 1 where there is none."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))


def _backends(runtime: Runtime) -> str:
    return BACKENDS if on_gpus(runtime) else "gloo"
