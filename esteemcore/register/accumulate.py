"""A series of images or spectrum images, summed on the common grid of its alignment."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore.events import SparseSI
from esteemcore.register.accumulate_frames import frame_kind
from esteemcore.register.accumulate_result import Accumulated
from esteemcore.register.accumulate_running import Accumulator
from esteemcore.register.accumulate_sums import LARGEST_UPSAMPLE, drop_size
from esteemcore.register.alignment import Alignment


def accumulate(
    alignment: Alignment,
    spectrum_images: Iterable[Any],
    upsample: int = 1,
    variance: bool | str = True,
    *,
    drop_px: float = 1.0,
    masks: ArrayLike | None = None,
    energy_shift_channels: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> Accumulated:
    r"""Sum a series frame by frame, every sample where the specimen was, optionally on a finer grid.

    Only accepted frames are summed. One frame is in memory at a time, if ``spectrum_images`` is a generator or reads
    its frames when they are asked for.

    Parameters
    ----------
    alignment : Alignment
        From `align`, of n frames (y, x).
    spectrum_images : iterable of n frames
        Each an array (y, x, energy) or (y, x), or an `esteemcore.events.SparseSI`; or one array (n, y, x[, energy]),
        or one SparseSI (n, y, x, energy). Counts; finite wherever measured.
    upsample : int
        Fine pixels along one side of a pixel, 1 to 8: digital super-resolution.
    variance : bool or {"counting", "between"}
        What variance is kept; it doubles the memory. ``"counting"`` is for counts, one per electron or X-ray photon;
        ``"between"`` for any noise. True is ``"counting"`` where the frames hold whole numbers, else ``"between"``.
    drop_px : float
        Side of the square that a sample is spread over, in px of the frames, ``1 / upsample`` to 1.
    masks : array_like of bool, shape (n, y, x) or (y, x), optional
        True where a frame was measured, as in sparse scans. Other samples count for nothing. Default: everywhere.
    energy_shift_channels : array_like of float, shape (n,), optional
        Energy offset of each frame: a count of channel c of frame k belongs to channel ``c + shift[k]`` of the sum.
        It undoes the stepping of the drift tube, whole channels and fractions. Default: none.
    dtype : {"float32", "float64"}, optional
        Of the sums. Default: float32 for events, float64 for dense frames.
    progress : callable, optional
        Called with the fraction done after each frame.
    cancel : threading.Event, optional
        When set, the next frame raises `CancelledError`.

    Returns
    -------
    Accumulated
        The sum, its variance and the coverage.

    Raises
    ------
    ParameterError
        If there are more or fewer frames than the alignment has, none is accepted, a shape does not fit, or a
        displacement or a measured count is not finite.
    CancelledError
        If ``cancel`` was set.

    Notes
    -----
    **Footprint.** A sample is a square of side d = ``drop_px`` around its true position; a fine pixel gets the share w
    of the square that lies on it (area weights, as in the Drizzle method [1]_). With d = 1 a pixel of the frame becomes
    a block of U x U fine pixels that is moved by fractions of a fine pixel: exactly what magnifying every frame before
    registration does, without holes after one frame. The square blurs: details of f periods per px keep
    sinc(d f) of their contrast, 64 % at the Nyquist frequency of the frames and none at f = 1. With d = 1 / U the
    square is one fine pixel, and the events are shared bilinearly by four of them. That is the sharpest choice, for
    series with enough frames to cover the fine grid (look at `coverage`). Without upsampling both are bilinear.

    **Counts.** The weights of a sample sum to one, so that ``data.sum() + outside == counts`` to rounding. Samples that
    fall beside the grid are counted in ``outside``.

    **Variance** is that of `data`, of each fine pixel for itself; neighbours share samples and are correlated. With
    samples of weight w and count n, W = sum w and W2 = sum w²:

    - ``"counting"``: ``sum w² n``. Unbiased for Poisson counts, also where the specimen differs from sample to sample.
      For values in other units than counts it is wrong by their gain.
    - ``"between"``: ``W2 (sum w n² - (sum w n)² / W) / (W - W2 / W)``, from the scatter of the samples. Unbiased for
      any independent noise where the samples of a pixel share mean and variance; where the specimen changes within a
      pixel, or from frame to frame, the change is counted as noise. NaN where a single sample fell.

    **Precision.** float32 holds sums of whole counts exactly up to 2^24 = 1.7e7, and above that rounds each addition by
    at most 6e-8 of the sum: events never reach that. Dense frames can (230 frames of 1e6 counts are 2.3e8), and 230
    roundings of one sign would cost 7e-6; their sums are float64.

    **Cost.** An event touches (d U + 1)² fine pixels on average, in each of which a 4-byte number is read and written
    at a random place, and another one with variance.

    References
    ----------
    .. [1] A. S. Fruchter, R. N. Hook, Publ. Astron. Soc. Pacific 114, 144 (2002), doi:10.1086/338393.
    .. [2] L. Jones et al., Microscopy 67, i98 (2018), doi:10.1093/jmicro/dfx125.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import register
    >>> rng = np.random.default_rng(0)
    >>> truth = np.kron(rng.random((8, 8)), np.ones((4, 4)))
    >>> images = rng.poisson(50 * truth, (6, 32, 32))
    >>> alignment = register.align(images, model="rigid")
    >>> spectra = (rng.poisson(truth[..., None] * [1.0, 2.0]) for _ in images)
    >>> total = register.accumulate(alignment, spectra, upsample=2)
    >>> total.data.shape
    (64, 64, 2)
    >>> bool(np.isclose(total.data.sum() + total.outside, total.counts))
    True
    """
    if not all(hasattr(alignment, part) for part in ("shape", "accepted", "field")):
        raise ParameterError(f"alignment is a {type(alignment).__name__}; expected what register.align returns")
    shape = checks.shape_2d("the shape of the alignment", alignment.shape)
    accepted = checks.boolean_mask("accepted of the alignment", alignment.accepted, (len(alignment.accepted),))
    n = len(accepted)
    if n == 0:
        raise ParameterError("the alignment has no frames; align a series first")
    if not accepted.any():
        reasons = sorted({reason for reason in alignment.reasons if reason})
        raise ParameterError(
            f"none of the {n} frames of the alignment was accepted ({'; '.join(reasons) or 'no reason given'})"
        )
    upsample = checks.integer("upsample", upsample, minimum=1, maximum=LARGEST_UPSAMPLE)
    drop_size(drop_px, upsample)
    measured = series_masks(masks, n, shape)
    shifts = energy_shifts(energy_shift_channels, n)
    steps = Progress(n, progress, cancel)
    steps.step(0)
    running: Accumulator | None = None
    number = 0
    for frame in frames_of(spectrum_images):
        if number == n:
            raise ParameterError(f"there are more frames than the {n} of the alignment; give the series it is made of")
        if accepted[number]:
            if running is None:
                running = _accumulator(frame, shape, upsample, variance, drop_px, dtype)
            mask = None if measured is None else measured[number]
            running._add(frame, alignment.field[number], mask, shifts[number], f"frame {number}")
        del frame  # so that a generator may make the next one in its place
        number += 1
        steps.step()
    if number < n or running is None:
        raise ParameterError(f"there are only {number} frames; the alignment has {n}")
    common = np.kron(alignment.common_region, np.ones((upsample, upsample), np.bool_))
    settings = {"accepted": accepted, "field": alignment.field, "masks": measured, "energy_shift_channels": shifts}
    return running._result(copy=False, common_region=common, provenance=settings)


def _accumulator(
    frame: Any, shape: tuple[int, int], upsample: int, variance: bool | str, drop_px: float, dtype: DTypeLike | None
) -> Accumulator:
    given, _ = frame_kind(frame)
    if len(given) not in (2, 3):
        raise ParameterError(f"a frame has shape {given}; expected an image (y, x) or a spectrum image (y, x, energy)")
    channels = given[2] if len(given) == 3 else None
    return Accumulator(shape, channels, upsample, variance, drop_px=drop_px, dtype=dtype)


def frames_of(series: Any) -> Iterator[Any]:
    """Yield the frames of a series one by one, holding none of them."""
    if isinstance(series, SparseSI):
        if len(series.shape) != 4:
            raise ParameterError(
                f"the sparse series has shape {series.shape}; expected (frame, y, x, energy), or a list of frames"
            )
        yield from _sparse_frames(series)
        return
    try:
        frames = iter(series)
    except TypeError:
        raise ParameterError(
            f"spectrum_images is a {type(series).__name__}; expected frames, one after the other"
        ) from None
    yield from frames


def _sparse_frames(series: SparseSI) -> Iterator[SparseSI]:
    pixels = series.shape[1] * series.shape[2]
    for number in range(series.shape[0]):
        offset = series.offset[number * pixels : (number + 1) * pixels + 1]
        entries = slice(offset[0], offset[-1])
        yield SparseSI(
            series.shape[1:], series.dtype, offset - offset[0], series.channel[entries], series.count[entries]
        )


def series_masks(masks: ArrayLike | None, n: int, shape: Sequence[int]) -> NDArray[np.bool_] | None:
    """Return masks (n, y, x), or None where everything was measured."""
    if masks is None:
        return None
    given = np.asarray(masks)
    if given.ndim == 2:
        return np.broadcast_to(checks.boolean_mask("masks", given, tuple(shape)), (n, *shape))
    return checks.boolean_mask("masks", given, (n, *shape))


def energy_shifts(shifts: ArrayLike | None, n: int) -> NDArray[np.float64]:
    """Return the energy offset of each frame in channels."""
    if shifts is None:
        return np.zeros(n)
    given = np.asarray(shifts)
    if given.shape != (n,) or given.dtype.kind not in "iuf" or not np.isfinite(given).all():
        raise ParameterError(
            f"energy_shift_channels has shape {given.shape} and dtype {given.dtype}; expected {n} finite numbers, one "
            "per frame"
        )
    return given.astype(np.float64)
