"""The knobs of the instrument: named values in SI units, as Nion's panels and scripts ask for them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence

from nion.device_kit import InstrumentDevice
from nion.instrumentation import stem_controller
from nion.utils import Event, Geometry, Stream

DEFAULTS: Mapping[str, float] = {
    "EHT": 200e3,
    "BeamCurrent": 0.5e-12,
    "ConvergenceAngle": 15e-3,
    "CameraPixelAngle": 15e-3 / 96,
    "ZLPoffset": 0.0,
    "EELS_Offset": -20.0,
    "EELS_LowOffset": -20.0,
    "EELS_Dispersion": 0.5,
    "EELS_CollectionAngle": 30e-3,
    "EELS_Resolution": 0.6,
    "EELS_Efficiency": 0.8,
    "EELS_CameraNoise": 1.0,
    "EELS_EnergyDrift": 0.0,
    "EELS_Instability": 0.0,
    "EDS_SolidAngle": 0.9,
    **dict.fromkeys(("SpecimenDrift.x", "SpecimenDrift.y", "SpecimenWalk"), 0.0),
    **dict.fromkeys(("ScanJitter", "LineJitter", "MainsHum"), 0.0),
    **dict.fromkeys(("C10", "C30"), 0.0),
    **{
        f"{name}.{axis}": 0.0
        for name in ("C12", "C21", "C23", "C32", "C34", "CSH", "stage_position_m")
        for axis in "xy"
    },
}
"""Controls and their values at the start: V, A, rad, m, s and sr; energies of the spectrometer in eV.

``EELS_Offset`` is the loss at channel 0, set by the prism; ``ZLPoffset``, the drift tube, is added to it.
"""

OPTICS = ("EHT", "ConvergenceAngle", "C10", "C12", "C21", "C23", "C30", "C32", "C34")
"""Controls (without their axis) on which the diffraction patterns depend."""

LIMITS: Mapping[str, tuple[float, float]] = {
    "EELS_Dispersion": (1e-3, 10.0),
    "EELS_CollectionAngle": (1e-4, 0.5),
    "EELS_Resolution": (1e-3, 10.0),
    "EELS_Efficiency": (0.0, 1.0),
    "EELS_CameraNoise": (0.0, 1.0),
    "EDS_SolidAngle": (0.0, 4 * math.pi),
}
"""Least and largest value of controls that know one."""

_ALIASES = {
    "beam_shift_m.x": "CSH.x",
    "beam_shift_m.y": "CSH.y",
    "EELS_MagneticShift_Offset": "EELS_Offset",
    "LossMagnetic": "EELS_Offset",
    "eels_x_scale": "EELS_Dispersion",
}

TryFloat = stem_controller.TryValue[float]


class Controls(InstrumentDevice.ValueManagerLike):
    """Values by name; two-dimensional ones as ``name.x`` and ``name.y``.

    Attributes
    ----------
    about_to_change : callable or None
        Called before a value changes, so that what happened under the old value can be settled.
    changed_event : Event
        Fired with the name after a value has changed.
    """

    def __init__(self) -> None:
        self.about_to_change: Callable[[str], None] | None = None
        self.changed_event = Event.Event()
        self._values = dict(DEFAULTS)
        self._streams: dict[str, Stream.ValueStream[TryFloat]] = {}
        self._special: dict[str, tuple[Callable[[], float], Callable[[float], None]]] = {}
        self._lock = threading.RLock()

    def add_special(self, name: str, get: Callable[[], float], put: Callable[[float], None]) -> None:
        """Add a control whose value is kept elsewhere, such as the beam blanker."""
        self._special[name] = (get, put)

    def snapshot(self) -> dict[str, float]:
        """Return all values, for `restore`."""
        with self._lock:
            return dict(self._values)

    def restore(self, values: Mapping[str, float]) -> None:
        """Set back what has changed since `snapshot`."""
        for name, value in values.items():
            if self._values.get(name) != value:
                self.set_value(name, value)

    def get_value(self, name: str) -> float | None:
        """Return a value, or None if there is no such control."""
        if name in self._special:
            return self._special[name][0]()
        return self._values.get(_ALIASES.get(name, name))

    def set_value(self, name: str, value: float) -> bool:
        """Set a value; False if there is no such control or it cannot have that value."""
        name = _ALIASES.get(name, name)
        least, most = LIMITS.get(name, (-math.inf, math.inf))
        if not (math.isfinite(value) and least <= value <= most):
            return False
        if name in self._special:
            self._special[name][1](value)
            self.changed_event.fire(name)
            return True
        if name not in self._values:
            return False
        if self._values[name] != value:
            if self.about_to_change is not None:
                self.about_to_change(name)
            with self._lock:
                self._values[name] = float(value)
            stream = self._streams.get(name)
            if stream is not None:
                stream.value = TryFloat(value)
            self.changed_event.fire(name)
        return True

    def inform_value(self, name: str, value: float) -> bool:
        """Set a value without moving what depends on it; nothing does here."""
        return self.set_value(name, value)

    def get_value_2d(
        self,
        s: str,
        default_value: Geometry.FloatPoint | None = None,
        *,
        axis: stem_controller.AxisType | None = None,
    ) -> Geometry.FloatPoint:
        """Return a pair of values."""
        x, y = self.get_value(f"{s}.x"), self.get_value(f"{s}.y")
        if x is None or y is None:
            if default_value is None:
                raise KeyError(f"the simulator has no two-dimensional control {s!r}")
            return default_value
        return Geometry.FloatPoint(y=y, x=x)

    def set_value_2d(self, s: str, value: Geometry.FloatPoint, *, axis: stem_controller.AxisType | None = None) -> bool:
        """Set a pair of values."""
        return self.set_value(f"{s}.x", value.x) and self.set_value(f"{s}.y", value.y)

    def inform_control_2d(self, s: str, value: Geometry.FloatPoint, *, axis: stem_controller.AxisType) -> bool:
        """Set a pair of values."""
        return self.set_value_2d(s, value)

    def get_reference_setting_index(self, settings_control: str) -> int:
        """Return the setting used for alignment; there is one."""
        return 0

    def get_control_try_value_stream(self, control_name: str) -> Stream.AbstractStream[TryFloat]:
        """Return a stream that follows a value."""
        name = _ALIASES.get(control_name, control_name)
        if name not in self._streams:
            value = self.get_value(name)
            missing = None if value is not None else KeyError(f"the simulator has no control {control_name!r}")
            self._streams[name] = Stream.ValueStream(TryFloat(value, missing))
        return self._streams[name]


class PlainAxes(InstrumentDevice.AxisManagerLike):
    """All axes of the simulated instrument coincide."""

    @property
    def supported_axis_descriptions(self) -> Sequence[stem_controller.AxisDescription]:
        """None beside the native axes x and y."""
        return []

    def axis_transform_point(
        self,
        point: Geometry.FloatPoint,
        from_axis: stem_controller.AxisDescription,
        to_axis: stem_controller.AxisDescription,
    ) -> Geometry.FloatPoint:
        """Return the point as it is."""
        return point
