"""Ctrl-C at a time that suits: the update in hand is finished first, a second Ctrl-C ends at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Whether Ctrl-C was pressed since the context was entered."""

    def __init__(self) -> None:
        self.asked = False

    def take(self, number: int, frame: FrameType | None) -> None:
        """Note the first; raise KeyboardInterrupt for the second."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def deferred() -> Iterator[Interrupts]:
    """Take Ctrl-C over for a while; outside the main thread, which alone gets it, nothing changes."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = signal.signal(signal.SIGINT, interrupts.take)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
