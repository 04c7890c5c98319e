"""The plan of a series, and what it costs: times, doses, bytes, and what of a budget it would exceed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from esteemcore import io, scan
from esteemcore._core.errors import ParameterError
from esteemcore.multiframe.orders import FrameOrder, frame_order
from esteemcore.multiframe.region import Region, virgin_areas
from esteemcore.multiframe.settings import SeriesSettings


@dataclasses.dataclass(frozen=True)
class SeriesFigures:
    """What a series costs. Doses in e/Å² over the whole region, for one area; times in s, for all areas.

    Attributes
    ----------
    frame_time_s, series_time_s : float
        With flyback and overheads.
    dose_per_frame, total_dose : float
        Of the dwells.
    total_dose_with_overhead : float
        With the beam on during flyback and overheads.
    total_dose_blanked_between : float
        With the beam on during flyback, and blanked between frames.
    dose_rate_frame, dose_rate_series : float
        In e/Å²/s: of a frame over its dwell time, of the series over all of its time.
    pixel_charge_e : float
        Electrons of one dwell, all sub-pixels together.
    bytes_per_frame, total_bytes : int
        On disk before compression, all areas.
    frames : int
        All areas together.
    """

    frame_time_s: float
    series_time_s: float
    dose_per_frame: float
    total_dose: float
    total_dose_with_overhead: float
    total_dose_blanked_between: float
    dose_rate_frame: float
    dose_rate_series: float
    pixel_charge_e: float
    bytes_per_frame: int
    total_bytes: int
    frames: int


@dataclasses.dataclass(frozen=True)
class SeriesPlan:
    """Where, how often and how long the beam will be.

    Attributes
    ----------
    region : Region
        The (first) area.
    settings : SeriesSettings
    signals : mapping of str to SeriesSignal
        What will be recorded with each frame, as `esteemcore.io.SeriesWriter` takes it.
    more_bytes_per_frame : int
        What is written beside these signals (frames of a 4D camera).

    Examples
    --------
    >>> from esteemcore import multiframe
    >>> region = multiframe.fit_region((11.2, 11.2), 0.056)
    >>> settings = multiframe.SeriesSettings(current_pa=17, dwell_s=1e-3, frames=230, flyback_s=5e-3)
    >>> figures = multiframe.SeriesPlan(region, settings).figures
    >>> f"{figures.dose_per_frame:.3e} e/Å² in {figures.frame_time_s:.0f} s"
    '3.383e+05 e/Å² in 41 s'
    """

    region: Region
    settings: SeriesSettings
    signals: Mapping[str, io.SeriesSignal] = dataclasses.field(default_factory=dict)
    more_bytes_per_frame: int = 0

    def __post_init__(self) -> None:
        rows, columns = self.scan_shape
        if rows * columns > 2**26:
            raise ParameterError(
                f"{self.settings.subpixels} x {self.settings.subpixels} sub-pixels make {rows:,} x {columns:,} places "
                "per frame; choose fewer sub-pixels"
            )

    @property
    def areas(self) -> tuple[Region, ...]:
        """The region and its virgin neighbours."""
        return virgin_areas(self.region, self.settings.areas, self.settings.area_gap_nm)

    @property
    def scan_shape(self) -> tuple[int, int]:
        """Rows and columns of the places where the beam stops: pixels times sub-pixels."""
        n = self.settings.subpixels
        return self.region.shape[0] * n, self.region.shape[1] * n

    def order(self, frame: int) -> FrameOrder:
        """Return how a frame is scanned, counted from the first one of its region; sub-pixels included."""
        return frame_order(self.scan_shape, self.settings.order, frame, self.settings.seed)

    @property
    def exposure(self) -> scan.Exposure:
        """What the frames of one area expose, sub-pixel by sub-pixel."""
        return self._exposure(self.settings.scan_overhead_s + self.settings.write_overhead_s)

    def _exposure(self, overhead_s: float) -> scan.Exposure:
        settings, shape = self.settings, self.scan_shape
        flyback_s, pattern = settings.flyback_s, None
        if settings.order == "turned raster":  # every second frame has as many lines as the region has columns
            upright = (settings.frames + 1) // 2
            lines = upright * shape[0] + (settings.frames - upright) * shape[1]
            flyback_s *= lines / (settings.frames * shape[0])
        elif settings.order != "raster":
            pattern = frame_order(shape, settings.order, 0, settings.seed).visits
        return scan.Exposure(
            settings.current_pa,
            settings.dwell_s / settings.subpixels**2,
            self.region.pixel_size_nm / settings.subpixels,
            shape,
            frames=settings.frames,
            flyback_s=flyback_s,
            frame_overhead_s=overhead_s,
            pattern=pattern,
        )

    @property
    def signal_bytes_per_frame(self) -> int:
        """Size of the signals of a frame before compression; what is written beside them is not in it."""
        return sum(math.prod(signal.shape) * np.dtype(signal.dtype).itemsize for signal in self.signals.values())

    @property
    def figures(self) -> SeriesFigures:
        """What it costs."""
        exposure, settings = self.exposure, self.settings
        size = self.more_bytes_per_frame + self.signal_bytes_per_frame
        return SeriesFigures(
            frame_time_s=exposure.frame_time_s,
            series_time_s=settings.areas * exposure.series_time_s,
            dose_per_frame=exposure.dose_per_frame,
            total_dose=exposure.total_dose,
            total_dose_with_overhead=exposure.total_dose_with_overhead,
            total_dose_blanked_between=self._exposure(0.0).total_dose_with_overhead,
            dose_rate_frame=exposure.dose_rate_frame,
            dose_rate_series=exposure.dose_rate_series,
            pixel_charge_e=exposure.pixel_charge_e * settings.subpixels**2,
            bytes_per_frame=size,
            total_bytes=size * settings.frames * settings.areas,
            frames=settings.frames * settings.areas,
        )

    def exceeded(self, ledger: scan.DoseLedger) -> tuple[str, ...]:
        """Return what of the budget of a ledger would be exceeded at any area, in words, each once.

        The beam is on during flyback, and blanked between frames: overheads cost time and no dose.
        """
        found: dict[str, None] = {}
        planned = self._exposure(0.0)
        for area in self.areas:
            found.update(dict.fromkeys(ledger.check(planned, area.center_nm, area.rotation_deg)))
        budget = ledger.budget.pixel_charge_e
        charge = self.exposure.pixel_charge_e * self.settings.subpixels**2
        if self.settings.subpixels > 1 and budget is not None and charge > budget * (1 + 1e-9):
            words = [text for text in found if not text.startswith("pixel charge")]
            return (*words, f"pixel charge: {charge:.3g} e planned; the budget is {budget:.3g} e")
        return tuple(found)

    def next_exceeded(self, ledger: scan.DoseLedger, place: Region) -> tuple[str, ...]:
        """Return what of the budget of a ledger one more frame at a place would exceed, in words.

        Parameters
        ----------
        ledger : DoseLedger
        place : Region
            Where the frame goes, drift compensation included.
        """
        frame = dataclasses.replace(self._exposure(0.0), frames=1)
        return tuple(ledger.check(frame, place.center_nm, place.rotation_deg))

    def record(self) -> dict[str, Any]:
        """Return the plan as JSON-ready values, for files and metadata."""
        return {
            "region": {
                "shape": list(self.region.shape),
                "pixel_size_nm": self.region.pixel_size_nm,
                "center_nm": list(self.region.center_nm),
                "rotation_deg": self.region.rotation_deg,
            },
            "settings": self.settings.as_dict(),
            "signals": sorted(self.signals),
        }


def spent(ledger: scan.DoseLedger, region: Region) -> tuple[float, float, dict[str, float]]:
    """Return what a region has had so far.

    Parameters
    ----------
    ledger : DoseLedger
    region : Region

    Returns
    -------
    mean, highest : float
        Dose in e/Å², all exposures together: live views, survey and focusing included.
    kinds : dict of str to float
        Charge in electrons, by kind, of the exposures whose field may touch the region.
    """
    mean, highest = ledger.dose_at(region.center_nm, region.fov_nm, region.rotation_deg)
    radius = math.hypot(*region.fov_nm) / 2
    kinds: dict[str, float] = {}
    for entry in ledger.entries:
        reach = radius + math.hypot(*entry.fov_nm) / 2
        if math.dist(entry.center_nm, region.center_nm) <= reach:
            kinds[entry.kind] = kinds.get(entry.kind, 0.0) + entry.charge_e
    return mean, highest, kinds
