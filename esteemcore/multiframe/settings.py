"""What the user sets for a series, beside the region."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.multiframe.orders import ORDERS

MOST_AREAS = 1000
"""Each area is charged to the ledger of the dose before a series begins, which takes time for each."""


@dataclasses.dataclass(frozen=True)
class SeriesSettings:
    """Times, current and order of a series.

    Parameters
    ----------
    current_pa : float
        Probe current in pA.
    dwell_s : float
        Time on each pixel in s, all of its sub-pixels together.
    frames : int
        Frames of each area.
    flyback_s : float
        Time of one return of the beam in s.
    scan_overhead_s : float
        What the scan engine needs to begin a frame, in s.
    write_overhead_s : float
        What the disk needs for a frame, in s.
    subpixels : int
        The beam stops at n x n places within each pixel, which add up to its signal.
    order : str
        How the frames are scanned, one of `ORDERS`.
    seed : int
        Of shuffled orders.
    areas : int
        Virgin areas side by side, each with its own set of frames; `MOST_AREAS` at most.
    area_gap_nm : float
        Distance between them in nm.
    energy_step_ev : float
        By how much the spectrum is moved along its camera from frame to frame, in eV.
    compress : bool
        Store frames compressed, never lossy.

    Raises
    ------
    ParameterError
        If a value is impossible.
    """

    current_pa: float
    dwell_s: float
    frames: int = 1
    flyback_s: float = 0.0
    scan_overhead_s: float = 0.0
    write_overhead_s: float = 0.0
    subpixels: int = 1
    order: str = "raster"
    seed: int = 0
    areas: int = 1
    area_gap_nm: float = 10.0
    energy_step_ev: float = 0.0
    compress: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.current_pa, int | float) and self.current_pa <= 0:
            raise ParameterError(
                f"the probe current is {self.current_pa:g} pA: without a current there are neither doses nor a signal; "
                "measure it and type it in"
            )
        for name, unit in (("current_pa", "pA"), ("dwell_s", "s")):
            object.__setattr__(self, name, checks.positive(name, getattr(self, name), unit))
        for name, unit in (
            ("flyback_s", "s"), ("scan_overhead_s", "s"), ("write_overhead_s", "s"), ("area_gap_nm", "nm")
        ):  # fmt: skip
            object.__setattr__(self, name, checks.not_negative(name, getattr(self, name), unit))
        for name, least, most in (
            ("frames", 1, None), ("subpixels", 1, None), ("areas", 1, MOST_AREAS), ("seed", 0, None)
        ):  # fmt: skip
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), minimum=least, maximum=most))
        object.__setattr__(self, "energy_step_ev", checks.finite("energy_step_ev", self.energy_step_ev, "eV"))
        if self.order not in ORDERS:
            raise ParameterError(f"order is {self.order!r}; expected one of {', '.join(ORDERS)}")

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-ready values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> SeriesSettings:
        """Return settings that `as_dict` gave.

        Raises
        ------
        ParameterError
            If entries are unknown or lacking.
        """
        try:
            return cls(**stored)
        except TypeError as error:
            raise ParameterError(f"the settings of a series cannot be read: {error}") from None
