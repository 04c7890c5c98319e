"""What a live view of a 4D-STEM scan shows: one set of reducers, one set of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import CalibrationError
from esteemcore.fourd.center_of_mass import CenterOfMass, integrate
from esteemcore.fourd.geometry import Geometry
from esteemcore.fourd.ssb import SingleSideband
from esteemcore.fourd.statistics import FrameStatistics
from esteemcore.fourd.virtual import VirtualDetectors, annular_mask
from esteemcore.stream import Chunk, Reducer, Spec, run

DARK_FIELD_GAP = 1.05
"""Where the annular dark field starts, in semi-angles: clear of the edge of the bright-field disk."""


@dataclasses.dataclass(frozen=True)
class LiveImage:
    """An image of a live view.

    Attributes
    ----------
    title : str
        What it shows.
    data : ndarray, shape (y, x)
        NaN where nothing is known yet.
    unit : str
        Unit of the values.
    axes_mrad : ((float, float), (float, float)), optional
        First value and step of rows and of columns in mrad, for what lies on the detector. None: an image of the scan.
    """

    title: str
    data: NDArray[np.floating]
    unit: str
    axes_mrad: tuple[tuple[float, float], ...] | None = None


def live_reducers(
    geometry: Geometry | None, frame_shape: tuple[int, int], *, bins: int = 128, regularization: float = 0.03
) -> dict[str, Reducer[Any, Any]]:
    """Return the reducers of a live view, by name.

    Parameters
    ----------
    geometry : Geometry or None
        Without calibrations only the frame statistics are made.
    frame_shape : tuple of int
        ``(ky, kx)`` of the detector.
    bins, regularization
        See `SingleSideband`.

    Raises
    ------
    CalibrationError
        If the bright-field disk does not fit on the detector.
    """
    reducers: dict[str, Reducer[Any, Any]] = {"statistics": FrameStatistics()}
    if geometry is None:
        return reducers
    bright = geometry.bright_field(frame_shape)
    masks = {"bf": bright}
    dark = annular_mask(geometry, frame_shape, DARK_FIELD_GAP * geometry.semiangle_mrad, np.inf)
    if dark.any():
        masks["adf"] = dark
    reducers["detectors"] = VirtualDetectors(masks)
    reducers["com"] = CenterOfMass(geometry)
    reducers["ssb"] = SingleSideband(geometry, bins, regularization)
    return reducers


def warm_up(geometry: Geometry | None, spec: Spec, beside: Mapping[str, Reducer[Any, Any]] | None = None) -> None:
    """Compile and compute ahead what a live run of this kind needs, so that its first frames and images do not wait.

    Parameters
    ----------
    geometry : Geometry or None
        Calibrations of the run to come.
    spec : Spec
        Its frames.
    beside : mapping of str to Reducer, optional
        Reducers that the run has beside `live_reducers`.
    """
    frame = np.full((1, *spec.stored_shape), 255 if spec.packed else 1, spec.dtype)
    run({**live_reducers(geometry, spec.frame_shape), **(beside or {})}, spec, [Chunk(np.zeros(1, np.int64), frame)])


def live_images(results: Mapping[str, Any], geometry: Geometry | None) -> dict[str, LiveImage]:
    """Return the images of the results of `live_reducers`, by name.

    Parameters
    ----------
    results : mapping
        Results by the names of the reducers; those that are missing are left out.
    geometry : Geometry or None
        Needed for the integrated centre of mass.
    """
    images = {}
    if "detectors" in results:
        titles = {"bf": "Bright field", "adf": "Annular dark field"}
        for name, image in results["detectors"].images.items():
            images[name] = LiveImage(titles[name], image, "counts per frame")
    elif "statistics" in results:
        images["sum"] = LiveImage("Counts per frame", results["statistics"].sum, "counts per frame")
    if "com" in results:
        if geometry is None:
            raise CalibrationError("the integrated centre of mass needs the geometry")
        images["icom"] = LiveImage("Integrated centre of mass", integrate(results["com"].com, geometry), "rad")
    if "ssb" in results:
        images["ssb"] = LiveImage("SSB phase", results["ssb"].phase, "rad")
    return images
