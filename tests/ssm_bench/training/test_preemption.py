"""The notice to stop: it raises while there is nothing to save, and only waits during training."""

import os
import signal
from collections.abc import Iterator

import pytest
from ssm_bench.errors import Preempted
from ssm_bench.training.preemption import SIGNALS, Notice


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Restore the handlers of the stop signals after the test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_outside_of_training_the_signal_raises(number: int) -> None:
    notice = Notice()
    notice.install()
    with pytest.raises(Preempted):
        signal.raise_signal(number)
    assert notice.received


@pytest.mark.parametrize("number", SIGNALS)
def test_during_training_the_signal_waits_for_its_end(number: int) -> None:
    notice = Notice()
    notice.install()
    notice.defer()
    assert not notice.received
    signal.raise_signal(number)
    assert notice.received
    with pytest.raises(Preempted):
        notice.release()


def test_training_takes_the_handlers_back_from_the_trainer() -> None:
    notice = Notice()
    notice.install()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    notice.defer()
    signal.raise_signal(SIGNALS[0])
    assert notice.received


def test_a_second_signal_leaves_the_end_of_the_first_alone() -> None:
    notice = Notice()
    notice.install()
    with pytest.raises(Preempted):
        signal.raise_signal(SIGNALS[0])
    for number in SIGNALS:
        signal.raise_signal(number)


def test_a_child_inherits_the_handler_but_ignores_the_signal() -> None:
    notice = Notice()
    notice.install()
    child = os.fork()
    if child == 0:
        try:
            signal.raise_signal(SIGNALS[0])
            os._exit(notice.received)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_it_is_no_exception_that_code_may_swallow() -> None:
    assert not issubclass(Preempted, Exception)
