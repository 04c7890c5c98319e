"""Spectra laid on each other along the energy axis: drift, de-scan and steps of the drift tube undone."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import Provenance, record
from esteemcore.events import SparseSI
from esteemcore.spectral.align_energy_fit import FEATURES, Floats, Reference, measure
from esteemcore.spectral.align_energy_frames import Frames, joined
from esteemcore.spectral.align_energy_move import SHARINGS, move_dense, move_sparse
from esteemcore.spectral.align_energy_plane import modelled
from esteemcore.spectral.align_energy_reference import automatic_window, highest_place, own_reference
from esteemcore.spectral.windows import Window, channels_of, checked_spectra, digest_of, energy_axis

MODELS = ("pixel", "plane", "frame")


@dataclasses.dataclass(frozen=True, eq=False)
class EnergyAlignment:
    """Spectra that lie on each other, and by how much each was moved.

    Attributes
    ----------
    data : ndarray or SparseSI, shape (y, x, energy) or (frame, y, x, energy)
        The spectra, moved; ``data.sum() + outside`` is the number of counts that came in.
    shifts : ndarray of float64, shape (y, x) or (frame, y, x)
        By how many channels each spectrum was moved, known offsets included: a count of channel c belongs to channel
        ``c + shifts``.
    uncertainty : ndarray of float64, like `shifts`
        Standard deviation of what was measured there, in channels, from the counting statistics; infinite where
        nothing could be measured and the plane, or the frame, had to stand in.
    measured : ndarray of bool, like `shifts`
        Where the feature was found.
    offsets : ndarray of float64, shape (frames,)
        Shift of each frame in the middle of the image; NaN where nothing was measured in it. One for an image.
    descan : ndarray of float64, shape (2,)
        Change of the shift in channels per pixel, down and to the right: the plane of the de-scan. NaN if ``model`` is
        ``"frame"``.
    reference : ndarray of float64, shape (energy,)
        What the spectra were compared with, before it was moved to its final place; it holds beyond the window by the
        reach only.
    coverage : ndarray of float64, shape (energy,)
        Share of the spectra that reached each channel.
    outside : float
        Counts that were moved beyond the ends of the axis.
    provenance : Provenance
    """

    data: NDArray[Any] | SparseSI
    shifts: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    measured: NDArray[np.bool_]
    offsets: NDArray[np.float64]
    descan: NDArray[np.float64]
    reference: NDArray[np.float64]
    coverage: NDArray[np.float64]
    outside: float
    provenance: Provenance


def align_energy(
    si: Any,
    energy_ev: ArrayLike | None = None,
    window: Window | None = None,
    *,
    feature: str = "peak",
    model: str = "pixel",
    reference: ArrayLike | None = None,
    offset_channels: ArrayLike = 0.0,
    reach_channels: int | None = None,
    pool_px: int = 1,
    at_ev: float | None = None,
    sharing: str | None = None,
    gain: float = 1.0,
    readout_sigma: float = 0.0,
    seed: int = 0,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> EnergyAlignment:
    r"""Lay the zero-loss peak, a line or an edge of all spectra on each other.

    Parameters
    ----------
    si : array_like, shape (y, x, energy) or (frame, y, x, energy), or SparseSI
        Counts, finite. Of a series one frame is read and worked on at a time; the moved spectra are all in memory.
    energy_ev : array_like, shape (energy,), optional
        Energy of each channel. Default: the numbers of the channels, for ``window`` and ``at_ev`` too.
    window : (float, float), optional
        Where the feature lies. Default, for peaks: around the highest channel of the mean spectrum.
    feature : {"peak", "edge"}
        ``"peak"``: each spectrum is as high as it is. ``"edge"``: it also has a straight background of its own; the
        window then begins before the edge and ends behind it.
    model : {"pixel", "plane", "frame"}
        ``"pixel"``: each spectrum goes where it was measured, or where the plane says if it has too few counts.
        ``"plane"``: all go where a plane, the same for all frames, and an offset per frame say, fitted robustly.
        ``"frame"``: one shift per frame, of its sum.
    reference : array_like, shape (energy,), optional
        Spectrum to lay the others on. Default: the mean of the first frame that has counts, aligned in itself; the
        mean of `EnergyAlignment.offsets`, less the known ones, is then zero, so that the energy axis stays right on
        average.
    offset_channels : float or array_like of float, shape (frames,)
        What is known of the shifts, such as steps of the drift tube: a count of channel c belongs to about channel
        ``c + offset``. As for `esteemcore.register.accumulate`.
    reach_channels : int, optional
        How far from there a spectrum may lie. Default: the width of the window, at least 4.
    pool_px : int
        So many pixels along both sides are measured together, for low counts; each is moved by what they say together.
    at_ev : float, optional
        Where the highest point of the feature is to lie at the end: 0 for a zero-loss peak.
    sharing : {"random", "linear"}, optional
        How a shift by a fraction f of a channel is done. ``"random"``: each count goes one channel farther with
        probability f, so that whole counts stay whole, and Poisson counts Poisson counts. ``"linear"``: a part f of
        each value goes. Default: random for integers, linear for other numbers; SparseSI is always random.
    gain, readout_sigma : float
        Noise: variance = gain * counts + readout_sigma².
    seed : int
        Of the random sharing.
    progress : callable, optional
        Called with the fraction done.
    cancel : threading.Event, optional
        When set, the work stops with `CancelledError`.

    Returns
    -------
    EnergyAlignment

    Raises
    ------
    ParameterError
        If shapes do not fit, values are not finite, the feature is nowhere to be found, or a parameter is out of range.
    CalibrationError
        If the energy axis does not fit.
    CancelledError
        If ``cancel`` was set.

    Notes
    -----
    The shift s of a spectrum n maximises the likelihood of counts of mean :math:`a R(c + s)`, with R the cubic spline
    of the reference. It reaches the Cramér-Rao bound: for a Gaussian peak of N counts and a standard deviation of w
    channels, :math:`w / \sqrt N`. The reference is made of many spectra, so that its own noise is small beside theirs.

    Both sharings blur by :math:`\sqrt{f (1 - f)}` of a channel, half a channel at most.

    Align before spectra are summed over frames, and before they are stored in coarse blocks.

    References
    ----------
    .. [1] K. Kimoto, Y. Matsui, J. Microsc. 208 (2002) 224.
    .. [2] Y. Sasano, S. Muto, J. Electron Microsc. 57 (2008) 149.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral
    >>> energy = np.arange(-10.0, 22.0, 0.5)
    >>> place = np.linspace(-1, 1, 24).reshape(4, 6)  # eV: the peaks lie apart
    >>> counts = np.random.default_rng(0).poisson(500 * np.exp(-((energy - place[..., None]) ** 2) / 2))
    >>> found = spectral.align_energy(counts, energy, at_ev=0.0)
    >>> bool(np.abs(0.5 * found.shifts + place).max() < 0.15)
    True
    >>> bool(found.data.sum() + found.outside == counts.sum())
    True
    """
    data, shape = checked_spectra(si)
    if np.dtype(data.dtype) == np.bool_ and not isinstance(data, SparseSI):
        data = np.asarray(data, np.uint8)  # one count or none
    if len(shape) not in (3, 4):
        raise ParameterError(
            f"the spectra have shape {shape}; expected a spectrum image (y, x, energy) or a series of them"
        )
    frames = Frames(data, shape)
    axis = np.arange(float(shape[-1])) if energy_ev is None else energy_axis(energy_ev, shape[-1])
    checks.choice("feature", feature, FEATURES)
    checks.choice("model", model, MODELS)
    offsets = _offsets(offset_channels, len(frames))
    pool = checks.integer("pool_px", pool_px, minimum=1)
    kind = _sharing(sharing, data)
    noise = {
        "gain": checks.positive("gain", gain),
        "readout_sigma": checks.not_negative("readout_sigma", readout_sigma),
    }
    rng = np.random.default_rng(checks.integer("seed", seed, minimum=0))
    steps = Progress(2 * len(frames), progress, cancel)
    steps.step(0)
    given = None if reference is None else _given_reference(reference, shape[-1])
    first = frames.first_with_counts()
    if window is None:
        if feature == "edge":
            raise ParameterError("give the window of the edge; only peaks are found by themselves")
        begin, end = automatic_window(frames.mean(first) if given is None else given, offsets[first] * (given is None))
    else:
        inside = channels_of("the window", window, axis)
        begin, end = int(inside[0]), int(inside[-1]) + 1
    least = 3 if feature == "peak" else 6
    if end - begin < least:
        raise ParameterError(f"the window holds {end - begin} channels; the shift of {feature}s needs {least} at least")
    if reach_channels is None:
        reach = min(max(end - begin, 4), shape[-1])
    else:
        reach = checks.integer("reach_channels", reach_channels, minimum=1, maximum=shape[-1])
    known = Reference(np.zeros(shape[-1]) if given is None else given, begin, end, reach, feature, **noise)
    size = max(shape[-3:-1]) if model == "frame" else pool
    if given is None:
        known = own_reference(known, lambda channels: frames.pooled(first, channels, size), float(offsets[first]))
    measured = []
    for k in range(len(frames)):
        counts = frames.pooled(k, known.channels(float(offsets[k])), size)
        measured.append(
            [
                a.reshape(counts.shape[:2])
                for a in measure(counts.reshape(-1, counts.shape[2]), known, float(offsets[k]))
            ]
        )
        steps.step()
    found = modelled(np.array(measured), shape[-3:-1], offsets, model, size)
    if not found.measured.any():
        raise ParameterError(
            f"the {feature} was found in no spectrum; choose another window, a larger reach_channels, or measure more "
            "pixels together with pool_px"
        )
    move = 0.0 if given is not None else -float(np.nanmean(found.offset - offsets))
    if at_ev is not None:
        wanted = float(np.interp(checks.finite("at_ev", at_ev), axis, np.arange(len(axis)), left=np.nan, right=np.nan))
        if not np.isfinite(wanted):
            raise ParameterError(f"at_ev is {at_ev:g}, beside the axis from {axis[0]:g} to {axis[-1]:g}")
        move = wanted - highest_place(known)
    applied = found.shift + move
    moved, came = _move_all(frames, applied, kind, rng, steps)
    kept = float(moved.count.sum(dtype=np.float64) if isinstance(moved, SparseSI) else moved.sum(dtype=np.float64))
    parameters = {
        "window": (begin, end), "feature": feature, "model": model, "reference": given, "offset_channels": offsets,
        "reach_channels": reach, "pool_px": pool, "at_ev": at_ev, "sharing": kind, **noise,
    }  # fmt: skip
    return EnergyAlignment(
        data=moved,
        shifts=applied.reshape(shape[:-1]),
        uncertainty=found.sigma.reshape(shape[:-1]),
        measured=found.measured.reshape(shape[:-1]),
        offsets=found.offset + move,
        descan=found.gradient,
        reference=known.spectrum,
        coverage=_coverage(applied.reshape(-1), shape[-1]),
        outside=came - kept,
        provenance=record("spectral.align_energy", parameters, seed=seed, input_digest=digest_of(data)),
    )


def _move_all(
    frames: Frames, shift: Floats, sharing: str, rng: np.random.Generator, steps: Progress
) -> tuple[NDArray[Any] | SparseSI, float]:
    """Return the moved spectra, of the shape of all, and the counts that came in."""
    came = 0.0
    sparse: list[SparseSI] = []
    moved: NDArray[Any] | None = None
    for k in range(len(frames)):
        frame = frames[k]
        if isinstance(frame, SparseSI):
            came += float(frame.count.sum(dtype=np.float64))
            sparse.append(move_sparse(frame, shift[k].reshape(-1), rng))
        else:
            came += float(frame.sum(dtype=np.float64))
            rows = frame.reshape(-1, frame.shape[-1])
            part = move_dense(rows, shift[k].reshape(-1), sharing, rng).reshape(frame.shape)
            if moved is None:
                moved = np.empty((len(frames), *frame.shape), part.dtype)
            moved = moved.astype(np.result_type(moved, part), copy=False)  # a later frame may hold larger counts
            moved[k] = part
        steps.step()
    if moved is not None:
        return moved.reshape(frames.shape), came
    return joined(sparse, frames.shape), came


def _coverage(shift: Floats, channels: int) -> Floats:
    """Return the share of the spectra whose own channels cover each channel, after they were moved."""
    c = np.arange(channels)[:, None]
    whole = np.floor(shift)
    values, back = np.unique(whole, return_inverse=True)
    part = np.bincount(back, shift - whole) / len(shift)
    number = np.bincount(back) / len(shift)
    near = (c - values >= 0) & (c - values < channels)
    far = (c - values - 1 >= 0) & (c - values - 1 < channels)
    covered: Floats = near @ (number - part) + far @ part
    return covered


def _offsets(given: ArrayLike, frames: int) -> Floats:
    offsets = np.asarray(given)
    if offsets.ndim == 0:
        offsets = np.full(frames, offsets)
    if offsets.shape != (frames,) or offsets.dtype.kind not in "iuf" or not np.isfinite(offsets).all():
        raise ParameterError(
            f"offset_channels has shape {offsets.shape} and dtype {offsets.dtype}; expected one finite number, or one "
            f"for each of the {frames} frames"
        )
    return offsets.astype(np.float64)


def _sharing(sharing: str | None, data: Any) -> str:
    integers = np.dtype(data.dtype).kind in "biu"
    if sharing is None:
        return "random" if integers else "linear"
    kind = checks.choice("sharing", sharing, SHARINGS)
    if kind == "linear" and isinstance(data, SparseSI):
        raise ParameterError("sparse spectra hold whole counts; they are shared at random")
    if kind == "random" and not integers:
        raise ParameterError(
            "only whole counts are shared at random, but these spectra are of other numbers; take linear"
        )
    return kind


def _given_reference(reference: ArrayLike, channels: int) -> Floats:
    given = np.asarray(reference)
    if given.shape != (channels,) or given.dtype.kind not in "biuf" or not np.isfinite(given).all() or given.sum() <= 0:
        raise ParameterError(
            f"reference has shape {given.shape} and dtype {given.dtype}; expected {channels} finite counts, not all of "
            "them zero"
        )
    return given.astype(np.float64)
