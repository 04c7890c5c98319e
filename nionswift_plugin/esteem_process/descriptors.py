"""Between the axes of a signal and what Nion Swift calls sequence, collection and datum."""

from __future__ import annotations

from collections.abc import Sequence

from nion.data import Calibration, DataAndMetadata

from esteemcore.errors import FormatError
from esteemcore.io import Axis

ENERGY_UNITS = ("eV", "keV", "meV")
RECIPROCAL_UNITS = ("mrad", "rad", "1/nm", "1/Å", "1/A", "nm^-1")
SPECTRAL = ("energy", "wavelength")


def axis_names(
    descriptor: DataAndMetadata.DataDescriptor, calibrations: Sequence[Calibration.Calibration]
) -> list[str]:
    """Return the names of the axes of a data item, by which Esteem knows images, spectra and detector frames.

    Parameters
    ----------
    descriptor : DataDescriptor
    calibrations : sequence of Calibration
        One per axis; their units tell energies from wavelengths, and images from diffraction patterns.
    """
    names = ["frame"] if descriptor.is_sequence else []
    names += {0: [], 1: ["x"], 2: ["y", "x"]}[descriptor.collection_dimension_count]
    units = [calibration.units for calibration in calibrations[len(names) :]]
    if descriptor.datum_dimension_count == 1:
        scanned = descriptor.collection_dimension_count > 0
        if units[0] in ENERGY_UNITS or (scanned and units[0] != "nm"):
            return [*names, "energy"]
        return [*names, "wavelength" if scanned else "x"]
    reciprocal = descriptor.collection_dimension_count > 0 or all(unit in RECIPROCAL_UNITS for unit in units)
    return [*names, *(("ky", "kx") if reciprocal else ("y", "x"))]


def descriptor_for(axes: Sequence[Axis]) -> DataAndMetadata.DataDescriptor:
    """Return how Nion Swift shows a signal with these axes.

    Raises
    ------
    FormatError
        If it has more axes than Nion Swift can show.
    """
    names = [axis.name for axis in axes]
    is_sequence = len(names) > 1 and names[0] == "frame"
    rest = names[1:] if is_sequence else names
    datum = 1 if rest[-1] in SPECTRAL else min(len(rest), 2)
    if len(rest) == 3:
        datum = 2 if rest[-2:] == ["ky", "kx"] else 1
    if len(rest) - datum > 2:
        raise FormatError(
            f"it has {len(names)} axes ({', '.join(names)}), more than Nion Swift shows; store a part of it"
        )
    return DataAndMetadata.DataDescriptor(is_sequence, len(rest) - datum, datum)


def calibration_of(axis: Axis) -> Calibration.Calibration:
    """Return the calibration of an axis; pixels where its steps differ."""
    if axis.values is not None or axis.scale == 0:
        return Calibration.Calibration()
    return Calibration.Calibration(axis.offset, axis.scale, axis.unit)
