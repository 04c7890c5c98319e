"""Numbers of the panel: what can be meant, and the last good value where something else was typed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from nionswift_plugin.esteem_scan.event_loop import UserInterfaceCalls


@dataclasses.dataclass(frozen=True)
class Range:
    """What a number may be, both ends included.

    Attributes
    ----------
    name : str
        In the panel.
    low, high : float
    unit : str
    """

    name: str
    low: float
    high: float
    unit: str = ""

    def problem(self, value: float | None) -> str:
        """Return in words what is wrong with a value; empty if nothing."""
        if value is None:
            return f"{self.name} is no number"
        if self.low <= value <= self.high:
            return ""
        return f"{self.name} {self.words(value)} is out of range ({self.low:,g} to {self.words(self.high)})"

    def words(self, value: float) -> str:
        """Return a value with its unit."""
        return f"{value:,g} {self.unit}".strip()


RANGES = {
    "height_nm": Range("height", 0.01, 1e5, "nm"),
    "width_nm": Range("width", 0.01, 1e5, "nm"),
    "pixel_size_nm": Range("pixel size", 1e-3, 1e3, "nm"),
    "dwell_us": Range("dwell", 0.01, 1e8, "µs"),
    "frames": Range("frames", 1, 1_000_000),
    "current_pa": Range("probe current", 0, 1e6, "pA"),
    "flyback_us": Range("flyback", 0, 1e6, "µs"),
    "scan_overhead_s": Range("scan engine", 0, 3600, "s"),
    "write_overhead_s": Range("writing a frame", 0, 3600, "s"),
    "subpixels": Range("sub-pixels along each side", 1, 32),
    "seed": Range("seed", 0, 2**32 - 1),
    "areas": Range("virgin areas", 1, 1000),
    "area_gap_nm": Range("gap", 0, 1e5, "nm"),
    "energy_step_ev": Range("spectrum moves by", -1000, 1000, "eV"),
    "motifs": Range("motifs", 1, 1_000_000),
    "total_dose": Range("dose", 0, 1e15, "e/Å²"),
    "dose_rate": Range("dose rate", 0, 1e15, "e/Å²/s"),
    "pixel_charge_e": Range("pixel charge", 0, 1e15, "e"),
    "mail_port": Range("port", 1, 65535),
    "snr": Range("SNR", 0, 1e6),
    "components": Range("components", 0, 100),
    "drift_nm": Range("drift", 0, 1e4, "nm"),
}
"""By the property models of the panel."""


class Kept:
    """A property model that keeps its last good value.

    Parameters
    ----------
    name : str
        Of `RANGES`.
    model : PropertyModel
    calls : UserInterfaceCalls
    say : callable
        Called with what was wrong and what stays.
    edited : callable
        Called after each good change.
    is_free : callable
        Returns whether the value is set by the program, which may do as it likes.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        calls: UserInterfaceCalls,
        say: Callable[[str], None],
        edited: Callable[[], None] = lambda: None,
        is_free: Callable[[], bool] = lambda: False,
    ) -> None:
        self._range, self._model, self._calls, self._say = RANGES[name], model, calls, say
        self._edited, self._is_free = edited, is_free
        self._good = model.value
        model.on_value_changed = self._changed

    def _changed(self, value: Any) -> None:
        problem = "" if self._is_free() else self._range.problem(value)
        if not problem:
            self._good = value
            self._edited()
            return
        self._model.value = self._good
        self._calls.later(lambda: self._model.notify_property_changed("value"))  # the edit shows what was typed
        self._say(f"{problem}; {self._range.words(self._good)} stays")
