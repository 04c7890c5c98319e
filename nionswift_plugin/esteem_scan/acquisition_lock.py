"""One acquisition at a time, whichever panel wants it, and one safe end for all of them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from esteemcore.errors import StreamError
from nionswift_plugin.esteem_scan.devices import FreeOrderInstrument


class Ticket:
    """The right to acquire; release it when done, from any thread, as often as you like."""

    def __init__(self, lock: AcquisitionLock, owner: str, stop: Callable[[], None]) -> None:
        self.owner, self.stop = owner, stop
        self._lock = lock

    def release(self) -> None:
        """Let others acquire."""
        self._lock._release(self)


class AcquisitionLock:
    """Gives out one ticket at a time."""

    def __init__(self) -> None:
        self._ticket: Ticket | None = None
        self._guard = threading.Lock()

    @property
    def owner(self) -> str | None:
        """Who is acquiring; None if nobody."""
        ticket = self._ticket
        return ticket.owner if ticket is not None else None

    def stop(self) -> str | None:
        """Stop who is acquiring, as its own panel would; return who that is, or None if nobody."""
        ticket = self._ticket
        if ticket is None:
            return None
        ticket.stop()
        return ticket.owner

    def take(self, owner: str, stop: Callable[[], None] = lambda: None) -> Ticket:
        """Return the ticket.

        Parameters
        ----------
        owner : str
            Name of the panel, for the message to others.
        stop : callable
            Stops the acquisition and returns at once; what `stop` calls.

        Raises
        ------
        StreamError
            If somebody else has it.
        """
        with self._guard:
            if self._ticket is not None:
                raise StreamError(f"{self._ticket.owner} is acquiring; wait until it has finished, or abort it there")
            self._ticket = Ticket(self, owner, stop)
            return self._ticket

    def _release(self, ticket: Ticket) -> None:
        with self._guard:
            if self._ticket is ticket:
                self._ticket = None


LOCK = AcquisitionLock()
"""The lock of all panels of Esteem."""


@contextlib.contextmanager
def acquiring(ticket: Ticket, instrument: FreeOrderInstrument, kind: str = "acquisition") -> Iterator[None]:
    """Put an acquisition between its ticket and a safe end: beam blanked, scan stopped, settings restored.

    Parameters
    ----------
    ticket : Ticket
        Released at the end.
    instrument : FreeOrderInstrument
    kind : str
        What the exposures are for, in the words of the dose ledger.
    """
    try:
        with instrument.acquiring(kind):
            yield
    finally:
        ticket.release()
