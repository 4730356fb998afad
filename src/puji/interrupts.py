"""Ctrl-C that is heard whatever library is at work.

RDKit puts its own handler in place of Python's while it searches for substructures, and what arrives then is lost.
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LISTEN = 0.2
"""Seconds after which the listener looks whether it is still wanted."""


@contextmanager
def heard() -> Iterator[None]:
    """Ctrl-C interrupts the main thread as usual, but is received by a thread that no library's handler disturbs.

    Does nothing outside the main thread, and where signals cannot be blocked (Windows).
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    ended = threading.Event()

    def listen() -> None:
        while not ended.is_set():
            if signal.sigtimedwait({signal.SIGINT}, LISTEN) is not None:
                _thread.interrupt_main(signal.SIGINT)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    listener = threading.Thread(target=listen, daemon=True, name="puji-interrupts")
    listener.start()
    try:
        yield
    finally:
        ended.set()
        listener.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
