"""Options that several commands share: the calibrations of a 4D-STEM experiment."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from esteemcore import fourd
from esteemcore.errors import ParameterError

_CALIBRATIONS = {
    "scan_step_nm": "distance of scan positions in nm",
    "beam_energy_kev": "beam energy in keV",
    "semiangle_mrad": "convergence semi-angle in mrad",
    "pixel_mrad": "size of a detector pixel in mrad",
}


def add_calibrations(parser: argparse.ArgumentParser) -> None:
    """Declare the calibrations; given ones win over those in the file."""
    group = parser.add_argument_group("calibrations, where the file does not have them or has them wrong")
    for name, text in _CALIBRATIONS.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=float, help=text)
    group.add_argument("--center", nargs=2, type=float, metavar=("ROW", "COLUMN"), help="optical axis in pixels")
    group.add_argument("--rotation-deg", type=float, help="angle from the scan to the detector in degrees")
    group.add_argument("--flip", action="store_true", default=None, help="the detector is transposed")
    group.add_argument("--defocus-nm", type=float, help="defocus in nm (= -C10)")
    group.add_argument("--bins", type=int, default=128, help="bins of the bright-field disk (%(default)s)")


def calibrated(known: Mapping[str, Any], arguments: argparse.Namespace) -> tuple[fourd.Geometry | None, list[str]]:
    """Return the geometry of a file and the options together, or None and the names of what is missing."""
    names = (*_CALIBRATIONS, "center", "rotation_deg", "flip")
    values = {name: known[name] for name in (*names, "aberrations") if known.get(name) is not None}
    values |= {name: given for name in names if (given := getattr(arguments, name)) is not None}
    if arguments.defocus_nm is not None:
        values["aberrations"] = {**(values.get("aberrations") or {}), "C10": -arguments.defocus_nm}
    missing = [f"--{name.replace('_', '-')}" for name in _CALIBRATIONS if name not in values]
    return (None, missing) if missing else (fourd.Geometry(**values), [])


def result_folder(path: Path) -> Path:
    """Make the folder for results before the work begins, and return it.

    Raises
    ------
    ParameterError
        If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"the folder {path} cannot be made ({error.strerror}); choose another --out") from error
    return path


def stem(path: Path) -> str:
    """Return the name of a file or folder without its ending."""
    return path.resolve().stem
