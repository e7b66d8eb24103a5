import os
import signal
import threading

import pytest

from analytics_platform.defs.drain import draining


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_tells(number: signal.Signals):
    with draining() as told:
        assert not told.is_set()
        os.kill(os.getpid(), number)
        assert told.is_set()


def test_the_second_signal_interrupts():
    with draining():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_afterwards_signals_mean_what_they_meant():
    before = signal.getsignal(signal.SIGTERM)
    with draining():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_off_the_main_thread_nothing_is_caught():
    found = []

    def work() -> None:
        before = signal.getsignal(signal.SIGINT)
        with draining() as told:
            found.append((told.is_set(), signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert found == [(False, True)]
