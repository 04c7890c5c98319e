"""The average of a motif over all its repeats in a series of images or spectrum images."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.events import SparseSI
from esteemcore.register.accumulate import energy_shifts, frames_of, series_masks
from esteemcore.register.accumulate_frames import Frame, frame_kind, make_ready
from esteemcore.register.accumulate_result import divided
from esteemcore.register.accumulate_running import _float_dtype, _reached, sample_positions
from esteemcore.register.accumulate_sums import LARGEST_UPSAMPLE, Sums, drop_size, variance_kind
from esteemcore.register.alignment import Alignment
from esteemcore.register.motif import MotifPlaces


@dataclasses.dataclass(frozen=True, eq=False)
class MotifAverage:
    """Copies of a motif summed in its own frame; the centre of the motif is the centre of the arrays.

    Attributes
    ----------
    data : ndarray of float32 or float64, shape (rows * upsample, columns * upsample[, energy])
        **Sum** of the counts of all copies, ``sum w n`` over all samples with count n and weight w.
    variance : ndarray like `data`, or None
        Variance of `data`, see `variance_kind`; NaN where it cannot be told.
    variance_kind : {"counting", "between", ""}
        As in `Accumulated`. ``"between"`` counts differences between the copies as noise.
    coverage : ndarray of float64, shape (rows * upsample, columns * upsample)
        Number of samples that fell on each fine pixel, in fractions: the sum of their weights w.
    channel_coverage : ndarray of float64, shape (energy,), or None
        Share of the copies that reached each channel; None for images.
    count : int
        Copies that were summed, cut ones included: pairs of a place and a frame.
    frames : int
        Frames they are from.
    upsample : int
        Fine pixels along one side of a pixel of the frames.
    drop_px : float
        Side of the square that a sample is spread over, in px of the frames.
    provenance : Provenance
        Where the result comes from.
    """

    data: NDArray[Any]
    variance: NDArray[Any] | None
    variance_kind: str
    coverage: NDArray[np.float64]
    channel_coverage: NDArray[np.float64] | None
    count: int
    frames: int
    upsample: int
    drop_px: float
    provenance: Provenance

    @property
    def mean(self) -> NDArray[Any]:
        """Mean counts per sample, ``data / coverage``, of the dtype of `data`; NaN where nothing fell."""
        return divided(self.data, self.coverage, self.channel_coverage)

    @property
    def mean_variance(self) -> NDArray[Any] | None:
        """Variance of `mean`, ``variance / coverage²``; NaN where nothing fell. None without variance."""
        if self.variance is None:
            return None
        channels = None if self.channel_coverage is None else self.channel_coverage**2
        return divided(self.variance, self.coverage**2, channels)

    @property
    def image(self) -> NDArray[np.float64]:
        """Mean counts per sample of all channels together, (rows * upsample, columns * upsample)."""
        total = self.data.sum(axis=-1, dtype=np.float64) if self.data.ndim == 3 else self.data.astype(np.float64)
        return divided(total, self.coverage)


def average_motif(
    places: MotifPlaces,
    spectrum_images: Iterable[Any],
    alignment: Alignment | None = None,
    size: int | Sequence[int] | None = None,
    upsample: int = 1,
    variance: bool | str = True,
    *,
    drop_px: float | None = None,
    masks: ArrayLike | None = None,
    energy_shift_channels: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> MotifAverage:
    r"""Sum the samples around all places of a motif, every sample where it was taken within the motif.

    One frame is in memory at a time, if ``spectrum_images`` is a generator or reads its frames when they are asked for.

    Parameters
    ----------
    places : MotifPlaces
        From `find_motif`, at least one.
    spectrum_images : iterable of frames
        Each an array (y, x, energy) or (y, x), or an `esteemcore.events.SparseSI`; or one array (n, y, x[, energy]),
        or one SparseSI (n, y, x, energy). Counts; finite wherever measured. Write a single frame as ``[frame]``.
    alignment : Alignment, optional
        Of the frames; only accepted ones are summed. Needed where the places were found in its mean. Places that were
        found frame by frame use it for the displacement within a copy only. Default: no displacement; then there are
        as many frames as were searched.
    size : int or (int, int), optional
        Rows and columns around the centre, in px. Default: those of the motif.
    upsample : int
        Fine pixels along one side of a pixel, 1 to 8. Copies that lie at different fractions of a pixel sample the
        motif finely.
    variance : bool or {"counting", "between"}
        What variance is kept, see `accumulate`.
    drop_px : float, optional
        Side of the square that a sample is spread over, in px, ``1 / upsample`` to 1. Default: ``1 / upsample``, which
        shares each count bilinearly among four fine pixels.
    masks : array_like of bool, shape (n, y, x) or (y, x), optional
        True where a frame was measured. Default: everywhere.
    energy_shift_channels : array_like of float, shape (n,), optional
        A count of channel c of frame k belongs to channel ``c + shift[k]`` of the sum. Default: none.
    dtype : {"float32", "float64"}, optional
        Of the sums. Default: float32 for events, float64 for dense frames.
    progress : callable, optional
        Called with the fraction done after each frame.
    cancel : threading.Event, optional
        When set, the next frame raises `CancelledError`.

    Returns
    -------
    MotifAverage
        The sum, its variance, the coverage and the number of copies.

    Raises
    ------
    ParameterError
        If there are no places, no frame is accepted, a shape or the number of frames does not fit, an alignment is
        needed and missing, no sample lies near any place, or a measured count is not finite.
    CancelledError
        If ``cancel`` was set.

    Notes
    -----
    With the true position p of a sample, the centre c of a copy and its angle a (from x towards y), the sample belongs
    at ``R(-a) (p - c)`` from the centre of the motif. Places of one frame are given by the pixels of that frame; p and
    c are both moved by the alignment there, c by the mean displacement of the samples under the motif. The squares of
    samples are not turned. Samples are spread and counted as in `accumulate`; what falls beside the motif is left out,
    so that the sum holds each count of a region once for every copy that it belongs to.

    The mean of k copies has a k-th of the variance of one. Neighbouring fine pixels share samples and are correlated.

    References
    ----------
    .. [1] L. Jones et al., Microscopy 67, i98 (2018), doi:10.1093/jmicro/dfx125.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import register
    >>> y, x = np.indices((64, 64))
    >>> image = 2 + np.cos(2 * np.pi * y / 16) + np.cos(2 * np.pi * x / 16)
    >>> places = register.find_motif(image, image[8:25, 8:25], threshold=0.9, visible=1.0)
    >>> counts = np.random.default_rng(0).poisson(image[..., None] * [1.0, 3.0])
    >>> cell = register.average_motif(places, [counts], size=16)
    >>> cell.data.shape, cell.count
    ((16, 16, 2), 9)
    """
    if not isinstance(places, MotifPlaces):
        raise ParameterError(f"places is a {type(places).__name__}; expected what find_motif returned")
    if not places.count:
        raise ParameterError("there are no places to average; look for the motif with a lower threshold")
    shape = places.image_shape
    n, accepted = _frames_wanted(places, alignment)
    box = places.shape if size is None else _box(size)
    upsample = checks.integer("upsample", upsample, minimum=1, maximum=LARGEST_UPSAMPLE)
    drop = drop_size(1 / upsample if drop_px is None else drop_px, upsample)
    variance_kind(variance, np.dtype(np.uint8))
    kind = None if dtype is None else _float_dtype(dtype)
    measured = series_masks(masks, n, shape)
    shifts = energy_shifts(energy_shift_channels, n)
    steps = Progress(n, progress, cancel)
    steps.step(0)
    sums: Sums | None = None
    channels: int | None = None
    reached: NDArray[np.float64] = np.zeros(1)
    number = count = frames = 0
    for frame in frames_of(spectrum_images):
        if number == n:
            raise ParameterError(f"there are more than the {n} frames that the places are for; {_ONE_FRAME}")
        here = np.flatnonzero(places.common | (places.frame == number)) if accepted[number] else np.empty(0, np.int64)
        if here.size:
            name = f"frame {number}"
            if not isinstance(frame, SparseSI):
                frame = np.asarray(frame)  # every place reads it
            if sums is None:
                channels, sums = _begin(frame, shape, box, upsample, variance, drop, kind)
                reached = np.zeros(channels or 1)
            ready = make_ready(frame, name, shape, channels, sums.data.dtype, shifts[number])
            field = np.zeros((shape[0], 2)) if alignment is None else alignment.field[number]
            taken = sample_positions(field, shape, name)
            added = _add_copies(
                sums, ready, taken, None if measured is None else measured[number], places, here, box, drop
            )
            count += added
            frames += added > 0
            reached += added * _reached(channels or 1, shifts[number])
            del ready
        del frame  # so that a generator may make the next one in its place
        number += 1
        steps.step()
    if number < n:
        raise ParameterError(f"there are only {number} frames; the places are for {n}")
    if sums is None or not count:
        raise ParameterError("no measured sample of an accepted frame lies near any place")
    return _result(sums, channels, reached, count, frames, upsample, drop, places, alignment, measured, shifts)


_ONE_FRAME = "write a single frame as [frame]"


def _frames_wanted(places: MotifPlaces, alignment: Alignment | None) -> tuple[int, NDArray[np.bool_]]:
    """Return how many frames there must be, and which of them count."""
    if alignment is None:
        if places.common and places.aligned:
            raise ParameterError("the places were found in the mean of an alignment; give it as alignment=")
        return places.frames, np.ones(places.frames, np.bool_)
    if tuple(alignment.shape) != places.image_shape:
        raise ParameterError(
            f"the alignment is of frames of shape {tuple(alignment.shape)}; the motif was looked for in "
            f"{places.image_shape}"
        )
    n = len(alignment.accepted)
    if n != places.frames and (places.aligned or not places.common):
        raise ParameterError(f"the alignment has {n} frames; the places are for {places.frames}")
    if not alignment.accepted.any():
        raise ParameterError(f"none of the {n} frames of the alignment was accepted")
    return n, alignment.accepted


def _box(size: int | Sequence[int]) -> tuple[int, int]:
    return checks.shape_2d("size", size if isinstance(size, Sequence | np.ndarray) else (size, size))


def _begin(
    frame: Any,
    shape: tuple[int, int],
    box: tuple[int, int],
    upsample: int,
    variance: bool | str,
    drop: float,
    dtype: np.dtype[Any] | None,
) -> tuple[int | None, Sums]:
    """Return the number of channels, None for images, and empty sums for frames like this one."""
    given, values = frame_kind(frame)
    if len(given) not in (2, 3) or given[:2] != shape:
        raise ParameterError(
            f"a frame has shape {given}; expected {shape}, the image that the motif was looked for in, with or without "
            f"an energy axis; {_ONE_FRAME}"
        )
    channels = given[2] if len(given) == 3 else None
    events = isinstance(frame, SparseSI)
    kind = variance_kind(variance, values)
    dtype = dtype or np.dtype(np.float32 if events else np.float64)
    if kind == "between" and not events and dtype != np.float64:
        raise ParameterError(
            "variance between dense samples is the difference of large sums, which float32 cannot hold; give "
            "dtype='float64', or variance='counting' where the values are counts"
        )
    return channels, Sums(box, channels or 1, upsample, drop, dtype, kind)


def _add_copies(
    sums: Sums,
    frame: Frame,
    taken: NDArray[np.float64],
    mask: NDArray[np.bool_] | None,
    places: MotifPlaces,
    chosen: NDArray[np.int64],
    box: tuple[int, int],
    drop: float,
) -> int:
    """Add the samples (taken at these positions, (y, x, 2)) around the chosen places; return how many had any."""
    lines = taken[..., 0].min(axis=1), taken[..., 0].max(axis=1)
    added = 0
    for place in chosen:
        centre = np.array([places.y[place], places.x[place]])
        if not places.common:
            centre += _mean_displacement(taken, centre, places.shape)
        angle = math.radians(places.angle_deg[place])
        c, s = math.cos(angle), math.sin(angle)
        half = (box[0] + drop) / 2, (box[1] + drop) / 2
        reach = abs(c) * half[0] + abs(s) * half[1], abs(c) * half[1] + abs(s) * half[0]
        rows = _span(*lines, centre[0], reach[0])
        across = taken[rows, :, 1]
        if not len(across):
            continue
        columns = _span(across.min(axis=0), across.max(axis=0), centre[1], reach[1])
        away = taken[rows, columns] - centre
        turned = np.empty_like(away)
        turned[..., 0] = c * away[..., 0] - s * away[..., 1] + (box[0] - 1) / 2
        turned[..., 1] = s * away[..., 0] + c * away[..., 1] + (box[1] - 1) / 2
        if mask is not None:
            turned[~mask[rows, columns]] = np.nan
        before = sums.coverage.sum()
        sums.add(frame, sums.starts(turned), (rows.start, columns.start))
        added += bool(sums.coverage.sum() > before)
    return added


def _span(low: NDArray[np.float64], high: NDArray[np.float64], centre: float, reach: float) -> slice:
    """Return from which to which index the intervals from low to high come near the centre."""
    near = np.flatnonzero((high > centre - reach) & (low < centre + reach))
    return slice(int(near[0]), int(near[-1]) + 1) if near.size else slice(0, 0)


def _mean_displacement(
    taken: NDArray[np.float64], centre: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the mean displacement of the samples under a motif, whose place is given in pixels of the frame."""
    limit = np.array(taken.shape[:2])
    first = np.clip(np.rint(centre - (np.array(shape) - 1) / 2).astype(int), 0, limit - 1)
    last = np.clip(first + shape, first + 1, limit)
    part = taken[first[0] : last[0], first[1] : last[1]].mean(axis=(0, 1))
    displacement: NDArray[np.float64] = part - (first + last - 1) / 2
    return displacement


