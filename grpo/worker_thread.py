"""One thread that carries out calls in their order, and never keeps the process from ending."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any


class WorkerThread:
    """Runs what it is given one by one; a call that hangs keeps those behind it waiting, not the process.

    >>> worker = WorkerThread()
    >>> worker.submit(len, "abc").result()
    3
    >>> worker.stop()
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:  # Any: what the function returns
        """Have a call carried out; its result or error comes with the future."""
        call = _Call(function, arguments)
        self._calls.put(call)
        return call.future

    def stop(self) -> None:
        """End the thread once what was submitted is done."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call.carry_out()


class _Call:
    def __init__(self, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
        self._function, self._arguments = function, arguments
        self.future: Future[Any] = Future()

    def carry_out(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self._function(*self._arguments))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked for the call
            self.future.set_exception(error)
