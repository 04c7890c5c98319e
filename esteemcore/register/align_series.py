"""Registration of a series of images: rigid, or line by line."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress
from esteemcore._core.provenance import digest, record
from esteemcore.register.alignment import MODELS, Alignment
from esteemcore.register.detail import blur_factor
from esteemcore.register.grid import Grid, Image
from esteemcore.register.lines import Frame, LineFit, make_frame
from esteemcore.register.places import Places, innovations
from esteemcore.register.residual import RESIDUAL_PASSES, fit_residual
from esteemcore.register.rigid import Correlator, place_frames
from esteemcore.register.samples import sampled, usual_range
from esteemcore.register.visits import Visits, raster_visits, series_visits

Floats = NDArray[np.float64]

BLURS_PX = (2.0, 1.4)
"""Blur of the mean in the passes before frames are judged; less for fine lattices, see `detail`."""
LAST_BLUR_PX = 0.8
"""And in the pass after it."""
LEAST_SIZE = 8
"""Rows and columns that a frame must have."""


def align(
    series: ArrayLike,
    model: str = "scanline",
    *,
    patterns: Any = None,
    masks: ArrayLike | None = None,
    residual: bool = False,
    scan_px: ArrayLike | None = None,
    progress: Callable[[float], None] | None = None,
    cancel: threading.Event | None = None,
) -> Alignment:
    r"""Find where every sample of a series of images really was taken.

    Parameters
    ----------
    series : array_like, shape (n, y, x)
        Images of the same area in the order of time, two or more: counts of any gain, or other real numbers. NaN,
        infinite values and what is beyond 1e30 count as not measured. Frames that were recorded turned are given
        upright.
    model : {"scanline", "rigid"}
        ``"rigid"``: one displacement per frame. ``"scanline"``: each line of each frame has its own, and the drift goes
        on while a frame is recorded.
    patterns : sequence of `esteemcore.scan.ScanPattern`, of visit orders or of None, optional
        In which order the positions of each frame were visited; one pattern may stand for all frames. Default: rasters.
        What is visited in one go along a row is a line; for a raster turned by 90 degrees the columns are the lines.
        Positions that are never visited count as not measured.
        Frames without lines (shuffled, Hilbert curve) get a rigid displacement and the drift at the time of each
        sample.
    masks : array_like of bool, shape (n, y, x) or (y, x), optional
        True where a sample was measured.
    residual : bool
        Fit a smooth displacement field to what the lines leave, as a third step; `Alignment.field` is then
        (n, y, x, 2).
    scan_px : array_like, shape (n, 2), optional
        By how much (dy, dx) the scan of each frame was moved on purpose, in px, to follow the drift for example. Frames
        are looked for where it leads; NaN stands for the value of the frame before.
    progress : callable, optional
        Called with the fraction done, 0 to 1.
    cancel : threading.Event, optional
        When set, the work stops with `esteemcore.errors.CancelledError`.

    Returns
    -------
    Alignment
        Frames that are constant, not measured, of another area, torn in more than a quarter of their lines, or whose
        place is ambiguous are not accepted, with the reason in words.

    Raises
    ------
    ParameterError
        If the series is not (n, y, x) with n >= 2, or masks, patterns or scan_px do not belong to it.

    Notes
    -----
    1. Rigid: the frames are correlated by FFT with a decaying mean of the frames before, with a Gaussian prior around
       the place that the velocity so far predicts, then with the mean of all others.
    2. Lines: with line i of frame k displaced by :math:`u_{ki}`, Gauss-Newton steps minimise

       .. math:: \sum_{ij} w_{kij} \left(I_{kij} - a_k R_k(x_{ij} + u_{ki}) - b_k\right)^2
                 + \sum_i \lambda_{ki} \lvert s_{ki} - c\, s_{k,i-1} \rvert^2 / q

       where :math:`R_k` is the mean of the *other* frames, blurred by less the finer its details are, w the inverse
       variance of the counts, and :math:`s_{ki}` the jitter of the line: what is left of :math:`u_{ki}` after the
       drift. The normal equations are block tridiagonal. Correlation c and variance q of the jitter are learnt from the
       series (EM), and the steps have the tails of Student's t (weights :math:`\lambda_{ki}`), so that a sudden jump
       between two lines stays sharp.
    3. Places: on lattice images a frame may seem to lie one unit cell away from where it does. Displacements by which
       the mean nearly repeats itself are compared by likelihood on what does *not* repeat; stretches of frames between
       jumps of the drift are decided first, single frames afterwards. A frame is accepted if the odds are more than
       400 to 1, the evidence of a steady drift included, and as high as the mean leads one to expect.

    `Alignment.quality` is the correlation coefficient of a corrected frame with the mean of the others, both blurred by
    1.5 px, less on fine lattices, and without shading; it grows with the dose and shows damage.

    References
    ----------
    L. Jones et al., Advanced Structural and Chemical Imaging 1 (2015) 8 (non-rigid registration of scanned images).

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import register
    >>> y, x = np.mgrid[:48, :48]
    >>> scene = lambda dy, dx: np.exp(-((y + dy - 20) ** 2 + (x + dx - 28) ** 2) / 50)
    >>> alignment = register.align([scene(0, 0), scene(1, -2)], "rigid")
    >>> np.round(alignment.shifts[1] - alignment.shifts[0], 1).tolist()
    [1.0, -2.0]
    """
    checks.choice("model", model, MODELS)
    data, measured = _checked(series, masks)
    n, shape = len(data), (int(data.shape[1]), int(data.shape[2]))
    visits = series_visits(patterns, n, shape)
    scan = _scan(scan_px, n)
    measured = _visited(measured, visits, n, shape)
    if model == "rigid":
        visits = [raster_visits(shape)] * n
    steps = Progress(n * (2 + len(BLURS_PX) + (RESIDUAL_PASSES if residual else 0)), progress, cancel)
    reasons = [""] * n
    offset, scale = usual_range(data, measured)
    images, weights = [], []
    for k, frame in enumerate(data):
        image, weight, reasons[k] = sampled(frame, None if measured is None else measured[k], offset, scale)
        images.append(image)
        weights.append(weight)
    usable = [k for k in range(n) if not reasons[k]]
    correlator = Correlator(shape)
    spectra = []
    for k in range(n):
        whole = weights[k].all()
        spectra.append(correlator.transform(images[k], None if whole else weights[k]) if not reasons[k] else None)
        steps.step()
    shifts = place_frames(correlator, spectra, scan)
    frames = [make_frame(images[k], weights[k], visits[k], shifts[k], k) for k in range(n)]
    for frame, moved in zip(frames, scan, strict=True):
        frame.scan = moved
    scanline = model == "scanline"
    quality = np.zeros(n)
    if len(usable) > 1:
        fit = LineFit(shape, [frames[k] for k in usable], lines=scanline)
        if scanline:
            lead(fit.frames)
        factor = blur_factor(shape, fit.frames) if scanline else 1.0
        for blur in BLURS_PX:
            fit.run(factor * blur, steps.step)
            if scanline:
                lead(fit.frames)
        verdict = Places(fit, factor).decide()
        quality[usable] = np.clip(verdict.likeness, 0, 1)
        for k, reason in zip(usable, verdict.reasons, strict=True):
            reasons[k] = reason
        if sum(not reasons[k] for k in usable) == 1:
            lone = next(k for k in usable if not reasons[k])
            reasons[lone] = "no other frame of the series is sure to show the same area"
        fit.frames = [frames[k] for k in usable if not reasons[k]]
        if scanline:
            lead(fit.frames)
        fit.rebuild()
        if len(fit.frames) > 1:
            if verdict.moved:
                fit.run(factor * BLURS_PX[-1])
            fit.run(factor * LAST_BLUR_PX, steps.step)
            if residual and scanline:
                fit_residual(fit, factor * LAST_BLUR_PX, steps.step)
    else:
        for k in usable:
            reasons[k] = "no other frame of the series is usable"
    accepted = np.array([not reason for reason in reasons])
    _centre(frames, accepted)
    fields = [f.moved for f in frames]
    mean, common = _summed(shape, frames, accepted)
    steps.finish()
    parameters = {"model": model, "patterns": _named(patterns), "residual": residual, "scan_px": scan_px}
    inputs = [data] if measured is None else [data, measured]
    return Alignment(
        shifts=np.array([np.mean(f.reshape(-1, 2), axis=0) for f in fields]),
        field=_joined(fields, visits, shape, whole=residual),
        common_region=common,
        quality=quality,
        accepted=accepted,
        reasons=tuple(reasons),
        model=model,
        shape=shape,
        mean=mean * scale + offset,
        provenance=record("register.align", parameters, input_digest=digest(*inputs)),
    )


def _checked(series: ArrayLike, masks: ArrayLike | None) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return the series and its masks after a look at the door."""
    try:
        data = np.asarray(series)
    except ValueError:
        raise ParameterError("the frames of the series differ in shape; register frames of one shape") from None
    if data.ndim != 3 or data.dtype.kind not in "biuf":
        raise ParameterError(
            f"series has shape {data.shape} and dtype {data.dtype}; expected real images (frame, y, x), for example "
            "the dark-field images of a spectrum-image series"
        )
    n, shape = len(data), data.shape[1:]
    if n < 2:
        raise ParameterError(f"series has {n} frame{'s' if n != 1 else ''}; registration needs two or more")
    if min(shape) < LEAST_SIZE:
        raise ParameterError(f"frames have shape {shape}; expected at least {LEAST_SIZE} rows and columns")
    if masks is None:
        return data, None
    mask = np.asarray(masks)
    if mask.shape == shape:
        mask = np.broadcast_to(mask, data.shape)
    if mask.shape != data.shape:
        raise ParameterError(f"masks have shape {mask.shape}; expected {data.shape}, or {shape} for all frames")
    return data, checks.boolean_mask("masks", mask, data.shape)


