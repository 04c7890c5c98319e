"""Reading a container into the project in a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from nion.swift.model import Activity

from esteemcore.errors import CancelledError, EsteemError
from nionswift_plugin.esteem_process.project_item import ProjectItem


def fill(items: Sequence[ProjectItem], progress: Callable[[float], None], cancel: threading.Event) -> None:
    """Write all data items.

    Parameters
    ----------
    items : sequence of ProjectItem
    progress : callable
        Called with the fraction done.
    cancel : Event
        When set, the work stops.

    Raises
    ------
    CancelledError
        When it was stopped; what was written is to be discarded, as after any other error.
    """
    total, done = max(sum(item.nbytes for item in items), 1), 0

    def advance(count: int) -> None:
        nonlocal done
        if cancel.is_set():
            raise CancelledError("stopped while it was imported; nothing was imported")
        done += count
        progress(min(done / total, 1.0))

    for item in items:
        item.fill(advance)
    advance(0)


class ImportJob:
    """Fill data items in a thread; they are whole, or there is nothing left of them.

    Parameters
    ----------
    name : str
        What is imported, for Nion's list of activities.
    items : sequence of ProjectItem
        From here on they belong to the job.
    progress : callable
        Called from the thread with the fraction done.
    ended : callable
        Called from the thread, once, with None or with what went wrong, in words; empty when it was stopped.
    """

    def __init__(
        self,
        name: str,
        items: Sequence[ProjectItem],
        progress: Callable[[float], None],
        ended: Callable[[str | None], None],
    ) -> None:
        self._name, self._items = name, list(items)
        self._progress, self._ended = progress, ended
        self._cancel = threading.Event()
        self._thread = threading.Thread(target=self._run, name="esteem-import", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop soon; nothing is left in the project."""
        self._cancel.set()

    def close(self, timeout_s: float) -> None:
        """Stop, and wait for it, but not for ever: a thread that reads a slow disk tidies up when it comes back."""
        self._cancel.set()
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._discard()

    def take(self) -> list[Any]:
        """Return the storage handlers of the data items, which belong to the caller then."""
        items, self._items = self._items, []
        return [item.handler for item in items]

    def _discard(self) -> None:
        while self._items:
            self._items.pop().discard()

    def _run(self) -> None:
        activity = Activity.Activity("esteem_import", f"Importing {self._name}")
        Activity.append_activity(activity)
        problem: str | None = None
        try:
            fill(self._items, self._progress, self._cancel)
        except Exception as error:
            self._discard()
            problem = "" if isinstance(error, CancelledError) else words(error)
        finally:
            Activity.activity_finished(activity)
        self._ended(problem)


def words(error: Exception) -> str:
    """Return what went wrong; what nobody foresaw goes to the log, too."""
    if isinstance(error, EsteemError):
        return str(error)
    logging.getLogger("esteem").exception("import or export failed")
    return f"{type(error).__name__}: {error}"