def _result(
    sums: Sums,
    channels: int | None,
    reached: NDArray[np.float64],
    count: int,
    frames: int,
    upsample: int,
    drop: float,
    places: MotifPlaces,
    alignment: Alignment | None,
    masks: NDArray[np.bool_] | None,
    shifts: NDArray[np.float64],
) -> MotifAverage:
    data, variance = sums.finish(copy=False)
    parameters = {
        "frame": places.frame,
        "y": places.y,
        "x": places.x,
        "angle_deg": places.angle_deg,
        "common": places.common,
        "accepted": None if alignment is None else alignment.accepted,
        "field": None if alignment is None else alignment.field,
        "upsample": upsample,
        "variance": sums.kind,
        "drop_px": drop,
        "dtype": str(data.dtype),
        "masks": masks,
        "energy_shift_channels": shifts,
        "count": count,
        "frames": frames,
    }
    spectrum = data.sum(axis=(0, 1), dtype=np.float64)
    return MotifAverage(
        data=data[..., 0] if channels is None else data,
        variance=None if variance is None else variance[..., 0] if channels is None else variance,
        variance_kind=sums.kind,
        coverage=sums.coverage,
        channel_coverage=None if channels is None else reached / count,
        count=count,
        frames=frames,
        upsample=upsample,
        drop_px=drop,
        provenance=record("register.average_motif", parameters, input_digest=digest(sums.coverage, spectrum)),
    )
