"""The Bragg disks of a live run: their map and how many there are where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from esteemcore import diffraction, fourd
from esteemcore.diffraction.disks import processors

NAME = "bragg"
"""Of the reducer."""


def reducers(geometry: fourd.Geometry, significance: float | None) -> dict[str, Any]:
    """Return what finds the disks, by name; nothing where no significance is given.

    Half of the processors are left to the window, the store and the other images.

    Raises
    ------
    ParameterError
        If the disks are too small to be told from hot pixels.
    """
    if significance is None:
        return {}
    threads = max(1, processors() // 2)
    found = diffraction.BraggMap(geometry.disk_px, significance=significance, oversampling=1, threads=threads)
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
