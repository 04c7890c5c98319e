"""Merged areas as a container."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore import io
from esteemcore.multiframe.merge import MergedAreas
from esteemcore.multiframe.processed import plane

KEY = "merged_areas"
"""Where what is not an array lies in the metadata of the container."""


def save_merged(path: str | Path, result: MergedAreas, *, overwrite: bool = False) -> None:
    """Write the sums and maps of merged areas to a container that `esteemcore.io.load` opens.

    Signals ``mean``, ``image_sum``, ``coverage``, with spectra also ``spectra`` (their sum) and ``spectra_variance``,
    and of each map ``map_NAME`` and ``map_NAME_sigma``. Where each area lies is in the metadata, under
    ``merged_areas``.

    Parameters
    ----------
    path : str or Path
        Folder to make, ``*.esteem`` or ``*.zarr``.
    result : MergedAreas
    overwrite : bool
        Replace a container that is there already.

    Raises
    ------
    ParameterError
        If the name cannot be used.
    StreamError
        If the disk is full or refuses.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from esteemcore import io, multiframe
    >>> y, x = np.mgrid[:48, :48]
    >>> axes = tuple(io.Axis(name, n) for name, n in zip(("frame", "y", "x"), (3, 48, 48)))
    >>> areas = []
    >>> for shift in (0, 4):
    ...     frames = [np.exp(-((y + k - 20) ** 2 + (x + shift - 28) ** 2) / 50) for k in range(3)]
    ...     areas.append(io.Dataset({"adf": io.Signal(np.array(frames), axes)}))
    >>> merged = multiframe.merge_areas(areas, [multiframe.process_series(area) for area in areas])
    >>> path = tempfile.mkdtemp() + "/sum.esteem"
    >>> multiframe.save_merged(path, merged)
    >>> io.load(path).metadata["merged_areas"]["frames"]
    [3, 3]
    """
    upsample, pixel = result.image.upsample, result.pixel_nm
    signals = {
        "mean": plane(pixel, np.asarray(result.image.mean, np.float64), upsample, "counts per pixel and frame"),
        "image_sum": plane(pixel, result.image.data, upsample, "counts"),
        "coverage": plane(pixel, result.image.coverage, upsample, "samples"),
    }
    if (total := result.spectra) is not None:
        signals["spectra"] = plane(pixel, total.data, upsample, "counts", result.energy_ev)
        if total.variance is not None:
            signals["spectra_variance"] = plane(pixel, total.variance, upsample, "counts²", result.energy_ev)
    for name, found in result.maps.items():
        signals[f"map_{name}"] = plane(pixel, found.data, upsample, "counts")
        signals[f"map_{name}_sigma"] = plane(pixel, found.sigma, upsample, "counts")
    made = result.provenance.as_dict()
    signals = {k: dataclasses.replace(s, metadata={**s.metadata, "provenance": made}) for k, s in signals.items()}
    io.save(path, io.Dataset(signals, metadata={KEY: _described(result)}), overwrite=overwrite)


def _described(result: MergedAreas) -> dict[str, Any]:
    return {
        "sources": list(result.sources),
        "accepted": result.accepted.tolist(),
        "frames": result.frames.tolist(),
        "shifts_px": result.shifts.tolist(),
        "likeness": result.likeness.tolist(),
        "dose": float(result.dose),
        "maps": {name: dataclasses.asdict(found.element) for name, found in result.maps.items()},
        "provenance": result.provenance.as_dict(),
    }
