"""Whether the beam is on the specimen, and what a resting beam costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

from esteem_sim.pacing import Clock
from esteemcore.errors import ParameterError

Rest = Literal["blanked", "parked"]


class BeamGate:
    """The beam blanker with its users.

    The beam is on while something scans or views with it, and otherwise as the user chose: blanked (default), or
    parked on the specimen. Somebody who shuts the blanker by hand overrules everything. The time that an unblanked beam
    rests on one place is charged; scanning is charged by who scans.

    Parameters
    ----------
    charge_parked : callable
        Called with (kind, seconds) for each stretch of time that the beam has rested on the specimen.
    clock : callable
        Seconds, never going back.
    """

    def __init__(self, charge_parked: Callable[[str, float], None], clock: Clock = time.monotonic) -> None:
        self._charge_parked = charge_parked
        self._clock = clock
        self._lock = threading.RLock()
        self._rest: Rest = "blanked"
        self._shut = False
        self._scanning = self._held = False
        self._views: list[str] = []
        self._parked_since: float | None = None

    @property
    def is_blanked(self) -> bool:
        """Whether no electron reaches the specimen."""
        with self._lock:
            return self._shut or not (self._scanning or self._on_at_rest)

    @property
    def is_shut(self) -> bool:
        """Whether the user has shut the blanker."""
        return self._shut

    @property
    def is_scanning(self) -> bool:
        """Whether a scan moves the beam."""
        return self._scanning

    @property
    def rest(self) -> Rest:
        """Where the beam is when nothing needs it: ``"blanked"`` or ``"parked"``."""
        return self._rest

    @rest.setter
    def rest(self, rest: Rest) -> None:
        if rest not in ("blanked", "parked"):
            raise ParameterError(f"rest is {rest!r}; expected 'blanked' or 'parked'")
        with self._lock:
            self._settle()
            self._rest = rest
            self._resume()

    def shut(self, shut: bool) -> None:
        """Shut the blanker by hand, or leave it to the acquisitions again."""
        with self._lock:
            self._settle()
            self._shut = shut
            self._resume()

    def begin_scan(self) -> None:
        """Let the beam on; a scan moves it."""
        with self._lock:
            self._settle()
            self._scanning, self._held = True, False
            self._resume()

    def end_scan(self, hold: bool = False) -> None:
        """Stop scanning; with ``hold`` the beam stays on where it is parked until the next frame."""
        with self._lock:
            self._settle()
            self._scanning, self._held = False, hold
            self._resume()

    def begin_view(self, kind: str) -> None:
        """Let the beam on for a camera."""
        with self._lock:
            self._settle()
            self._views.append(kind)
            self._resume()

    def end_view(self, kind: str) -> None:
        """End what `begin_view` has begun."""
        with self._lock:
            self._settle()
            if kind in self._views:
                self._views.remove(kind)
            self._resume()

    def release(self) -> None:
        """End everything that needs the beam."""
        with self._lock:
            self._settle()
            self._scanning = self._held = False
            self._views.clear()
            self._resume()

    def settle(self) -> None:
        """Charge what a resting beam has cost until now."""
        with self._lock:
            self._settle()
            self._resume()

    @property
    def _on_at_rest(self) -> bool:
        return bool(self._views) or self._held or self._rest == "parked"

    def _settle(self) -> None:
        if self._parked_since is not None:
            seconds = self._clock() - self._parked_since
            self._parked_since = None
            if seconds > 0:
                self._charge_parked(self._views[-1] if self._views else "parked", seconds)

    def _resume(self) -> None:
        if not self._shut and not self._scanning and self._on_at_rest:
            self._parked_since = self._clock()
