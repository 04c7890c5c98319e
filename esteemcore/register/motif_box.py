"""From a box in an image to the average of all its repeats, image and spectra together."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import ProgressFunction
from esteemcore.events import SparseSI
from esteemcore.register.motif import MotifPlaces, find_motif
from esteemcore.register.motif_average import MotifAverage, average_motif


@dataclasses.dataclass(frozen=True, eq=False)
class BoxAverage:
    """A motif, where it repeats, and its averages.

    Attributes
    ----------
    places : MotifPlaces
        Where it was found.
    image : MotifAverage
        Average of the image.
    spectra : MotifAverage or None
        Average of the spectra.
    """

    places: MotifPlaces
    image: MotifAverage
    spectra: MotifAverage | None


def average_box(
    image: ArrayLike,
    box: Sequence[Sequence[int]],
    spectra: Any = None,
    threshold: float = 0.5,
    upsample: int = 1,
    *,
    overlap: float = 0.5,
    rotations_deg: Sequence[float] | None = None,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> BoxAverage:
    """Cut a motif out of an image, find its repeats, and average image and spectra over them.

    Parameters
    ----------
    image : array_like, shape (y, x) or (n, y, x)
        An image, such as the mean of an aligned series, or a series of high dose, of which each frame is searched; the
        motif is cut from the first.
    box : ((int, int), (int, int))
        First row and column of the motif, and its rows and columns, in px.
    spectra : array_like or SparseSI, shape (y, x, energy) or (n, y, x, energy), optional
        Spectra of the same places.
    threshold, overlap, rotations_deg
        See `find_motif`.
    upsample : int
        Fine pixels along one side of a pixel, 1 to 8.
    progress : callable, optional
        Called with the fraction done.
    cancel : threading.Event, optional
        When set, the work stops with `CancelledError`.

    Returns
    -------
    BoxAverage

    Raises
    ------
    ParameterError
        If the box lies beside the image, shapes do not fit, or nothing is found.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import register
    >>> y, x = np.indices((64, 64))
    >>> image = 2 + np.cos(2 * np.pi * y / 16) + np.cos(2 * np.pi * x / 16)
    >>> found = register.average_box(image, ((8, 8), (16, 16)), image[..., None] * [1, 3], threshold=0.9)
    >>> found.spectra.data.shape, found.spectra.count
    ((16, 16, 2), 9)
    """
    series = np.asarray(image)
    if series.ndim not in (2, 3):
        raise ParameterError(f"image has shape {series.shape}; expected (y, x) or (n, y, x)")
    single = series.ndim == 2
    series = series[None] if single else series
    (top, left), (rows, columns) = ((int(a), int(b)) for a, b in box)
    if min(top, left) < 0 or min(rows, columns) < 3 or top + rows > series.shape[1] or left + columns > series.shape[2]:
        raise ParameterError(
            f"the box of {rows} x {columns} px at row {top}, column {left} does not lie in the image of "
            f"{series.shape[1]} x {series.shape[2]} px, or is smaller than 3 px; draw it anew"
        )
    if spectra is not None:
        dims = len(spectra.shape)
        if tuple(spectra.shape[:-1]) != series.shape[int(single) :] or dims != 3 + (not single):
            raise ParameterError(
                f"the spectra have shape {tuple(spectra.shape)} and the image {np.shape(image)}; give spectra of the "
                "same pixels"
            )

    def share(low: float, high: float) -> ProgressFunction | None:
        return None if progress is None else lambda done: progress(low + (high - low) * done)

    motif = series[0, top : top + rows, left : left + columns]
    places = find_motif(
        series[0] if single else series, motif, threshold, overlap, rotations_deg=rotations_deg,
        progress=share(0.0, 0.3), cancel=cancel,
    )  # fmt: skip
    values = np.where(np.isfinite(series), series, 0)
    averaged = average_motif(
        places, values, upsample=upsample, masks=np.isfinite(series), progress=share(0.3, 0.4), cancel=cancel
    )
    total = None
    if spectra is not None:
        frames = [spectra] if single else spectra
        if not single and not isinstance(spectra, SparseSI):
            frames = (np.asarray(spectra[k]) for k in range(len(series)))
        total = average_motif(places, frames, upsample=upsample, progress=share(0.4, 1.0), cancel=cancel)
    return BoxAverage(places, averaged, total)