def _visited(
    masks: NDArray[np.bool_] | None, visits: list[Visits], n: int, shape: tuple[int, int]
) -> NDArray[np.bool_] | None:
    """Return masks without the positions that a pattern leaves out."""
    if all(v.seen is None for v in visits):
        return masks
    result = np.ones((n, *shape), np.bool_) if masks is None else masks.copy()
    for mask, visit in zip(result, visits, strict=True):
        if visit.seen is not None:
            mask &= visit.seen
    return result


def _scan(scan_px: ArrayLike | None, n: int) -> Floats:
    """Return by how much the scan of each frame was moved, (n, 2); what is not known is as before."""
    if scan_px is None:
        return np.zeros((n, 2))
    scan = np.array(scan_px, np.float64)
    if scan.shape != (n, 2):
        raise ParameterError(f"scan_px has shape {scan.shape}; expected ({n}, 2), (dy, dx) in px for each frame")
    last = np.zeros(2)
    for moved in scan:
        last = moved[:] = np.where(np.isfinite(moved), moved, last)
    return scan


def lead(frames: list[Frame]) -> None:
    """Set the drift within each frame from the places of its neighbours in time; beside a jump from the other side."""
    n = len(frames)
    if n < 2:
        return
    shifts, numbers = np.array([f.shift - f.scan for f in frames]), np.array([f.number for f in frames])
    steps = np.diff(shifts, axis=0) / np.diff(numbers)[:, None]
    limit = max(2.0, 4 * 1.4826 * float(np.median(innovations(shifts, numbers))))
    usual = np.median(steps, axis=0)
    for k, frame in enumerate(frames):
        before, after = steps[max(k - 1, 0)], steps[min(k, n - 2)]
        velocity = (before + after) / 2
        if float(np.hypot(*(after - before))) > limit:  # one of them is a jump
            velocity = min(before, after, key=lambda step: float(np.hypot(*(step - usual))))
        frame.lead(velocity if float(np.hypot(*(velocity - usual))) <= limit else usual)


