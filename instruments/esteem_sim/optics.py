"""From controls in SI units to the beam, the detector and the aberrations of esteemcore."""

from __future__ import annotations

import math

from esteem_sim.controls import Controls
from esteemcore import simulate

FRAME_SHAPE = (256, 256)
"""Pixels of the camera (ky, kx)."""

_ROUND = ("C10", "C30")
_DIRECTED = {"C12": 2, "C21": 1, "C23": 3, "C32": 2, "C34": 4}


def value(controls: Controls, name: str) -> float:
    """Return a control that exists."""
    found = controls.get_value(name)
    if found is None:
        raise KeyError(f"the simulator has no control {name!r}")
    return found


def aberrations_nm(controls: Controls) -> dict[str, float | tuple[float, float]]:
    """Return the aberrations that are not zero, in nm and rad, as `esteemcore.optics.parse_aberrations` takes them.

    The controls ``.x`` and ``.y`` of a coefficient of multiplicity m are its magnitude times cos and sin of m times
    the azimuth.
    """
    found: dict[str, float | tuple[float, float]] = {}
    for name in _ROUND:
        if value(controls, name):
            found[name] = value(controls, name) * 1e9
    for name, multiplicity in _DIRECTED.items():
        x, y = value(controls, f"{name}.x"), value(controls, f"{name}.y")
        if x or y:
            found[name] = (math.hypot(x, y) * 1e9, math.atan2(y, x) / multiplicity)
    return found


def beam(controls: Controls) -> simulate.Beam:
    """Return the probe for the present controls."""
    return simulate.Beam(
        energy_kev=value(controls, "EHT") * 1e-3,
        semiangle_mrad=value(controls, "ConvergenceAngle") * 1e3,
        aberrations=aberrations_nm(controls),
    )


def detector(controls: Controls) -> simulate.Detector:
    """Return the camera for the present controls."""
    return simulate.Detector(FRAME_SHAPE, pixel_mrad=value(controls, "CameraPixelAngle") * 1e3)
