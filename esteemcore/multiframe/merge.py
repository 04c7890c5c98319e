"""Sets of frames from areas side by side, added up as one experiment once each is aligned."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage

from esteemcore import register
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import Provenance, record
from esteemcore.multiframe.maps import ElementMap, MeasuredMap, check_windows, checked_maps
from esteemcore.multiframe.processed import ProcessedSeries
from esteemcore.multiframe.sources import Source, open_series
from esteemcore.multiframe.sums import RunningSums, channels_from_ev

SMOOTH_PX = 1.0
"""Blur of the mean images before they are compared, in px."""
LIKE = 0.5
"""Correlation of the mean image of an area with that of the first one, from which they show the same."""
NEAR = 0.8
"""An area is looked for around its own place, standard deviation in parts of its side: on a crystal any cell will do,
and the nearest one leaves most in common."""


@dataclasses.dataclass(frozen=True, eq=False)
class MergedAreas:
    """The sum of several areas.

    Attributes
    ----------
    shifts : ndarray of float64, shape (areas, 2)
        Where each area lies on the grid of the first one, (dy, dx) in px; on a crystal up to whole cells.
    likeness : ndarray of float64, shape (areas,)
        Correlation coefficient of its mean image with that of the first area, 1 for the first.
    accepted : ndarray of bool, shape (areas,)
        Whether it is in the sums: those that do not show what the first one shows are not.
    image : Accumulated
        Sum of the images, on the grid of the first area.
    spectra : Accumulated or None
        Sum of the spectra.
    energy_ev : ndarray of float64, shape (energy,), or None
    maps : dict of str to MeasuredMap
        In the sum.
    dose : float
        Of the frames in the sum, in the unit of the areas: that of the signal. No place of the specimen had it.
    frames : ndarray of int64, shape (areas,)
        How many frames of each area are in the sums.
    sources : tuple of str
        The areas.
    pixel_nm : (float, float) or None
        Height and width of a pixel of the frames.
    provenance : Provenance
    """

    shifts: NDArray[np.float64]
    likeness: NDArray[np.float64]
    accepted: NDArray[np.bool_]
    image: register.Accumulated
    spectra: register.Accumulated | None
    energy_ev: NDArray[np.float64] | None
    maps: dict[str, MeasuredMap]
    dose: float
    frames: NDArray[np.int64]
    sources: tuple[str, ...]
    pixel_nm: tuple[float, float] | None
    provenance: Provenance


def merge_areas(
    sources: Sequence[Source],
    processed: Sequence[ProcessedSeries],
    *,
    maps: Sequence[ElementMap] = (),
    upsample: int = 1,
    variance: bool | str = True,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> MergedAreas:
    """Add up the frames of several areas of one specimen, each aligned within itself.

    Sets of few frames on virgin areas of a crystal add up to one map, while no place gets more than the dose of its own
    set. Frames are read again and moved once, by the alignment of their area and the shift of the area together.

    Parameters
    ----------
    sources : sequence
        Of each area, as given to `process_series`.
    processed : sequence of ProcessedSeries
        What it gave, area by area.
    maps : sequence of ElementMap
        Measured in the sum.
    upsample : int
        Fine pixels along one side of a pixel, 1 to 8.
    variance : bool or {"counting", "between"}
        See `esteemcore.register.accumulate`.
    progress : callable, optional
        Called with the fraction done.
    cancel : threading.Event, optional
        When set, the work stops with `CancelledError`.

    Raises
    ------
    ParameterError
        If areas differ in size, signals or calibration, or fewer than two are given.
    CancelledError
        If ``cancel`` was set.

    Notes
    -----
    The shift of an area is where its mean image correlates best with that of the first one, near its own place. That is
    right for crystals, whose areas are alike up to a shift, and for areas that overlap. Areas with a correlation below
    0.5 show something else, or are too noisy to tell, and are left out.

    References
    ----------
    L. Jones et al., Microscopy 67, i98 (2018), test 3: 23 sets of 10 frames, doi:10.1093/jmicro/dfx125.
    """
    if len(sources) != len(processed) or len(processed) < 2:
        raise ParameterError(
            f"{len(sources)} sources and {len(processed)} processed series; give both for each area, two or more"
        )
    first = processed[0]
    _check_alike(processed)
    wanted = checked_maps(maps)
    check_windows(wanted, first.energy_ev)
    means = [_coarse_mean(area) for area in processed]
    places = [(np.zeros(2), 1.0), *(_place(means[0], mean) for mean in means[1:])]
    shifts, likeness = np.array([place for place, _ in places]), np.array([like for _, like in places])
    accepted = likeness >= LIKE
    shape = means[0].shape
    channels = None if first.spectra is None else first.spectra.data.shape[2]
    sums = RunningSums((shape[0], shape[1]), channels, first.energy_ev, wanted, upsample, variance, components=False)
    steps = Progress(sum(len(area.alignment) for area in processed), progress, cancel)
    for source, area, shift, is_alike in zip(sources, processed, shifts, accepted, strict=True):
        series = open_series(source, area.image_name, area.spectra_name)
        if len(series) != len(area.alignment):
            raise ParameterError(f"{series.path} has {len(series)} frames, but {len(area.alignment)} were aligned")
        for k in range(len(series)):
            if is_alike and area.alignment.accepted[k]:
                image = np.asarray(series.images[k]())
                spectra = series.spectra[k]() if channels is not None else None
                offset_ev = 0.0 if spectra is None else float(series.energy_offset_ev[k])
                offset = channels_from_ev(offset_ev, first.energy_ev)
                mask = np.isfinite(image)
                field = area.alignment.field[k] + shift
                sums.add(image, spectra, field, float(area.dose[k]), offset, None if mask.all() else mask)
            steps.step()
    total = None if sums.spectra is None else sums.spectra.result()
    if total is not None and wanted:
        sums.measure(total)
    parameters = {"areas": [area.source for area in processed], "maps": wanted, "upsample": upsample}
    made = record("multiframe.merge_areas", {**parameters, "variance": variance, "shifts": shifts})
    frames = np.array([area.alignment.accepted.sum() for area in processed], np.int64) * accepted
    return MergedAreas(
        shifts=shifts,
        likeness=likeness,
        accepted=accepted,
        image=sums.image.result(),
        spectra=total,
        energy_ev=first.energy_ev,
        maps=dict(sums.found),
        dose=sums.dose,
        frames=frames,
        sources=tuple(area.source for area in processed),
        pixel_nm=first.pixel_nm,
        provenance=made,
    )


def _check_alike(processed: Sequence[ProcessedSeries]) -> None:
    first = processed[0]
    for area in processed:
        if area.image_name is None:
            raise ParameterError(f"{area.source} has no image signal; areas are laid on each other by their images")
        size = area.before.shape
        if size != first.before.shape:
            raise ParameterError(
                f"{area.source} has frames of {size[0]} x {size[1]} pixels, but {first.source} of "
                f"{first.before.shape[0]} x {first.before.shape[1]}; areas of one experiment have the same size"
            )
        channels = [None if one.spectra is None else one.spectra.data.shape[2] for one in (first, area)]
        if channels[0] != channels[1] or (area.energy_shifts is not None and _is_binned(area)):
            raise ParameterError(f"{area.source} has other spectra than {first.source}; process all areas alike")
        if not _is_close(first.energy_ev, area.energy_ev, 0.1 * _step(first.energy_ev)):
            raise ParameterError(f"{area.source} has another energy axis than {first.source}; calibrate them alike")
        if not _is_close(first.pixel_nm, area.pixel_nm, 1e-3 * min(first.pixel_nm or (0.0,))):
            raise ParameterError(
                f"{area.source} has pixels of {_pixel(area)} nm, but {first.source} of {_pixel(first)}; areas of one "
                "experiment have the same pixels"
            )


def _is_close(one: ArrayLike | None, other: ArrayLike | None, within: float) -> bool:
    """Return whether two calibrations agree, as far as both are known."""
    return one is None or other is None or bool(np.abs(np.subtract(one, other)).max() <= within)


def _step(energy_ev: NDArray[np.float64] | None) -> float:
    return 0.0 if energy_ev is None or len(energy_ev) < 2 else float(np.abs(np.diff(energy_ev)).min())


def _pixel(area: ProcessedSeries) -> str:
    return " x ".join(f"{size:.4g}" for size in area.pixel_nm or ())


def _is_binned(area: ProcessedSeries) -> bool:
    """Return whether channels were added up, or energies aligned: frames that are read again are not."""
    parameters = area.provenance.parameters
    return parameters.get("bin_channels", 1) != 1 or parameters.get("align_energy") is not None


def _coarse_mean(area: ProcessedSeries) -> NDArray[np.float64]:
    """Return the mean image of an area in pixels of its frames, smoothed, without its own mean; 0 where none is."""
    rows, columns = area.before.shape
    fine = area.image.upsample
    data = area.image.data.reshape(rows, fine, columns, fine).sum(axis=(1, 3), dtype=np.float64)
    weights = area.image.coverage.reshape(rows, fine, columns, fine).sum(axis=(1, 3))
    known = weights > 0.3 * weights.max()
    mean = np.where(known, data / np.maximum(weights, 1e-9), 0.0)
    centred = np.where(known, mean - mean[known].mean(), 0.0)
    return np.asarray(ndimage.gaussian_filter(centred, SMOOTH_PX), np.float64)


def _place(reference: NDArray[np.float64], mean: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return where on the reference a mean image lies, and its correlation coefficient there."""
    size = [2 * n for n in reference.shape]
    support = fft.rfft2(np.ones(reference.shape), size)

    def correlated(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(fft.irfft2(a * np.conj(b), size), np.float64)

    one, other = fft.rfft2(reference, size), fft.rfft2(mean, size)
    power = correlated(fft.rfft2(reference**2, size), support) * correlated(support, fft.rfft2(mean**2, size))
    overlap = correlated(support, support) / reference.size
    like = correlated(one, other) / np.sqrt(np.maximum(power, 1e-12 * power.max()))
    dy, dx = np.meshgrid(*(fft.fftfreq(n, 1 / n) for n in size), indexing="ij")
    near = np.exp(-0.5 * ((dy / reference.shape[0]) ** 2 + (dx / reference.shape[1]) ** 2) / NEAR**2)
    score = np.where(overlap > 0.25, like * near, -np.inf)
    i, j = np.unravel_index(int(score.argmax()), score.shape)
    place = [
        at + _vertex(*(float(value) for value in around))
        for at, around in (
            (dy[i, j], (like[i - 1, j], like[i, j], like[(i + 1) % size[0], j])),
            (dx[i, j], (like[i, j - 1], like[i, j], like[i, (j + 1) % size[1]])),
        )
    ]
    return np.array(place), float(like[i, j])


def _vertex(before: float, here: float, after: float) -> float:
    """Return where the parabola through three values has its maximum, within half a step."""
    bend = before - 2 * here + after
    return 0.0 if bend >= 0 else min(max(0.5 * (before - after) / bend, -0.5), 0.5)