def _centre(frames: list[Frame], accepted: NDArray[np.bool_]) -> None:
    """Lay the common grid so that the mean displacement of the accepted frames is zero."""
    chosen = [f for f, ok in zip(frames, accepted, strict=True) if ok] or frames
    middle = np.mean([f.moved.reshape(-1, 2).mean(axis=0) for f in chosen], axis=0)
    for frame in frames:
        frame.shift = frame.shift - middle


def _summed(
    shape: tuple[int, int], frames: list[Frame], accepted: NDArray[np.bool_]
) -> tuple[Image, NDArray[np.bool_]]:
    """Return the mean of the accepted frames and the region that all of them cover."""
    chosen = [f for f, ok in zip(frames, accepted, strict=True) if ok]
    grid = Grid(shape, max((int(np.abs(f.moved).max()) for f in chosen), default=0) + 2)
    common = np.full(shape, bool(chosen))
    for frame in chosen:
        grid.add(frame.image, frame.weight, frame.moved, frame.visits.axis)
        common &= _covered(frame.moved, frame.visits.axis, shape)
    total, weights = grid.total[grid.inner], grid.weights[grid.inner]
    mean = np.where(weights > 0.05, total / np.maximum(weights, 1e-6), np.nan).astype(np.float32)
    return mean, common & np.isfinite(mean)


def _covered(moved: Floats, axis: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the rectangle of the common grid that a displaced frame covers, its ragged edges left out."""
    if axis < 0:
        top, bottom, left, right = moved[0, :, 0], moved[-1, :, 0], moved[:, 0, 1], moved[:, -1, 1]
    elif axis == 0:
        top, bottom, left, right = moved[:1, 0], moved[-1:, 0], moved[:, 1], moved[:, 1]
    else:
        top, bottom, left, right = moved[:, 0], moved[:, 0], moved[:1, 1], moved[-1:, 1]
    y, x = np.arange(shape[0]), np.arange(shape[1])
    rows = (y >= top.max() - 0.5) & (y <= shape[0] - 1 + bottom.min() + 0.5)
    columns = (x >= left.max() - 0.5) & (x <= shape[1] - 1 + right.min() + 0.5)
    return rows[:, None] & columns


def _joined(fields: list[Floats], visits: list[Visits], shape: tuple[int, int], whole: bool) -> NDArray[np.float32]:
    """Return one displacement per line if all lines are rows, else (or if ``whole``) one per sample."""
    if not whole and all(v.axis == 0 for v in visits):
        return np.array(fields, np.float32)
    result = np.empty((len(fields), *shape, 2), np.float32)
    for k, (field, visit) in enumerate(zip(fields, visits, strict=True)):
        result[k] = field if field.ndim == 3 else np.expand_dims(field, 1 - visit.axis)
    return result


def _named(patterns: Any) -> Any:
    """Return patterns as the provenance keeps them."""
    if patterns is None:
        return None
    listed = patterns if isinstance(patterns, list | tuple) else [patterns]
    return [getattr(p, "name", None) or (None if p is None else digest(np.asarray(p))) for p in listed]
