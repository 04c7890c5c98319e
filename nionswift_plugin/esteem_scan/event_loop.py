"""From threads to the user interface and back, without ever making it wait."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import threadpoolctl

SWITCH_S = 0.0005
"""How long a thread may keep Python to itself during an acquisition, in s."""
_guard = threading.Lock()
_steady: list[float] = []
"""For each acquisition that goes on, the switch interval from before the first of them."""


@contextlib.contextmanager
def steady() -> Iterator[None]:
    """Keep Python from making anybody wait while frames come in.

    Numerics leave Python and come back many times per frame packet, and each time may have to wait for the window's
    thread, by default up to 5 ms: threads take turns more often. A collection of garbage among all the objects of Nion
    Swift stops everything for a quarter of a second: those that are there now are left out. The threads of a linear
    algebra library wait for work by turning round and round, on cores that are needed: it works on the caller's.
    """
    with _guard:  # one may still write its file while the next one begins
        before = _steady[0] if _steady else sys.getswitchinterval()
        _steady.append(before)
        sys.setswitchinterval(min(before, SWITCH_S))
        gc.freeze()
    try:
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            yield
    finally:
        with _guard:
            _steady.pop()
            if not _steady:
                gc.unfreeze()
                sys.setswitchinterval(before)


class UserInterfaceCalls:
    """Calls that threads want to be made on the thread of the user interface; after `close` they are dropped.

    Parameters
    ----------
    event_loop : AbstractEventLoop
        That of the window.
    """

    def __init__(self, event_loop: asyncio.AbstractEventLoop) -> None:
        self._loop = event_loop
        self._waiting: dict[str, Callable[[], None]] = {}
        self._guard = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """Make no more calls."""
        self._closed = True
        with self._guard:
            self._waiting.clear()

    def later(self, call: Callable[[], None]) -> None:
        """Make a call soon."""
        if not self._closed:
            try:
                self._loop.call_soon_threadsafe(self._make, call)
            except RuntimeError:  # the window is gone
                self._closed = True

    def newest(self, name: str, call: Callable[[], None]) -> None:
        """Make a call soon, unless a newer one of this name comes first: a slow window never piles up work."""
        with self._guard:
            is_waiting = name in self._waiting
            self._waiting[name] = call
        if not is_waiting:
            self.later(lambda: self._make_newest(name))

    def _make_newest(self, name: str) -> None:
        with self._guard:
            call = self._waiting.pop(name, None)
        if call is not None:
            call()

    def _make(self, call: Callable[[], None]) -> None:
        if not self._closed:
            call()


class NewestFirst:
    """A thread for work of which only the newest matters, such as redrawing after each keystroke.

    Parameters
    ----------
    calls : UserInterfaceCalls
        Where results are delivered.
    name : str
        Name of the thread.
    """

    def __init__(self, calls: UserInterfaceCalls, name: str) -> None:
        self._calls = calls
        self._name = name
        self._changed = threading.Condition()
        self._next: tuple[Callable[[], Any], Callable[[Any], None], int] | None = None
        self._newest = 0
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """Whether work is going on or waiting."""
        return self._thread is not None

    def submit(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Do work in the thread instead of what still waits; ``done`` gets its result, or the exception.

        Results of earlier work are not delivered any more.
        """
        with self._changed:
            self._newest += 1
            self._next = (work, done, self._newest)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()

    def drop(self) -> None:
        """Deliver nothing of what was submitted so far."""
        with self._changed:
            self._newest += 1
            self._next = None

    def close(self, timeout_s: float = 5.0) -> None:
        """Drop what waits and wait for the rest."""
        self.drop()
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._next is None:
                    self._thread = None
                    return
                (work, done, number), self._next = self._next, None
            try:
                result = work()
            except Exception as error:
                result = error
            self._calls.later(functools.partial(self._deliver, done, result, number))

    def _deliver(self, done: Callable[[Any], None], result: Any, number: int) -> None:
        if number == self._newest:
            done(result)
