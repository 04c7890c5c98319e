"""A scan plan: devices, order, field, dwell time and number of frames, with the dose that follows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from nion.instrumentation import scan_base

from esteemcore import fourd, scan, stream
from esteemcore.errors import EsteemError, ParameterError
from nionswift_plugin.esteem_scan import devices
from nionswift_plugin.esteem_scan.devices import FreeOrderInstrument
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan, synchronized

MOST_POSITIONS = 2**26
"""Positions of a scan: 8192 x 8192, an hour and a half at 12,500 per second."""


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """What will be acquired.

    Attributes
    ----------
    scan_source, camera_source
        Nion's hardware sources.
    order : ScanPlan
        Where the beam goes.
    shape : (int, int)
        Rows and columns.
    fov_nm : float
        Field of view, the longer side, in nm.
    dwell_s : float
        Exposure of a camera frame in s.
    frames : int
        Passes over the field.
    """

    scan_source: Any
    camera_source: Any
    order: ScanPlan
    shape: tuple[int, int]
    fov_nm: float
    dwell_s: float
    frames: int = 1

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or self.frames < 1:
            raise ParameterError("rows, columns and frames must be 1 or more")
        if not self.fov_nm > 0 or not self.dwell_s > 0:
            raise ParameterError("field of view and dwell time must be more than zero")
        if self.shape[0] * self.shape[1] > MOST_POSITIONS:
            raise ParameterError(
                f"{self.shape[0]:,} x {self.shape[1]:,} positions are too many; plan at most {MOST_POSITIONS:,}"
            )
        shortest_s = self.camera_source.validate_frame_parameters(self.camera_parameters()).exposure_ms * 1e-3
        if self.dwell_s < 0.99 * shortest_s:  # less is rounding
            raise ParameterError(
                f"the dwell time is {self.dwell_s * 1e6:.4g} µs, but {self.camera_source.display_name} exposes for "
                f"{shortest_s * 1e6:.4g} µs or longer"
            )

    @property
    def instrument(self) -> FreeOrderInstrument:
        """The instrument of the scan device."""
        instrument: FreeOrderInstrument = self.scan_source.stem_controller
        return instrument

    def scan_parameters(self) -> tuple[scan_base.ScanFrameParameters, scan.ScanPattern]:
        """Return Nion's parameters for a synchronized acquisition, and the visits of the first frame.

        Centre and rotation are those of the scan device now; a subscan is left.
        """
        parameters = self.scan_source.get_current_frame_parameters()
        parameters.subscan_pixel_size = None
        parameters.subscan_fractional_size = None
        parameters.subscan_fractional_center = None
        parameters.pixel_size = self.shape
        parameters.fov_nm = self.fov_nm
        parameters.pixel_time_us = self.dwell_s * 1e6
        parameters.channel_variant = "sync"  # what comes in time order does not belong into the live view
        self.order.put(parameters)
        changed, pattern = synchronized(parameters)
        return changed, pattern

    def camera_parameters(self) -> Any:
        """Return Nion's parameters for packed frames."""
        parameters = self.camera_source.get_current_frame_parameters()
        parameters.exposure_ms = self.dwell_s * 1e3
        parameters.set_parameter(devices.PACKED, True)
        return parameters

    def spec(self) -> stream.Spec:
        """Return what the camera will give."""
        frame_shape = devices.packed_shape(self.camera_source)
        if frame_shape is None:
            raise ParameterError(f"{self.camera_source.display_name} gives no packed one-bit frames; choose another")
        return stream.Spec(self.shape, frame_shape, np.dtype(np.uint8), packed=True)

    def geometry(self) -> fourd.Geometry:
        """Return the calibrations, as the instrument knows them."""
        return self.instrument.geometry(self.scan_parameters()[0])

    def exposure(self) -> scan.Exposure:
        """Return what will be exposed."""
        return self.instrument.exposure(self.scan_parameters()[0], dwell_s=self.dwell_s, frames=self.frames)

    def exceeded(self) -> tuple[str, ...]:
        """Return what of the dose budget would be exceeded, in words."""
        instrument, field = self.instrument, self.instrument.field(self.scan_parameters()[0])
        return instrument.ledger.check(self.exposure(), field.center_nm, field.rotation_deg)

    def record(self) -> dict[str, Any]:
        """Return the plan as JSON-ready values, for files and metadata."""
        return {
            "scan_device": self.scan_source.hardware_source_id,
            "camera": self.camera_source.hardware_source_id,
            "order": self.order.as_dict(),
            "shape": list(self.shape),
            "fov_nm": self.fov_nm,
            "dwell_s": self.dwell_s,
            "frames": self.frames,
        }


@dataclasses.dataclass(frozen=True)
class DoseReport:
    """What a plan costs, in words.

    Attributes
    ----------
    planned : str
        Dose, charge and time.
    so_far : str
        What this place has had.
    needed : str
        The current for the wished dose; empty without a wish.
    needed_pa : float or None
        The same as a number.
    exceeded : tuple of str
        What of the budget would be exceeded.
    geometry : Geometry or None
        Calibrations by the instrument.
    error : str
        Why nothing can be said; empty if all is well.
    """

    planned: str = ""
    so_far: str = ""
    needed: str = ""
    needed_pa: float | None = None
    exceeded: tuple[str, ...] = ()
    geometry: fourd.Geometry | None = None
    error: str = ""


def report(plan: Plan, wished_dose: float = 0.0) -> DoseReport:
    """Say what a plan costs; may take a while for large sparse patterns.

    Parameters
    ----------
    plan : Plan
    wished_dose : float
        Total dose in e/Å² over the area; 0 for no wish.
    """
    try:
        exposure = plan.exposure()
        field = plan.instrument.field(plan.scan_parameters()[0])
        mean, highest = plan.instrument.ledger.dose_at(field.center_nm, field.fov_nm, field.rotation_deg)
        needed, needed_pa = "", None
        if wished_dose > 0:
            needed_pa = scan.current_for_dose(
                wished_dose, plan.dwell_s, exposure.pixel_size_nm, plan.shape, plan.frames, exposure.pattern
            )
            needed = f"{_dose(wished_dose)} e/Å² need {needed_pa:.4g} pA"
        return DoseReport(
            f"{_dose(exposure.total_dose)} e/Å² in all, {_dose(exposure.dose_per_frame)} per frame; "
            f"{exposure.pixel_charge_e:.3g} e per position at {exposure.current_pa:.4g} pA; "
            f"{exposure.series_time_s:.3g} s",
            f"so far here: {_dose(mean)} e/Å² on average, {_dose(highest)} at most",
            needed,
            needed_pa,
            plan.exceeded(),
            plan.geometry(),
        )
    except EsteemError as error:
        return DoseReport(error=str(error))


def _dose(value: float) -> str:
    """Return a dose as people write it: 10,230 and not 1.023e+04."""
    return f"{value:,.0f}" if 100 <= value < 1e9 else f"{value:.3g}"
