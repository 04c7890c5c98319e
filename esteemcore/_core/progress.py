"""Progress and cancellation of long work."""

from __future__ import annotations

import threading
from collections.abc import Callable

from esteemcore._core.errors import CancelledError

ProgressFunction = Callable[[float], None]
"""Called with the fraction done, 0 to 1, from the thread that works."""


class Progress:
    """Count steps of long work, report the fraction done and stop when asked.

    Parameters
    ----------
    total : int
        Number of steps that make up the whole work.
    progress : callable, optional
        Called with the fraction done after each step.
    cancel : threading.Event, optional
        When set, the next step raises `CancelledError`.
    """

    def __init__(
        self, total: int, progress: ProgressFunction | None = None, cancel: threading.Event | None = None
    ) -> None:
        self._total = max(total, 1)
        self._done = 0
        self._progress = progress
        self._cancel = cancel

    def step(self, n: int = 1) -> None:
        """Note that ``n`` more steps are done."""
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError(f"cancelled by the user after {self._done} of {self._total} steps")
        self._done += n
        if self._progress is not None:
            self._progress(min(self._done / self._total, 1.0))

    def finish(self) -> None:
        """Note that the work is done, though it took fewer steps than foreseen."""
        if self._progress is not None and self._done < self._total:
            self._progress(1.0)
