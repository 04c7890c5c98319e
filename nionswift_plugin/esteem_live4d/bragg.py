"""The Bragg disks of a live run: their map and how many there are where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from esteemcore import diffraction, fourd, stream
from esteemcore.diffraction.disks import processors
from esteemcore.errors import CalibrationError, ParameterError

NAME = "bragg"
"""Of the reducer."""


def reducers(geometry: fourd.Geometry, spec: stream.Spec, significance: float) -> dict[str, Any]:
    """Return what finds the disks, by name.

    Half of the processors are left to the window, the store and the other images.

    Raises
    ------
    CalibrationError
        If the disks are too small to be told from hot pixels, or too large for the frames.
    """
    threads = max(1, processors() // 2)
    try:
        found = diffraction.BraggMap(geometry.disk_px, significance=significance, oversampling=1, threads=threads)
        found.init(spec)
    except ParameterError as error:
        row, column = geometry.disk_px
        raise CalibrationError(
            f"no Bragg disks can be looked for with a semi-angle of {geometry.semiangle_mrad:g} mrad, {row:.3g} x "
            f"{column:.3g} px ({error}); change semi-angle or camera length, or uncheck the map"
        ) from error
    return {NAME: found}


def images(results: Mapping[str, Any], geometry: fourd.Geometry) -> dict[str, fourd.LiveImage]:
    """Return the images of what `reducers` found so far, by name."""
    found: diffraction.BraggVectors | None = results.get(NAME)
    if found is None:
        return {}
    axes = tuple(
        (first * pixel, step * pixel)
        for (first, step), pixel in zip(found.axes_px, geometry.pixel_pair_mrad, strict=True)
    )
    return {
        "bragg": fourd.LiveImage("Bragg vectors", found.vectors.astype(np.float32), "disks", axes),
        "disks": fourd.LiveImage("Bragg disks", found.disks, "disks per frame"),
    }
